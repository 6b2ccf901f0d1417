#include "server/answer.h"

#include <algorithm>

namespace lapidary::server {
namespace {

// What the client is told at once need not be told in pieces.
void merge(std::vector<AnswerDelta>& deltas) {
  size_t kept = 0;
  for (size_t i = 0; i < deltas.size(); ++i) {
    AnswerDelta& next = deltas[i];
    if (kept > 0) {
      AnswerDelta& last = deltas[kept - 1];
      const bool same = last.kind == next.kind && last.choice == next.choice && last.call_index == next.call_index;
      const bool joins = next.kind == AnswerDelta::Kind::kThought || next.kind == AnswerDelta::Kind::kText ||
                         next.kind == AnswerDelta::Kind::kCallArguments;
      if (same && joins) {
        last.text += next.text;
        last.completion_tokens = next.completion_tokens;
        std::move(next.logprobs.begin(), next.logprobs.end(), std::back_inserter(last.logprobs));
        continue;
      }
      if (same && next.kind == AnswerDelta::Kind::kPromptDone) {
        last.prompt_done = next.prompt_done;
        continue;
      }
    }
    if (kept != i) deltas[kept] = std::move(next);
    ++kept;
  }
  deltas.resize(kept);
}

}  // namespace

Usage AnswerResult::usage() const {
  Usage sum;
  for (const ChoiceResult& choice : choices) {
    const int32_t completion = sum.completion_tokens + choice.usage.completion_tokens;
    if (&choice == &choices.front()) sum = choice.usage;
    sum.completion_tokens = completion;
  }
  return sum;
}

int32_t AnswerResult::thought_tokens() const {
  int32_t sum = 0;
  for (const ChoiceResult& choice : choices) sum += choice.thought_tokens;
  return sum;
}

Answer::Answer(EngineThread& engine, WorkerPool& writers, AnswerRequest& request,
               std::shared_ptr<HttpExchange> exchange, std::unique_ptr<AnswerWriter> writer,
               std::function<void(const AnswerResult&)> ended)
    : engine_(engine),
      queue_(std::make_shared<SerialQueue>(writers)),
      exchange_(std::move(exchange)),
      writer_(std::move(writer)),
      ended_(std::move(ended)),
      deadline_s_(request.deadline_s),
      open_choices_(static_cast<size_t>(request.generation.choices)) {
  for (int32_t choice = 0; choice < request.generation.choices; ++choice)
    readers_.emplace_back(engine.engine().tokenizer(), request.options, choice);
  times_.arrived = request.arrived;
  last_write_ = Clock::now().time_since_epoch().count();
}

Result<std::shared_ptr<Answer>> Answer::start(EngineThread& engine, WorkerPool& writers, AnswerRequest request,
                                              std::shared_ptr<HttpExchange> exchange,
                                              std::unique_ptr<AnswerWriter> writer,
                                              std::function<void(const AnswerResult&)> ended) {
  std::shared_ptr<Answer> answer(
      new Answer(engine, writers, request, std::move(exchange), std::move(writer), std::move(ended)));
  answer->times_.submitted = Clock::now();
  ASSIGN_OR_RETURN(const uint64_t id,
                   engine.submit(std::move(request.generation), [answer](const Event& event) { answer->take(event); }));
  answer->queue_->post([answer] { answer->writer_->begin(); });
  {
    const std::lock_guard lock(answer->mutex_);
    answer->id_ = id;
    answer->started_ = true;
    if (answer->cancel_wanted_) engine.cancel(id);
    answer->notify_locked();
  }
  if (answer->exchange_) {
    answer->exchange_->on_gone([weak = std::weak_ptr(answer)] {
      if (const auto gone = weak.lock()) gone->cancel();
    });
  }
  return answer;
}

// Engine thread.
void Answer::take(const Event& event) {
  ChoiceReader& reader = readers_[static_cast<size_t>(event.choice)];
  std::vector<AnswerDelta> deltas;
  const bool was_stopped = reader.stopped();
  reader.take(event, deltas);
  if (!event.tokens.empty()) saw_token_ = true;
  bool cancel = false;
  if (reader.stopped() && !was_stopped) cancel = --open_choices_ == 0 && !reader.finished();
  const bool all_finished =
      std::all_of(readers_.begin(), readers_.end(), [](const ChoiceReader& r) { return r.finished(); });
  if (all_finished) {
    for (ChoiceReader& each : readers_) result_.choices.push_back(std::move(each.result()));
  }
  const std::lock_guard lock(mutex_);
  if (cancel) {
    if (started_) {
      engine_.cancel(id_);
    } else {
      cancel_wanted_ = true;
    }
  }
  if (!event.tokens.empty() && times_.first_token == Clock::time_point{}) times_.first_token = Clock::now();
  std::move(deltas.begin(), deltas.end(), std::back_inserter(inbox_));
  if (all_finished) {
    times_.ended = Clock::now();
    all_in_ = true;
  }
  notify_locked();
}

void Answer::notify_locked() {
  if (!started_ || scheduled_ || (inbox_.empty() && !all_in_)) return;
  scheduled_ = true;
  queue_->post([self = shared_from_this()] { self->drain(); });
}

void Answer::drain() {
  std::vector<AnswerDelta> deltas;
  bool all_in = false;
  std::optional<ApiError> failure;
  {
    const std::lock_guard lock(mutex_);
    deltas.swap(inbox_);
    scheduled_ = false;
    all_in = all_in_;
    failure = failure_;
    if (all_in) result_.times = times_;
  }
  if (done_) return;
  if (!failure && !deltas.empty()) {
    merge(deltas);
    writer_->write(deltas);
    // Progress of the prompt is nothing that most clients are told.
    const bool told = std::any_of(deltas.begin(), deltas.end(), [](const AnswerDelta& delta) {
      return delta.kind != AnswerDelta::Kind::kPromptDone;
    });
    if (told) last_write_ = Clock::now().time_since_epoch().count();
  }
  if (!all_in) return;
  result_.cancelled = failure || (exchange_ && exchange_->gone());
  if (failure) {
    writer_->fail(*failure);
  } else {
    writer_->finish(result_);
  }
  end();
}

void Answer::end() {
  done_ = true;
  if (exchange_) exchange_->on_gone({});
  if (ended_) ended_(result_);
  ended_ = {};
  exchange_.reset();
  writer_.reset();
}

void Answer::cancel() {
  const std::lock_guard lock(mutex_);
  if (started_) {
    engine_.cancel(id_);
  } else {
    cancel_wanted_ = true;
  }
}

void Answer::abort(const ApiError& error) {
  {
    const std::lock_guard lock(mutex_);
    if (all_in_ || failure_) return;
    failure_ = error;
  }
  cancel();
}

void Answer::tick(Clock::time_point now) {
  if (done_) return;
  if (deadline_s_ > 0) {
    Clock::time_point arrived;
    {
      const std::lock_guard lock(mutex_);
      arrived = times_.arrived;
    }
    if (AnswerTimes::seconds(arrived, now) > deadline_s_) {
      abort({ErrorKind::kDeadline, "", "the request took longer than the server allows", ""});
      return;
    }
  }
  queue_->post([self = shared_from_this(), now] {
    if (self->done_) return;
    const double period = self->writer_->keep_alive_seconds();
    const Clock::time_point last{Clock::duration(self->last_write_.load())};
    if (period <= 0 || AnswerTimes::seconds(last, now) < period) return;
    self->writer_->keep_alive();
    self->last_write_ = now.time_since_epoch().count();
  });
}

}  // namespace lapidary::server
