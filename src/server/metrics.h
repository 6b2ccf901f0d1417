// Counters and histograms for /metrics, in Prometheus' text format under vLLM's and llama-server's names.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>

namespace lapidary {
struct EngineStatus;
}

namespace lapidary::server {

struct AnswerResult;

class Metrics {
 public:
  // Of a connection's request, when its answer is complete. handler: the route's pattern, never the raw path.
  void http_request(std::string_view handler, std::string_view method, int status, double seconds);
  // Of an answer, when it ended.
  void answered(const AnswerResult& result, int32_t tokens_max);

 private:
  std::mutex mutex_;
  std::map<std::tuple<std::string, std::string, int>, int64_t> http_requests_;
  int64_t answers_ = 0;
};

}  // namespace lapidary::server
