#include "server/metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace lapidary::server {
namespace {

// vLLM's buckets: dashboards add up the series of both.
const std::vector<double> kTtftBounds = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5,
                                         0.75,  1,     2.5,  5,    7.5,  10,   20,   40,  80,   160};
const std::vector<double> kItlBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
                                        0.3,   0.4,    0.5,   0.75, 1,     2.5,  5,     7.5, 10};
const std::vector<double> kSecondsBounds = {0.05, 0.1, 0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,
                                            10,   15,  20,  30,  40,  50, 60,  120, 240, 480};
const std::vector<double> kTokenBounds = {1,    2,    5,    10,    20,    50,    100,    200,   500,
                                          1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000};
const std::vector<double> kChoiceBounds = {1, 2, 5, 10, 20};
const std::vector<double> kHttpBounds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};

std::string escaped(std::string_view label) {
  std::string out;
  for (const char c : label) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string braces(std::string_view labels) { return labels.empty() ? "" : fmt::format("{{{}}}", labels); }

void declare(std::string_view name, std::string_view type, std::string_view help, std::string& out) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

template <class Value>
void value(std::string_view name, std::string_view type, std::string_view help, std::string_view labels, Value number,
           std::string& out) {
  declare(name, type, help, out);
  out += fmt::format("{}{} {}\n", name, braces(labels), number);
}

const char* reason_of(const ChoiceResult& choice) {
  switch (choice.end) {
    case AnswerEnd::kLength:
      return "length";
    case AnswerEnd::kCancelled:
      return "abort";
    default:
      return "stop";
  }
}

// Of /proc/self: resident bytes, seconds of processor time, open files.
void write_process(std::string& out) {
  std::ifstream statm("/proc/self/statm"), stat("/proc/self/stat");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  value("process_resident_memory_bytes", "gauge", "Resident memory.", "", resident * ::sysconf(_SC_PAGESIZE), out);
  value("process_virtual_memory_bytes", "gauge", "Virtual memory.", "", total * ::sysconf(_SC_PAGESIZE), out);
  std::string line;
  std::getline(stat, line);
  // Fields after the name, which may hold spaces: 14 and 15 are ticks in user and system mode.
  const size_t name_end = line.rfind(')');
  int64_t user = 0, system = 0;
  if (name_end != std::string::npos) {
    size_t at = name_end + 2;
    for (int field = 3; field < 14 && at != std::string::npos; ++field) at = line.find(' ', at) + 1;
    if (std::sscanf(line.c_str() + at, "%ld %ld", &user, &system) != 2) user = system = 0;
  }
  value("process_cpu_seconds_total", "counter", "Processor time.", "",
        static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK)), out);
}

}  // namespace

void Histogram::observe(double value) {
  ++counts_[static_cast<size_t>(std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin())];
  sum_ += value;
  ++total_;
}

void Histogram::write(std::string_view name, std::string_view labels, std::string& out) const {
  const std::string before = labels.empty() ? "" : fmt::format("{},", labels);
  int64_t sum = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    sum += counts_[i];
    out += fmt::format("{}_bucket{{{}le=\"{}\"}} {}\n", name, before, bounds_[i], sum);
  }
  out += fmt::format("{}_bucket{{{}le=\"+Inf\"}} {}\n", name, before, total_);
  out += fmt::format("{}_sum{} {}\n{}_count{} {}\n", name, braces(labels), sum_, name, braces(labels), total_);
}

Metrics::Metrics()
    : e2e_(kSecondsBounds),
      ttft_(kTtftBounds),
      itl_(kItlBounds),
      queue_(kSecondsBounds),
      prefill_(kSecondsBounds),
      decode_(kSecondsBounds),
      inference_(kSecondsBounds),
      prompt_lengths_(kTokenBounds),
      generation_lengths_(kTokenBounds),
      lengths_max_(kTokenBounds),
      choices_(kChoiceBounds) {
  for (const char* reason : {"stop", "length", "abort"}) finished_[reason] = 0;
}

void Metrics::http_request(std::string_view handler, std::string_view method, int status, double seconds) {
  const std::lock_guard lock(mutex_);
  ++http_requests_[{std::string(handler), std::string(method), status}];
  http_seconds_.try_emplace(std::string(handler), kHttpBounds).first->second.observe(seconds);
}

