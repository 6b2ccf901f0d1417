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
  const HttpProgress progress = chunked_ ? chunks_.read(left, nullptr, bytes_max_) : read_counted(left);
  const size_t taken = in.size() - left.size();
  in.erase(0, taken);
  discard_bytes_left_ -= static_cast<int64_t>(taken);
  return discard_bytes_left_ < 0 ? HttpProgress::kRefused : progress;
}

HttpProgress BodyReader::read_kept(std::string_view& in) {
  std::string& bytes = body_.bytes;
  // In chunks, at most what is at hand belongs to the body, and at most bytes_max of all chunks are kept.
  const int64_t most = chunked_ ? bytes_max_ - static_cast<int64_t>(bytes.size()) : bytes_left_;
  const auto more = static_cast<size_t>(std::min(most, static_cast<int64_t>(in.size())));
  if (!make_room(bytes, more, bytes.size() + static_cast<size_t>(most), body_.share))
    return refuse(no_room_for_body(chunked_ ? static_cast<int64_t>(more) : bytes_left_, *budget_));
  const HttpProgress progress = chunked_ ? chunks_.read(in, &bytes, bytes_max_) : read_counted(in);
  return progress == HttpProgress::kRefused ? refuse(chunks_.refusal()) : progress;
}

// The length was compared with bytes_max when the head came.
HttpProgress BodyReader::read_counted(std::string_view& in) {
  const size_t take = static_cast<size_t>(std::min<int64_t>(bytes_left_, static_cast<int64_t>(in.size())));
  if (!discarding_) body_.bytes.append(in.substr(0, take));
  in.remove_prefix(take);
  bytes_left_ -= static_cast<int64_t>(take);
  return bytes_left_ == 0 ? HttpProgress::kDone : HttpProgress::kMore;
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
