#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/limits.h"
#include "engine/request_check.h"

namespace lapidary {

Engine::Engine(std::unique_ptr<Model> model, Tokenizer tokenizer, const EngineOptions& options)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      options_(options),
      sampler_(model_->config().vocab, model_->generation_defaults().suppressed_ids),
      speculation_(options.draft_tokens),
      soft_cache_(kLimits.soft_token_cache_bytes),
      logits_(static_cast<size_t>(model_->config().vocab)) {}

Engine::~Engine() = default;

std::string Engine::description() const { return model_->description(); }

EngineStatus Engine::status() const {
  const std::lock_guard lock(mutex_);
  EngineStatus status = status_;
  status.waiting += static_cast<int32_t>(arrived_.size());
  return status;
}

std::shared_ptr<MaskLibrary> Engine::mask_library() {
  std::call_once(library_made_, [this] {
    library_ =
        std::make_shared<MaskLibrary>(std::make_shared<TokenTrie>(tokenizer_, model_->generation_defaults().stop_ids));
  });
  return library_;
}

// What may not be cut: an encoder reads a picture as a whole, and so does a layer whose picture tokens see each other.
std::vector<Block> Engine::blocks_of(const GenerationRequest& request) const {
  std::vector<Block> blocks;
  if (!model_->config().image_tokens_see_each_other && !model_->config().vision_tower) return blocks;
  for (const MediaSpan& span : request.media) {
    if (span.input->kind != MediaKind::kAudio) blocks.push_back({span.begin, span.end});
  }
  return blocks;
}

Result<uint64_t> Engine::submit(GenerationRequest request, const std::function<void(const Event&)>& sink) {
  RETURN_IF_ERROR(check_request(request, model_->config(), memory_.context));
  std::vector<int32_t> end_tokens = request.stop_tokens;
  if (!request.ignore_eos) {
    const std::vector<int32_t>& own = model_->generation_defaults().stop_ids;
    end_tokens.insert(end_tokens.end(), own.begin(), own.end());
  }
  const int64_t positions = static_cast<int64_t>(request.prompt.size()) + std::max(request.tokens_max - 1, 0);
  std::vector<std::unique_ptr<Sequence>> choices;
  for (int32_t choice = 0; choice < request.choices; ++choice) {
    GenerationRequest own = request;
    own.sampling.seed = choice_seed(request.sampling.seed, choice);
    own.prompt_logprobs = request.prompt_logprobs && choice == 0;
    TokenConstraint* constraint =
        request.constraints.empty() ? nullptr : request.constraints[static_cast<size_t>(choice)].get();
    choices.push_back(std::make_unique<Sequence>(0, std::move(own), end_tokens, constraint, tokenizer_,
                                                 model_->generation_defaults()));
    Sequence& s = *choices.back();
    s.choice = choice;
    s.sink = sink;
    s.blocks = blocks_of(s.request);
    s.positions_max = static_cast<int32_t>(std::min<int64_t>(positions, memory_.context));
    RETURN_IF_ERROR(scheduler_->check(s));
  }
  const std::lock_guard lock(mutex_);
  const size_t waiting = arrived_.size() + static_cast<size_t>(status_.waiting);
  if (waiting + choices.size() > static_cast<size_t>(options_.requests_max)) {
    return Error{ErrorCode::kExhausted,
                 fmt::format("{} requests are waiting, the most allowed is {}", waiting, options_.requests_max)};
  }
  const uint64_t request_id = next_id_;
  for (auto& sequence : choices) {
    sequence->id = next_id_++;
    sequence->request_id = request_id;
    // The others go on from the prompt that the first one computes.
    if (sequence->choice > 0 && sequence->uses_prefixes && memory_.prefix_bytes > 0) sequence->after = request_id;
    arrived_.push_back(std::move(sequence));
  }
  return request_id;
}

void Engine::cancel(uint64_t request) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(request);
}

void Engine::take_messages() {
  std::vector<std::unique_ptr<Sequence>> arrived;
  std::vector<uint64_t> cancelled;
  {
    const std::lock_guard lock(mutex_);
    arrived.swap(arrived_);
    cancelled.swap(cancelled_);
    status_.waiting += static_cast<int32_t>(arrived.size());
  }
  for (auto& sequence : arrived) {
    scheduler_->add(*sequence);
    sequences_.emplace(sequence->id, std::move(sequence));
  }
  for (const uint64_t request : cancelled) {
    std::vector<Sequence*> choices;
    for (const auto& [id, sequence] : sequences_) {
      if (sequence->request_id == request) choices.push_back(sequence.get());
    }
    for (Sequence* sequence : choices) {
      Event event;
      finish(*sequence, FinishReason::kCancelled, event);
    }
  }
}

