// How many tokens to draft for each answer: as many as make tokens come faster, by what drafts were worth so far and
// what steps and drafts were measured to cost. Plain arithmetic without a clock: the engine measures. Depths change the
// speed of an answer and nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace lapidary {

// Milliseconds as a function of rows, from what was measured. Counts up to 16 are kept apart, larger ones eight to an
// octave; each is an average that forgets, in which no single measurement weighs much. What was not measured is guessed
// from its neighbours, and from growth() beyond them.
class CostCurve {
 public:
  // growth: what each further row costs, as a share of one row's cost; of what was not measured yet. first: the cost of
  // one row before anything is measured.
  CostCurve(double first, double growth) : first_(first), growth_(growth) {}

  void note(int32_t rows, double ms);
  double at(int32_t rows) const;
  bool measured() const { return !points_.empty(); }

 private:
  struct Point {
    double ms = 0;
    int32_t count = 0;
  };
  double shape(int32_t rows) const { return 1 + growth_ * (rows - 1); }

  double first_, growth_;
  std::map<int32_t, Point> points_;
};

// How often drafts of one answer, or of one kind, were what the model drew.
class DraftHistory {
 public:
  // Of `proposed` drafts in a row the first `accepted` were kept. What came long ago counts less.
  void note(int32_t proposed, int32_t accepted);
  // The chance that a draft is kept whose forerunners were: between what was seen and, while that is little, `prior`.
  double acceptance(double prior) const;

 private:
  double kept_ = 0, seen_ = 0;
};

// What could be drafted for one answer.
struct DraftOutlook {
  double acceptance = 0;
  int32_t most = 0;
  bool free = false;  // drafts cost nothing to make
};

// The depths, one for each outlook, at which tokens come fastest. rows: of the next step without drafts, at least one
// for each outlook. step: of a whole step by its rows. draft: of one position of drafts, by how many answers it is for.
std::vector<int32_t> plan_draft_depths(std::span<const DraftOutlook> outlooks, int32_t rows, const CostCurve& step,
                                       const CostCurve& draft);

// When an answer without drafts tries some again: after 32 rounds, then after twice as many each time it was in vain.
class DraftProbe {
 public:
  // One more round at this depth was planned. True: draft kDepth all the same.
  bool due(int32_t planned);
  static constexpr int32_t kDepth = 2;

 private:
  static constexpr int32_t kWaitFirst = 32, kWaitMost = 512;
  int32_t idle_ = 0, wait_ = kWaitFirst;
};

}  // namespace lapidary
