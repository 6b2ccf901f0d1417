// What the bodies of all requests may hold at a time. Each body has a share, which grows before its memory does and
// goes back when it ends; who gives it back, and when, is the holder's affair.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace lapidary {

class BodyBudget {
 public:
  explicit BodyBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}

  int64_t bytes_max() const { return bytes_max_; }
  int64_t bytes_held() const { return bytes_held_; }
  int64_t bytes_free() const { return bytes_max_ - bytes_held_; }
  // false, and nothing is taken, when there is less.
  bool take(int64_t bytes);
  void give_back(int64_t bytes);

 private:
  const int64_t bytes_max_;
  std::atomic<int64_t> bytes_held_{0};
};

// Of one body. Without a budget it may have any size.
class BodyShare {
 public:
  BodyShare() = default;
  explicit BodyShare(std::shared_ptr<BodyBudget> budget) : budget_(std::move(budget)) {}
  BodyShare(BodyShare&& other) noexcept { *this = std::move(other); }
  BodyShare& operator=(BodyShare&& other) noexcept;
  ~BodyShare() { resize(0); }

  int64_t bytes() const { return bytes_; }
  // false, and the share stays as it is, when the budget has less.
  bool resize(int64_t bytes);
  bool refused() const { return refused_; }  // the last resize was

 private:
  std::shared_ptr<BodyBudget> budget_;
  int64_t bytes_ = 0;
  bool refused_ = false;
};

// A body and what it holds of the budget.
struct HttpBody {
  std::string bytes;
  BodyShare share;
};

// Makes room for so many bytes more behind those of `text`, doubling it up to bytes_max in all (or what is needed, when
// that is more), once `share` has grown by as much. false, and nothing is changed, when it cannot.
bool make_room(std::string& text, size_t more, size_t bytes_max, BodyShare& share);

}  // namespace lapidary
