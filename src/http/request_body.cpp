#include "http/request_body.h"

#include <algorithm>
#include <limits>
#include <string_view>

namespace lapidary {

HttpProgress BodyReader::read(std::string& in) {
  std::string_view left = in;
  HttpProgress progress =
      chunked_ ? chunks_.read(left, discarding_ ? nullptr : &body_, bytes_max_) : read_counted(left);
  const size_t taken = in.size() - left.size();
  in.erase(0, taken);
  if (!discarding_) return progress;
  discard_bytes_left_ -= static_cast<int64_t>(taken);
  return discard_bytes_left_ < 0 ? HttpProgress::kRefused : progress;
}

// The length was compared with bytes_max when the head came.
HttpProgress BodyReader::read_counted(std::string_view& in) {
  const size_t take = static_cast<size_t>(std::min<int64_t>(bytes_left_, static_cast<int64_t>(in.size())));
  if (!discarding_) {
    // Twice as much as has come, at most what is to come: memory follows the bytes, not the promise.
    if (body_.size() + take > body_.capacity())
      body_.reserve(std::min(body_.size() + static_cast<size_t>(bytes_left_), 2 * (body_.size() + take)));
    body_.append(in.substr(0, take));
  }
  in.remove_prefix(take);
  bytes_left_ -= static_cast<int64_t>(take);
  return bytes_left_ == 0 ? HttpProgress::kDone : HttpProgress::kMore;
}

void BodyReader::discard(int64_t bytes_max) {
  discarding_ = true;
  discard_bytes_left_ = bytes_max;
  bytes_max_ = std::numeric_limits<int64_t>::max() / 2;  // of one chunk, however long it says it is
  body_ = {};
}

}  // namespace lapidary
