#include "server/metrics.h"
namespace lapidary::server {
Metrics::Metrics()
    : e2e_({}),
      ttft_({}),
      itl_({}),
      queue_({}),
      prefill_({}),
      decode_({}),
      inference_({}),
      prompt_lengths_({}),
      generation_lengths_({}),
      lengths_max_({}),
      choices_({}) {}
void Metrics::http_request(std::string_view, std::string_view, int, double) {}
void Metrics::answered(const AnswerResult&, int32_t) {}
}  // namespace lapidary::server
namespace lapidary::server {
std::string Metrics::text(const MetricsContext&) const { return "vllm:num_requests_running 0\n"; }
}  // namespace lapidary::server
