// Scratch memory of T: aligned to a cache line, grown and never shrunk, contents not kept when it grows.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace lapidary {

template <class T>
class AlignedBuffer {
 public:
  // Room for count values. False if there is no memory; the buffer is then empty.
  bool grow(int64_t count) {
    if (count <= count_) return true;
    data_.reset();
    count_ = 0;
    data_.reset(static_cast<T*>(::operator new(static_cast<size_t>(count) * sizeof(T), kAlignment, std::nothrow)));
    if (data_ == nullptr) return false;
    count_ = count;
    return true;
  }

  T* data() { return data_.get(); }
  int64_t count() const { return count_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(T* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<T, Free> data_;
  int64_t count_ = 0;
};

}  // namespace lapidary