bool Engine::step() {
  take_messages();
  const auto planned = scheduler_->plan();
  const std::vector<StepSlice> slices(planned.begin(), planned.end());
  if (!slices.empty()) {
    const Stopwatch watch;
    double media_ms = 0;
    int32_t rows = 0, other_rows = 0;  // others: of prompts that go on after this step
    bool all_drawn = true;
    for (const StepSlice& slice : slices) {
      Sequence& s = static_cast<Sequence&>(*slice.sequence);
      if (!s.scheduled) note_first_step(s);
      rows += slice.rows();
      all_drawn = all_drawn && s.decoding();
      if (slice.end < s.length()) other_rows += slice.rows();
    }
    const std::vector<int32_t> first_rows = run(slices, media_ms);
    const double spent = watch.milliseconds() - media_ms;
    for (const StepSlice& slice : slices) {
      Sequence& s = static_cast<Sequence&>(*slice.sequence);
      (s.usage.completion_tokens == 0 ? s.timing.prefill_ms : s.timing.decode_ms) += spent;
    }
    rounds_.clear();
    for (size_t i = 0; i < slices.size(); ++i) take_slice(slices[i], first_rows[i]);
    if (all_drawn) speculation_.note_step(rows, watch.milliseconds());
    prepare_rounds(other_rows);
    const auto octave = static_cast<size_t>(std::bit_width(static_cast<uint32_t>(std::max(rows, 1) - 1)));
    const std::lock_guard lock(mutex_);
    ++status_.steps;
    ++status_.steps_by_rows[std::min(octave, status_.steps_by_rows.size() - 1)];
    status_.step_rows += rows;
  }
  note_status();
  return !slices.empty();
}

void Engine::note_status() {
  const int32_t pages = pages_->total(AttentionKind::kGlobal),
                unused = pages_->free(AttentionKind::kGlobal) + pages_->idle(AttentionKind::kGlobal);
  const std::lock_guard lock(mutex_);
  status_.running = scheduler_->running();
  status_.waiting = scheduler_->waiting();
  status_.preemptions = scheduler_->preemptions();
  status_.kv_used = pages > 0 ? static_cast<double>(pages - unused) / pages : 0;
  status_.prefix_bytes = prefixes_->idle_bytes();
  status_.media_queries = soft_cache_.queries();
  status_.media_hits = soft_cache_.hits();
  status_.drafts = speculation_.counts();
}

void Engine::note_first_step(Sequence& s) {
  s.scheduled = true;
  s.timing.queue_ms = s.submitted.milliseconds();
  if (!s.uses_prefixes || memory_.prefix_bytes == 0) return;
  const std::lock_guard lock(mutex_);
  status_.prefix_queries += s.prompt_tokens();
  status_.prefix_hits += s.resumed;
}

std::vector<int32_t> Engine::run(std::span<const StepSlice> slices, double& media_ms) {
  Batch batch;
  std::vector<int32_t> first_rows;
  int32_t used = 0;
  for (const StepSlice& slice : slices) {
    Sequence& s = static_cast<Sequence&>(*slice.sequence);
    const int32_t first_row = batch.rows();
    first_rows.push_back(append_slice(batch, slice, model_->config().pad_id));
    const double before = s.timing.media_ms;
    add_soft_rows(batch, s, slice, first_row, used);
    media_ms += s.timing.media_ms - before;
  }
  model_->decoder().forward(batch);
  logits_first_ = -1;
  return first_rows;
}

// Soft tokens of the pictures, frames and clips whose positions fall into the slice.
void Engine::add_soft_rows(Batch& batch, Sequence& s, const StepSlice& slice, int32_t first_row, int32_t& used) {
  const Stopwatch watch;
  const int32_t used_before = used;
  for (const MediaSpan& span : s.request.media) {
    const int32_t first = std::max(span.begin, slice.begin), last = std::min(span.end, slice.end);
    if (first >= last) continue;
    const TensorView rows = row_range(soft_, used, last - first);
    encode_soft_rows(*span.input, first - span.begin, rows);
    batch.soft.push_back({first_row + first - slice.begin, rows});
    used += last - first;
  }
  if (used > used_before) s.timing.media_ms += watch.milliseconds();
}

