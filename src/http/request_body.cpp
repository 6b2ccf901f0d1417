#include "http/request_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>

namespace lapidary {

HttpProgress BodyReader::read(std::string& in) {
  std::string_view left = in;
  if (!discarding_) {
    const HttpProgress progress = read_kept(left);
    in.erase(0, in.size() - left.size());
    return progress;
  }
  const HttpProgress progress = parser_.read_body(left, nullptr, bytes_max_);
  const size_t taken = in.size() - left.size();
  in.erase(0, taken);
  discard_bytes_left_ -= static_cast<int64_t>(taken);
  return discard_bytes_left_ < 0 ? HttpProgress::kRefused : progress;
}

HttpProgress BodyReader::read_kept(std::string_view& in) {
  std::string& bytes = body_.bytes;
  // In chunks, at most what is at hand belongs to the body, and at most bytes_max of all chunks are kept. A length was
  // compared with bytes_max when the head came.
  const int64_t most = chunked_ ? bytes_max_ - static_cast<int64_t>(bytes.size()) : bytes_left();
  const auto more = static_cast<size_t>(std::min(most, static_cast<int64_t>(in.size())));
  if (!make_room(bytes, more, bytes.size() + static_cast<size_t>(most), body_.share))
    return refuse(no_room_for_body(chunked_ ? static_cast<int64_t>(more) : bytes_left(), *budget_));
  const HttpProgress progress = parser_.read_body(in, &bytes, bytes_max_);
  return progress == HttpProgress::kRefused ? refuse(parser_.refusal()) : progress;
}

void BodyReader::discard(int64_t bytes_max) {
  discarding_ = true;
  discard_bytes_left_ = bytes_max;
  bytes_max_ = std::numeric_limits<int64_t>::max() / 2;  // of one chunk, however long it says it is
  drop();
}

HttpProgress BodyReader::refuse(HttpRefusal refusal) {
  refusal_ = std::move(refusal);
  drop();
  return HttpProgress::kRefused;
}

HttpRefusal no_room_for_body(int64_t more, const BodyBudget& budget) {
  return {503, "overloaded",
          fmt::format("there is no room now for {} bytes of a body: those of all requests hold {} of at most {}", more,
                      budget.bytes_held(), budget.bytes_max())};
}

}  // namespace lapidary