void Metrics::answered(const AnswerResult& result, int32_t tokens_max) {
  if (result.choices.empty()) return;
  const Usage usage = result.usage();
  const Timing& timing = result.choices.front().timing;
  const bool has_tokens = result.times.first_token != Clock::time_point{};
  const double decode_s = AnswerTimes::seconds(result.times.first_token, result.times.ended);
  const std::lock_guard lock(mutex_);
  for (const ChoiceResult& choice : result.choices) ++finished_[result.cancelled ? "abort" : reason_of(choice)];
  prompt_tokens_ += usage.prompt_tokens;
  generation_tokens_ += usage.completion_tokens;
  tokens_max_seen_ = std::max<int64_t>(tokens_max_seen_, usage.prompt_tokens + usage.completion_tokens);
  prefill_seconds_ += timing.prefill_ms / 1000;
  e2e_.observe(result.times.total_s());
  queue_.observe(timing.queue_ms / 1000);
  prefill_.observe(timing.prefill_ms / 1000);
  prompt_lengths_.observe(usage.prompt_tokens);
  generation_lengths_.observe(usage.completion_tokens);
  lengths_max_.observe(tokens_max);
  choices_.observe(static_cast<double>(result.choices.size()));
  inference_.observe(AnswerTimes::seconds(result.times.submitted, result.times.ended) - timing.queue_ms / 1000);
  if (!has_tokens) return;
  ttft_.observe(result.times.ttft_s());
  decode_.observe(decode_s);
  decode_seconds_ += decode_s;
  for (const ChoiceResult& choice : result.choices) {
    if (choice.usage.completion_tokens > 1) itl_.observe(decode_s / (choice.usage.completion_tokens - 1));
  }
}

std::string Metrics::text(const MetricsContext& context) const {
  std::string out;
  const std::string labels = fmt::format("model_name=\"{}\",engine=\"0\"", escaped(context.model));
  write_engine(context, out);
  const std::lock_guard lock(mutex_);
  write_answers(labels, out);
  write_llama(context, out);
  declare("http_requests_total", "counter", "Requests by route, method and status.", out);
  for (const auto& [key, count] : http_requests_) {
    const auto& [handler, method, status] = key;
    out += fmt::format("http_requests_total{{handler=\"{}\",method=\"{}\",status=\"{}\"}} {}\n", escaped(handler),
                       escaped(method), status, count);
  }
  declare("http_request_duration_seconds", "histogram", "From a request's head to the end of its answer.", out);
  for (const auto& [handler, seconds] : http_seconds_)
    seconds.write("http_request_duration_seconds", fmt::format("handler=\"{}\"", escaped(handler)), out);
  write_process(out);
  return out;
}

void Metrics::write_engine(const MetricsContext& context, std::string& out) const {
  const EngineStatus& engine = context.engine;
  const std::string labels = fmt::format("model_name=\"{}\",engine=\"0\"", escaped(context.model));
  const auto gauge = [&](std::string_view name, std::string_view help, auto number) {
    value(name, "gauge", help, labels, number, out);
  };
  const auto counter = [&](std::string_view name, std::string_view help, int64_t number) {
    value(name, "counter", help, labels, number, out);
  };
  gauge("vllm:num_requests_running", "Answers that are being computed.", engine.running);
  gauge("vllm:num_requests_waiting", "Answers that wait for their turn.", engine.waiting);
  gauge("vllm:kv_cache_usage_perc", "Share of the K/V pages that answers hold, 0 to 1.", engine.kv_used);
  gauge("vllm:gpu_cache_usage_perc", "The same under its older name.", engine.kv_used);
  declare("vllm:cache_config_info", "gauge", "Size of the K/V cache.", out);
  out += fmt::format("vllm:cache_config_info{{{},block_size=\"{}\",num_gpu_blocks=\"{}\"}} 1\n", labels,
                     context.page_positions, context.global_pages);
  counter("vllm:num_preemptions_total", "Answers that gave their pages back for a while.", engine.preemptions);
  declare("vllm:iteration_tokens_total", "histogram", "Tokens a step of the engine computes.", out);
  std::vector<double> bounds;
  bounds.reserve(engine.steps_by_rows.size() - 1);
  for (size_t i = 0; i + 1 < engine.steps_by_rows.size(); ++i) bounds.push_back(1 << i);
  Histogram(std::move(bounds), {engine.steps_by_rows.begin(), engine.steps_by_rows.end()},
            static_cast<double>(engine.step_rows))
      .write("vllm:iteration_tokens_total", labels, out);
  counter("vllm:prefix_cache_queries_total", "Prompt tokens that were looked up.", engine.prefix_queries);
  counter("vllm:prefix_cache_hits_total", "Prompt tokens that were found.", engine.prefix_hits);
  counter("vllm:mm_cache_queries_total", "Pictures and sound that were looked up.", engine.media_queries);
  counter("vllm:mm_cache_hits_total", "Pictures and sound that were encoded before.", engine.media_hits);
  counter("vllm:spec_decode_num_drafts_total", "Rounds with drafts.", engine.drafts.rounds);
  counter("vllm:spec_decode_num_draft_tokens_total", "Tokens that were drafted.", engine.drafts.proposed);
  counter("vllm:spec_decode_num_accepted_tokens_total", "Drafted tokens that were kept.", engine.drafts.accepted);
  declare("vllm:spec_decode_num_accepted_tokens_per_pos_total", "counter", "The same by their place in the draft.",
          out);
  for (size_t i = 0; i < engine.drafts.accepted_at.size(); ++i)
    out += fmt::format("vllm:spec_decode_num_accepted_tokens_per_pos_total{{{},position=\"{}\"}} {}\n", labels, i,
                       engine.drafts.accepted_at[i]);
}