// Rows [begin, begin + rows.rows) of what the input becomes. It is encoded as a whole, so that whatever comes next, of
// this prompt or another, finds it.
void Engine::encode_soft_rows(const MediaInput& input, int32_t begin, TensorView rows) {
  Ops& ops = model_->ops();
  if (input.rows > media_.rows) return model_->soft_tokens().encode(input, begin, rows);
  const uint64_t identity = media_identity(input);
  const size_t dim = static_cast<size_t>(rows.cols);
  // Rows are remembered in f32. A backend that keeps more encodes again: nothing may depend on what came before.
  const bool is_remembered = ops.activation_type() != DType::kF64;
  if (const std::vector<float>* known = is_remembered ? soft_cache_.find(identity) : nullptr) {
    ops.write(std::span(*known).subspan(static_cast<size_t>(begin) * dim, static_cast<size_t>(rows.rows) * dim), rows);
    return;
  }
  const bool is_whole = rows.rows == input.rows;
  const TensorView all = is_whole ? rows : row_range(media_, 0, input.rows);
  model_->soft_tokens().encode(input, 0, all);
  if (is_remembered) {
    std::vector<float> values(static_cast<size_t>(input.rows) * dim);
    ops.read(all, values);
    soft_cache_.add(identity, std::move(values));
  }
  if (!is_whole) ops.copy(row_range(all, begin, rows.rows), rows);
}

std::span<const float> Engine::logits_of(int32_t row) {
  Decoder& decoder = model_->decoder();
  const int32_t chunk = decoder.logit_rows(), first = row / chunk * chunk;
  if (first != logits_first_) {
    const TensorView block = decoder.head(first, std::min(chunk, decoder.hidden().rows - first));
    logits_.resize(static_cast<size_t>(block.rows) * static_cast<size_t>(block.cols));
    model_->ops().read(block, logits_);
    logits_first_ = first;
  }
  const size_t vocab = static_cast<size_t>(model_->config().vocab);
  return std::span<const float>(logits_).subspan(static_cast<size_t>(row - first) * vocab, vocab);
}

// row: of hidden, the slice's first.
void Engine::take_slice(const StepSlice& slice, int32_t row) {
  Sequence& s = static_cast<Sequence&>(*slice.sequence);
  Event event;
  if (s.request.prompt_logprobs) report_prompt_logprobs(s, slice, row, event);
  const bool reaches_the_end = slice.end == s.length();
  if (reaches_the_end && s.request.tokens_max > 0) return take_tokens(s, slice, row, std::move(event));
  scheduler_->commit(s, slice.end);
  if (reaches_the_end) return finish(s, FinishReason::kLength, event);
  if (s.usage.completion_tokens > 0) return;  // an answer that is computed again
  event.prompt_done = std::min(slice.end, s.prompt_tokens());
  send(s, event);
}

// Moves row past the rows that were asked for this.
void Engine::report_prompt_logprobs(Sequence& s, const StepSlice& slice, int32_t& row, Event& event) {
  const Stopwatch watch;
  for (int32_t position = slice.begin; position < slice.end; ++position) {
    if (!s.is_scored(position)) continue;
    event.prompt_logprobs.push_back(
        token_logprob(logits_of(row++), s.tokens[static_cast<size_t>(position) + 1], s.request.logprobs.value_or(0)));
    s.prompt_reported = position + 1;
  }
  // What was reported may come out of the prefix cache, should the answer be computed again.
  s.resume_max = s.prompt_reported < s.prompt_tokens() - 1 ? s.prompt_reported : s.prompt_tokens();
  (s.usage.completion_tokens == 0 ? s.timing.prefill_ms : s.timing.decode_ms) += watch.milliseconds();
}

