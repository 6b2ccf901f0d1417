#include "server/metrics.h"

#include "server/answer.h"

namespace lapidary::server {

void Metrics::http_request(std::string_view handler, std::string_view method, int status, double) {
  const std::lock_guard lock(mutex_);
  ++http_requests_[{std::string(handler), std::string(method), status}];
}

void Metrics::answered(const AnswerResult&, int32_t) {
  const std::lock_guard lock(mutex_);
  ++answers_;
}

}  // namespace lapidary::server