void Metrics::write_answers(const std::string& labels, std::string& out) const {
  const auto histogram = [&](std::string_view name, std::string_view help, const Histogram& values) {
    declare(name, "histogram", help, out);
    values.write(name, labels, out);
  };
  declare("vllm:request_success_total", "counter", "Answers that ended, by reason.", out);
  for (const auto& [reason, count] : finished_)
    out += fmt::format("vllm:request_success_total{{{},finished_reason=\"{}\"}} {}\n", labels, reason, count);
  value("vllm:prompt_tokens_total", "counter", "Prompt tokens of answers that ended.", labels, prompt_tokens_, out);
  value("vllm:generation_tokens_total", "counter", "Tokens of answers that ended.", labels, generation_tokens_, out);
  histogram("vllm:e2e_request_latency_seconds", "From arrival to the end.", e2e_);
  histogram("vllm:time_to_first_token_seconds", "From arrival to the first token.", ttft_);
  histogram("vllm:inter_token_latency_seconds", "Between two tokens, mean of an answer.", itl_);
  histogram("vllm:time_per_output_token_seconds", "The same under its older name.", itl_);
  histogram("vllm:request_queue_time_seconds", "Until the first step that computed anything.", queue_);
  histogram("vllm:request_prefill_time_seconds", "Steps that computed the prompt.", prefill_);
  histogram("vllm:request_decode_time_seconds", "From the first token to the end.", decode_);
  histogram("vllm:request_inference_time_seconds", "From the first step to the end.", inference_);
  histogram("vllm:request_prompt_tokens", "Tokens of a prompt.", prompt_lengths_);
  histogram("vllm:request_generation_tokens", "Tokens of an answer.", generation_lengths_);
  histogram("vllm:request_max_num_generation_tokens", "The same; no answer is longer than its longest choice.",
            generation_lengths_);
  histogram("vllm:request_params_max_tokens", "Tokens that were asked for at most.", lengths_max_);
  histogram("vllm:request_params_n", "Choices that were asked for.", choices_);
}

void Metrics::write_llama(const MetricsContext& context, std::string& out) const {
  const EngineStatus& engine = context.engine;
  const auto per_second = [](int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
  };
  value("llamacpp:prompt_tokens_total", "counter", "Prompt tokens.", "", prompt_tokens_, out);
  value("llamacpp:prompt_seconds_total", "counter", "Seconds for prompts.", "", prefill_seconds_, out);
  value("llamacpp:tokens_predicted_total", "counter", "Tokens of answers.", "", generation_tokens_, out);
  value("llamacpp:tokens_predicted_seconds_total", "counter", "Seconds for answers.", "", decode_seconds_, out);
  value("llamacpp:prompt_tokens_seconds", "gauge", "Prompt tokens a second.", "",
        per_second(prompt_tokens_, prefill_seconds_), out);
  value("llamacpp:predicted_tokens_seconds", "gauge", "Tokens of answers a second.", "",
        per_second(generation_tokens_, decode_seconds_), out);
  value("llamacpp:requests_processing", "gauge", "Answers that are being computed.", "", engine.running, out);
  value("llamacpp:requests_deferred", "gauge", "Answers that wait.", "", engine.waiting, out);
  value("llamacpp:n_decode_total", "counter", "Steps of the engine.", "", engine.steps, out);
  value("llamacpp:n_busy_slots_per_decode", "gauge", "Tokens of answers a step.", "",
        engine.steps > 0 ? static_cast<double>(generation_tokens_) / static_cast<double>(engine.steps) : 0, out);
  value("llamacpp:n_tokens_max", "counter", "The longest prompt and answer together.", "", tokens_max_seen_, out);
  value("llamacpp:spec_decode_num_drafts_total", "counter", "Rounds with drafts.", "", engine.drafts.rounds, out);
  value("llamacpp:spec_decode_num_draft_tokens_total", "counter", "Tokens that were drafted.", "",
        engine.drafts.proposed, out);
  value("llamacpp:spec_decode_num_accepted_tokens_total", "counter", "Drafted tokens that were kept.", "",
        engine.drafts.accepted, out);
}

}  // namespace lapidary::server