// The newest token's row and those of the drafts after it. The model draws its own next token from each as long as the
// drafts were what it drew; the first other draw ends the round, and what was computed after it does not count.
void Engine::take_tokens(Sequence& s, const StepSlice& slice, int32_t row, Event event) {
  const std::vector<int32_t> drafts(s.drafts.begin(), s.drafts.begin() + slice.drafts);
  s.drop_drafts();
  const bool is_round = s.usage.completion_tokens > 0;  // else the prompt's end
  for (int32_t i = 0;; ++i) {
    const int32_t token = draw_token(s, row + i);
    const bool as_drafted = i < slice.drafts && token == drafts[static_cast<size_t>(i)];
    const FinishReason reason = accept_token(s, row + i, token, event);
    if (reason == FinishReason::kNone) {
      send(s, event);
      event = {};
      if (as_drafted) continue;
    }
    scheduler_->commit(s, s.length() - 1);
    if (is_round) speculation_.note_round(s, drafts, i + (as_drafted ? 1 : 0));
    if (reason != FinishReason::kNone) return finish(s, reason, event);
    rounds_.push_back({&s, row_range(model_->decoder().hidden(), row + i, 1), 0, {}});
    return;
  }
}

// The model's own choice after hidden row `row`.
int32_t Engine::draw_token(Sequence& s, int32_t row) {
  const Stopwatch watch;
  std::span<const float> logits = logits_of(row);
  if (s.rules.active()) {
    adjusted_.assign(logits.begin(), logits.end());
    s.rules.apply(adjusted_, s.tokens);
    logits = adjusted_;
  }
  const int32_t token = sampler_.draw(logits, s.request.sampling, s.length());
  s.timing.decode_ms += watch.milliseconds();
  return token;
}

// Adds a token drawn from hidden row `row` and writes it into the event. Returns why the answer ends with it, if it
// does.
FinishReason Engine::accept_token(Sequence& s, int32_t row, int32_t token, Event& event) {
  const Stopwatch watch;
  if (s.request.logprobs) event.logprobs.push_back(token_logprob(logits_of(row), token, *s.request.logprobs));
  if (s.request.on_logits) s.request.on_logits(token, logits_of(row));
  // Text that nothing may end yet is not searched for stop strings either.
  const bool may_end = s.usage.completion_tokens >= s.request.tokens_min;
  s.accept(token);
  event.tokens.push_back(token);
  const bool at_end = may_end && std::find(s.end_tokens.begin(), s.end_tokens.end(), token) != s.end_tokens.end();
  if (!tokenizer_.is_special(token)) {
    std::string text = s.text.push(token);
    event.text += may_end ? s.stops.push(text) : text;
  }
  s.timing.decode_ms += watch.milliseconds();

  if (at_end || s.stops.stopped() || s.rules.ended()) return FinishReason::kStop;
  event.repetition = s.loops && s.loops->push(token) && may_end;
  if (event.repetition) return FinishReason::kStop;
  if (s.usage.completion_tokens >= s.request.tokens_max || s.length() > memory_.context) return FinishReason::kLength;
  return FinishReason::kNone;
}

// Drafts for the next round of every answer that goes on, never more than could still become part of it.
void Engine::prepare_rounds(int32_t other_rows) {
  const Stopwatch watch;
  for (DraftTask& round : rounds_) {
    const Sequence& s = *round.sequence;
    round.most = std::min(s.request.tokens_max - s.usage.completion_tokens - 1, memory_.context - s.length());
  }
  speculation_.propose(rounds_, other_rows);
  const double spent = watch.milliseconds();
  for (DraftTask& round : rounds_) {
    Sequence& s = *round.sequence;
    s.drafts = std::move(round.drafts);
    s.drafts_wanted = static_cast<int32_t>(s.drafts.size());
    s.timing.decode_ms += spent;
  }
}

void Engine::send(Sequence& s, Event& event) {
  event.request = s.request_id;
  event.choice = s.choice;
  s.sink(event);
}

void Engine::finish(Sequence& sequence, FinishReason reason, Event& event) {
  scheduler_->remove(sequence);
  const auto place = sequences_.find(sequence.id);
  CHECK(place != sequences_.end());
  const std::unique_ptr<Sequence> s = std::move(place->second);
  sequences_.erase(place);
  event.text += s->stops.push(s->text.flush());
  event.text += s->stops.flush();
  event.finish = reason;
  event.stop_string = s->stops.matched();
  s->usage.cached_tokens = s->resumed;
  event.usage = s->usage;
  event.timing = s->timing;
  if (draft_source() != nullptr) event.speculation = std::move(s->speculation);
  {
    const std::lock_guard lock(mutex_);
    status_.prompt_tokens += s->usage.prompt_tokens;
    status_.cached_tokens += s->usage.cached_tokens;
    status_.completion_tokens += s->usage.completion_tokens;
  }
  send(*s, event);
}

}  // namespace lapidary
