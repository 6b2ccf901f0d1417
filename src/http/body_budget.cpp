#include "http/body_budget.h"

#include <algorithm>

#include "base/check.h"

namespace lapidary {

bool BodyBudget::take(int64_t bytes) {
  int64_t held = bytes_held_;
  do {
    if (bytes > bytes_max_ - held) return false;
  } while (!bytes_held_.compare_exchange_weak(held, held + bytes));
  return true;
}

void BodyBudget::give_back(int64_t bytes) {
  const int64_t before = bytes_held_.fetch_sub(bytes);
  CHECK(before >= bytes);
}

BodyShare& BodyShare::operator=(BodyShare&& other) noexcept {
  if (this == &other) return *this;
  resize(0);
  budget_ = std::exchange(other.budget_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  refused_ = std::exchange(other.refused_, false);
  return *this;
}

bool BodyShare::resize(int64_t bytes) {
  CHECK(bytes >= 0);
  refused_ = budget_ && bytes > bytes_ && !budget_->take(bytes - bytes_);
  if (refused_) return false;
  if (budget_ && bytes < bytes_) budget_->give_back(bytes_ - bytes);
  bytes_ = bytes;
  return true;
}

bool make_room(std::string& text, size_t more, size_t bytes_max, BodyShare& share) {
  const size_t needed = text.size() + more;
  if (needed <= text.capacity()) return true;
  // Into a string of its own: std::string::reserve would round up to twice the old capacity.
  const size_t room = std::max(needed, std::min(2 * needed, bytes_max));
  if (!share.resize(share.bytes() + static_cast<int64_t>(room - text.capacity()))) return false;
  std::string larger;
  larger.reserve(room);
  larger += text;
  text.swap(larger);
  return true;
}

}  // namespace lapidary
