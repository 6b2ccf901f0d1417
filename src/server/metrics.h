// Counters and histograms for /metrics, in Prometheus' text format (0.0.4) under vLLM's, llama-server's and our own
// names: server-api.md §5.2. What the engine counts is asked for when somebody looks.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <numeric>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "engine/engine.h"
#include "server/answer.h"

namespace lapidary::server {

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  // What was counted elsewhere: of each bound, and beyond the last.
  Histogram(std::vector<double> bounds, std::vector<int64_t> counts, double sum)
      : bounds_(std::move(bounds)),
        counts_(std::move(counts)),
        sum_(sum),
        total_(std::accumulate(counts_.begin(), counts_.end(), int64_t{0})) {}
  void observe(double value);
  // name_bucket{labels,le="..."} ..., name_sum, name_count; labels without braces, may be empty.
  void write(std::string_view name, std::string_view labels, std::string& out) const;

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;
  double sum_ = 0;
  int64_t total_ = 0;
};

struct MetricsContext {
  std::string model;
  int32_t page_positions = 0, global_pages = 0, sequences_max = 0;
  EngineStatus engine;
};

class Metrics {
 public:
  Metrics();

  // Of a connection's request, when its answer is complete. handler: the route's pattern, never the raw path.
  void http_request(std::string_view handler, std::string_view method, int status, double seconds);
  // Of an answer, when it ended.
  void answered(const AnswerResult& result, int32_t tokens_max);

  std::string text(const MetricsContext& context) const;

 private:
  void write_engine(const MetricsContext& context, std::string& out) const;
  void write_answers(const std::string& labels, std::string& out) const;
  void write_llama(const MetricsContext& context, std::string& out) const;

  mutable std::mutex mutex_;
  std::map<std::tuple<std::string, std::string, int>, int64_t> http_requests_;
  std::map<std::string, Histogram> http_seconds_;  // by handler
  std::map<std::string, int64_t> finished_;        // by reason
  int64_t prompt_tokens_ = 0, generation_tokens_ = 0, tokens_max_seen_ = 0;
  double prefill_seconds_ = 0, decode_seconds_ = 0;
  Histogram e2e_, ttft_, itl_, queue_, prefill_, decode_, inference_;
  Histogram prompt_lengths_, generation_lengths_, lengths_max_, choices_;
};

}  // namespace lapidary::server
