// One answer on its way to one client: the engine's events are read on its thread, what they say is written by the
// surface's writer on a worker, in order, and a client that leaves ends the work.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "http/http.h"
#include "server/api_error.h"
#include "server/choice_reader.h"
#include "server/engine_thread.h"
#include "server/work_queue.h"

namespace lapidary::server {

using Clock = std::chrono::steady_clock;

struct AnswerTimes {
  Clock::time_point arrived{}, submitted{}, first_token{}, ended{};
  double ttft_s() const { return seconds(arrived, first_token); }
  double total_s() const { return seconds(arrived, ended); }
  static double seconds(Clock::time_point from, Clock::time_point to) {
    return from == Clock::time_point{} || to < from ? 0 : std::chrono::duration<double>(to - from).count();
  }
};

struct AnswerResult {
  std::vector<ChoiceResult> choices;
  AnswerTimes times;
  bool cancelled = false;
  Usage usage() const;  // the prompt once, completions of all choices
  int32_t thought_tokens() const;
};

// How one surface says it. Called on a worker, one call at a time, in this order: begin, any number of write /
// keep_alive, then finish or fail.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  // The request was admitted: the head of a stream and its first events.
  virtual void begin() {}
  // Neighbours of one kind and choice are already put together.
  virtual void write(std::span<const AnswerDelta> deltas) { (void)deltas; }
  // Nothing was written for as long as keep_alive_seconds().
  virtual void keep_alive() {}
  virtual double keep_alive_seconds() const { return 0; }  // 0: never
  virtual void finish(const AnswerResult& result) = 0;
  virtual void fail(const ApiError& error) = 0;
};

struct AnswerRequest {
  GenerationRequest generation;
  ChoiceOptions options;
  Clock::time_point arrived{};
  double deadline_s = 0;  // 0: none
};

class Answer : public std::enable_shared_from_this<Answer> {
 public:
  // Submits and, when that worked, lets the writer begin. The exchange is watched: when its client goes, the work is
  // cancelled; nullptr for answers that nobody waits for at the other end of a connection. ended is called on a worker
  // after finish or fail. Errors: as Engine::submit.
  static Result<std::shared_ptr<Answer>> start(EngineThread& engine, WorkerPool& writers, AnswerRequest request,
                                               std::shared_ptr<HttpExchange> exchange,
                                               std::unique_ptr<AnswerWriter> writer,
                                               std::function<void(const AnswerResult&)> ended);

  // Now and then, from any thread: keep-alives and deadlines.
  void tick(Clock::time_point now);
  // Ends with what there is.
  void cancel();
  // Ends with an error in place of the rest.
  void abort(const ApiError& error);
  bool done() const { return done_; }
  // Of the first choice, when the prompt is being computed.
  bool waiting() const { return !done_ && !saw_token_; }

 private:
  struct Item {
    std::vector<AnswerDelta> deltas;
    bool finished = false;
  };

  Answer(EngineThread& engine, WorkerPool& writers, AnswerRequest& request, std::shared_ptr<HttpExchange> exchange,
         std::unique_ptr<AnswerWriter> writer, std::function<void(const AnswerResult&)> ended);

  void take(const Event& event);
  void notify_locked();
  void drain();
  void end();

  EngineThread& engine_;
  std::shared_ptr<SerialQueue> queue_;
  std::shared_ptr<HttpExchange> exchange_;
  std::unique_ptr<AnswerWriter> writer_;
  std::function<void(const AnswerResult&)> ended_;
  double deadline_s_;

  // Engine thread.
  std::vector<ChoiceReader> readers_;
  size_t open_choices_;

  std::mutex mutex_;  // guards those below
  uint64_t id_ = 0;
  bool started_ = false, cancel_wanted_ = false, scheduled_ = false, all_in_ = false;
  std::vector<AnswerDelta> inbox_;
  std::optional<ApiError> failure_;
  AnswerTimes times_;

  std::atomic<bool> done_{false}, saw_token_{false};
  std::atomic<Clock::rep> last_write_{0};
  AnswerResult result_;  // written by the engine's thread before all_in_, read by the worker after
};

}  // namespace lapidary::server
