// The body of a request as its head announces it, by its length or in chunks: kept, or read over when nobody wants it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "http/body_budget.h"
#include "http/request_parser.h"

namespace lapidary {

class BodyReader {
 public:
  BodyReader() = default;
  // Memory follows the bytes that come, not the promise, and so does the share of the budget.
  BodyReader(RequestParser parser, int64_t bytes_max, std::shared_ptr<BodyBudget> budget)
      : parser_(std::move(parser)),
        chunked_(parser_.chunked()),
        bytes_max_(bytes_max),
        budget_(std::move(budget)),
        body_{{}, BodyShare(budget_)} {}

  // Takes what belongs to the body off the front of `in`. kRefused: damage, more than bytes_max, more than is left of
  // the budget, or, reading over, more than may be read over; nothing is held then.
  HttpProgress read(std::string& in);
  // From now on bytes are read over, at most so many.
  void discard(int64_t bytes_max);

  bool discarding() const { return discarding_; }
  bool expected() const { return chunked_ || bytes_left() > 0; }
  int64_t bytes_left() const { return parser_.bytes_left(); }  // that are known to come; 0 of a chunked body
  const HttpRefusal& refusal() const { return refusal_; }
  HttpBody take() { return std::exchange(body_, {}); }
  void drop() { body_ = {}; }  // what came so far

 private:
  HttpProgress read_kept(std::string_view& in);
  HttpProgress refuse(HttpRefusal refusal);

  RequestParser parser_;
  bool chunked_ = false, discarding_ = false;
  int64_t bytes_max_ = 0;
  int64_t discard_bytes_left_ = 0;
  std::shared_ptr<BodyBudget> budget_;
  HttpBody body_;
  HttpRefusal refusal_;
};

// What a body hears that needs so many bytes more beside those of other requests.
HttpRefusal no_room_for_body(int64_t more, const BodyBudget& budget);

}  // namespace lapidary
