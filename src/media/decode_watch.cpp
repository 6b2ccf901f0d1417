#include "media/decode_watch.h"

#include <fmt/format.h>

#include <chrono>
#include <limits>

#include "base/check.h"

namespace lapidary {
namespace {

// The largest number when the product is more.
int64_t product(std::initializer_list<int64_t> factors) {
  int64_t value = 1;
  for (const int64_t factor : factors) {
    CHECK(factor >= 0);
    if (factor != 0 && value > std::numeric_limits<int64_t>::max() / factor) return std::numeric_limits<int64_t>::max();
    value *= factor;
  }
  return value;
}

}  // namespace

DecodeWatch::DecodeWatch(DecodeBudget& budget, MediaKind kind)
    : budget_(&budget),
      kind_(kind),
      begin_(now()),
      seconds_max_(kind == MediaKind::kImage ? budget.limits_.image_seconds : budget.limits_.video_seconds) {}

double DecodeWatch::now() const {
  if (budget_->limits_.clock) return budget_->limits_.clock();
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Result<void> DecodeWatch::check(std::string_view name, std::string_view what,
                                std::initializer_list<int64_t> factors) const {
  if (!budget_) return {};
  const int64_t bytes = product(factors);
  if (bytes <= budget_->bytes_left_) return {};
  return Error{ErrorCode::kExhausted,
               fmt::format("{}: expected media of at most {} bytes once decoded, all of one request together, found {} "
                           "of {} bytes where {} are left",
                           name, budget_->limits_.bytes_max, what, bytes, budget_->bytes_left_)};
}

Result<void> DecodeWatch::take(std::string_view name, std::string_view what,
                               std::initializer_list<int64_t> factors) const {
  RETURN_IF_ERROR(check(name, what, factors));
  if (budget_) budget_->bytes_left_ -= product(factors);
  return {};
}

Error DecodeWatch::late_error(std::string_view name) const {
  const char* what = kind_ == MediaKind::kImage ? "a picture" : kind_ == MediaKind::kAudio ? "sound" : "a video";
  return {ErrorCode::kExhausted, fmt::format("{}: expected {} that is decoded within {} s, found what takes longer",
                                             name, what, seconds_max_)};
}

}  // namespace lapidary
