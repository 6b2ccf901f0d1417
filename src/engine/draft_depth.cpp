#include "engine/draft_depth.h"

#include <algorithm>
#include <bit>
#include <queue>

#include "base/check.h"

namespace lapidary {
namespace {

constexpr int32_t kExactRows = 16;
constexpr int32_t kMemory = 16;  // measurements that an average is made of
constexpr double kOutlier = 3;   // a measurement counts as at most so many times the average: machines have hiccups
constexpr double kForgetting = 0.92;  // of what drafts were worth, each round
constexpr double kPriorDrafts = 2;    // that the prior counts as

int32_t bucket(int32_t rows) {
  if (rows <= kExactRows) return rows;
  const int32_t width = 1 << (std::bit_width(static_cast<uint32_t>(rows)) - 4);
  return rows / width * width;
}

}  // namespace

void CostCurve::note(int32_t rows, double ms) {
  CHECK(rows >= 1);
  Point& point = points_[bucket(rows)];
  if (point.count > 0) ms = std::min(ms, kOutlier * point.ms);
  if (point.count == 1) point.ms = std::min(point.ms, ms);  // the first one may have met cold caches
  point.count = std::min(point.count + 1, kMemory);
  point.ms += (ms - point.ms) / point.count;
}

double CostCurve::at(int32_t rows) const {
  if (points_.empty()) return first_ * shape(rows);
  const int32_t wanted = bucket(rows);
  const auto above = points_.lower_bound(wanted);
  if (above == points_.end()) {
    const auto& [most, point] = *std::prev(points_.end());
    return point.ms * shape(rows) / shape(most);
  }
  if (above->first == wanted) return above->second.ms;
  if (above == points_.begin()) return above->second.ms * shape(rows) / shape(above->first);
  const auto below = std::prev(above);
  const double share = static_cast<double>(wanted - below->first) / (above->first - below->first);
  return below->second.ms + share * (above->second.ms - below->second.ms);
}

void DraftHistory::note(int32_t proposed, int32_t accepted) {
  CHECK(accepted >= 0 && accepted <= proposed);
  // A draft behind one that was wrong was never looked at.
  kept_ = kForgetting * kept_ + accepted;
  seen_ = kForgetting * seen_ + std::min(proposed, accepted + 1);
}

double DraftHistory::acceptance(double prior) const { return (kept_ + kPriorDrafts * prior) / (seen_ + kPriorDrafts); }

std::vector<int32_t> plan_draft_depths(std::span<const DraftOutlook> outlooks, int32_t rows, const CostCurve& step,
                                       const CostCurve& draft) {
  CHECK(rows >= static_cast<int32_t>(outlooks.size()));
  // Drafts are added one by one, the likeliest first; the best of all the plans on the way is kept. A draft at depth d
  // counts if it and the d - 1 before it are right.
  struct Next {
    double chance;
    size_t index;
    bool operator<(const Next& other) const {
      return chance != other.chance ? chance < other.chance : index > other.index;
    }
  };
  std::priority_queue<Next> next;
  std::vector<int32_t> depths(outlooks.size(), 0), best = depths;
  for (size_t i = 0; i < outlooks.size(); ++i) {
    if (outlooks[i].most > 0) next.push({outlooks[i].acceptance, i});
  }
  double tokens = static_cast<double>(outlooks.size()), draft_ms = 0, most = tokens / step.at(rows);
  std::vector<int32_t> drafters;  // [d]: answers that are drafted for at depth d
  for (int32_t drafts = 1; !next.empty(); ++drafts) {
    const Next added = next.top();
    next.pop();
    const DraftOutlook& outlook = outlooks[added.index];
    const size_t depth = static_cast<size_t>(depths[added.index]++);
    tokens += added.chance;
    if (!outlook.free) {
      if (drafters.size() <= depth) drafters.resize(depth + 1, 0);
      if (drafters[depth] > 0) draft_ms -= draft.at(drafters[depth]);
      draft_ms += draft.at(++drafters[depth]);
    }
    if (const double rate = tokens / (step.at(rows + drafts) + draft_ms); rate > most) {
      most = rate;
      best = depths;
    }
    if (depths[added.index] < outlook.most) next.push({added.chance * outlook.acceptance, added.index});
  }
  return best;
}

bool DraftProbe::due(int32_t planned) {
  if (planned > 0) {
    idle_ = 0;
    wait_ = kWaitFirst;
    return false;
  }
  if (++idle_ < wait_) return false;
  idle_ = 0;
  wait_ = std::min(2 * wait_, kWaitMost);
  return true;
}

}  // namespace lapidary
