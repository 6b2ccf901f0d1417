#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "engine/prompt_pieces.h"
#include "ops/select/select.h"

namespace lapidary {
namespace {

// What is left for the rest of the machine when the context is sized by itself.
constexpr double kMemoryShare = 0.8;

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(const EngineOptions& options) {
  if (options.batch_tokens_max < 1) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("--batch-tokens: expected at least 1, found {}", options.batch_tokens_max)};
  }
  if (options.draft_tokens && (*options.draft_tokens < 1 || *options.draft_tokens > kLimits.draft_tokens_max)) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("--draft-tokens: expected 1 to {}, found {}",
                                                          kLimits.draft_tokens_max, *options.draft_tokens)};
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Ops> ops, make_ops(options.device, options.ops));
  // A picture enters in one piece, so a step must hold the largest.
  ModelLimits limits;
  limits.rows_max = std::max(options.batch_tokens_max, kLimits.image_tokens_max);
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, Model::open(options.model_path, std::move(ops), limits));
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::open(model->dir().path));
  if (tokenizer.vocabulary_size() > model->config().vocab) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: the tokenizer has {} ids, the model's vocabulary {}", model->dir().path.string(),
                             tokenizer.vocabulary_size(), model->config().vocab)};
  }
  std::unique_ptr<Engine> engine(new Engine(std::move(model), std::move(tokenizer), options));
  Model& m = *engine->model_;
  engine->step_rows_max_ = limits.rows_max;
  int64_t weight_bytes = m.dir().weights.bytes();
  if (!options.draft_path.empty()) {
    ASSIGN_OR_RETURN(std::unique_ptr<DrafterSource> drafter, DrafterSource::open(options.draft_path, m));
    weight_bytes += drafter->weight_bytes();
    engine->draft_source_ = std::move(drafter);
  }
  const int64_t free_bytes = available_memory_bytes() - weight_bytes;
  const int64_t kv_bytes_max =
      std::max<int64_t>(static_cast<int64_t>(static_cast<double>(free_bytes) * kMemoryShare), 64 << 20);
  ASSIGN_OR_RETURN(engine->memory_,
                   plan_memory(m.config(), options.ops.kv_type, limits.rows_max, options.context, kv_bytes_max));
  KvLayout layout = kv_layout(m.config());
  layout.groups[static_cast<size_t>(AttentionKind::kSliding)].pages = engine->memory_.sliding_pages;
  layout.groups[static_cast<size_t>(AttentionKind::kGlobal)].pages = engine->memory_.global_pages;
  RETURN_IF_ERROR(m.ops().reserve_kv(layout));
  engine->pools_ = {KvPool(engine->memory_.sliding_pages), KvPool(engine->memory_.global_pages)};
  if (m.config().takes_pictures() || m.config().takes_sound()) {
    ASSIGN_OR_RETURN(engine->soft_, m.ops().allocate(limits.rows_max, m.config().dim, m.ops().activation_type()));
  }
  return engine;
}

Engine::Engine(std::unique_ptr<Model> model, Tokenizer tokenizer, const EngineOptions& options)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      options_(options),
      sampler_(model_->config().vocab, model_->generation_defaults().suppressed_ids),
      pools_{KvPool(0), KvPool(0)},
      logits_(static_cast<size_t>(model_->config().vocab)) {}

Engine::~Engine() = default;

std::string Engine::description() const { return model_->description(); }

Result<void> Engine::check(const GenerationRequest& request) const {
  const ModelConfig& config = model_->config();
  if (request.prompt.empty())
    return Error{ErrorCode::kInvalidArgument, "the prompt is empty: expected at least one token"};
  if (request.prompt.size() > static_cast<size_t>(memory_.context)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("the prompt has {} tokens, the context holds {} (see --context; the model allows {})",
                             request.prompt.size(), memory_.context, config.positions_max)};
  }
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    if (request.prompt[i] < 0 || request.prompt[i] >= config.vocab) {
      return Error{ErrorCode::kInvalidArgument, fmt::format("prompt token {}: expected an id in [0, {}), found {}", i,
                                                            config.vocab, request.prompt[i])};
    }
  }
  int32_t at = 0;
  for (const MediaSpan& span : request.media) {
    CHECK(span.input != nullptr && span.begin >= at && span.end > span.begin &&
          span.end <= static_cast<int32_t>(request.prompt.size()));
    CHECK(span.end - span.begin == span.input->rows);
    at = span.end;
    RETURN_IF_ERROR(check_media(config, *span.input));
    if (span.input->kind != MediaKind::kAudio && span.input->rows > step_rows_max_) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("a picture of {} tokens does not fit one step of {}; see --batch-tokens",
                               span.input->rows, step_rows_max_)};
    }
  }
  if (request.tokens_max < 0)
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("--max-tokens: expected 0 or more, found {}", request.tokens_max)};
  if (request.logprobs && (*request.logprobs < 0 || *request.logprobs > kLimits.logprobs_max)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("--logprobs: expected 0 to {}, found {}", kLimits.logprobs_max, *request.logprobs)};
  }
  if (request.stop.size() > static_cast<size_t>(kLimits.stop_strings_max)) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("--stop: expected at most {} strings, found {}",
                                                          kLimits.stop_strings_max, request.stop.size())};
  }
  const SamplingParams& s = request.sampling;
  if (!(s.temperature >= 0 && s.temperature <= 100) || !(s.top_p > 0 && s.top_p <= 1) ||
      !(s.min_p >= 0 && s.min_p <= 1) || s.top_k < 0) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("sampling: expected temperature in [0, 100], top-p in (0, "
                                                          "1], min-p in [0, 1], top-k >= 0; found {}, {}, {}, {}",
                                                          s.temperature, s.top_p, s.min_p, s.top_k)};
  }
  return {};
}

Result<uint64_t> Engine::submit(GenerationRequest request, std::function<void(const Event&)> sink) {
  RETURN_IF_ERROR(check(request));
  const std::lock_guard lock(mutex_);
  if (waiting_.size() >= static_cast<size_t>(options_.requests_max)) {
    return Error{ErrorCode::kExhausted, fmt::format("{} requests are waiting, the most allowed", waiting_.size())};
  }
  const uint64_t id = next_id_++;
  waiting_.push_back(std::make_unique<Sequence>(id, std::move(request), std::move(sink), tokenizer_));
  return id;
}

void Engine::cancel(uint64_t request) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(request);
}

void Engine::take_cancellations() {
  std::vector<std::unique_ptr<Sequence>> dropped;
  bool active_cancelled = false;
  {
    const std::lock_guard lock(mutex_);
    for (const uint64_t id : cancelled_) {
      if (active_ && active_->id == id) active_cancelled = true;
      const auto it = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& s) { return s->id == id; });
      if (it == waiting_.end()) continue;
      dropped.push_back(std::move(*it));
      waiting_.erase(it);
    }
    cancelled_.clear();
  }
  if (active_cancelled) {
    Event event;
    finish(FinishReason::kCancelled, event);
  }
  for (const auto& sequence : dropped) {
    Event event;
    event.request = sequence->id;
    event.finish = FinishReason::kCancelled;
    event.usage = sequence->usage;
    sequence->sink(event);
  }
}

bool Engine::begin_next() {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) return false;
  active_ = std::move(waiting_.front());
  waiting_.pop_front();
  active_->draft_tokens = options_.draft_tokens.value_or(kFirstDraftTokens);
  return true;
}

bool Engine::step() {
  take_cancellations();
  if (!active_ && !begin_next()) return false;
  if (active_->in_prompt()) {
    prefill_piece();
  } else {
    decode_round();
  }
  return true;
}

// Soft tokens of the pictures, frames and clips whose positions fall into the piece.
void Engine::add_soft_rows(Batch& batch, int32_t begin, int32_t end) {
  const Stopwatch watch;
  int32_t used = 0;
  for (const MediaSpan& span : active_->request.media) {
    const int32_t first = std::max(span.begin, begin), last = std::min(span.end, end);
    if (first >= last) continue;
    const TensorView rows = row_range(soft_, used, last - first);
    model_->soft_tokens().encode(*span.input, first - span.begin, rows);
    batch.soft.push_back({first - begin, rows});
    used += last - first;
  }
  if (used > 0) active_->timing.media_ms += watch.milliseconds();
}

void Engine::run_rows(int32_t begin, int32_t end, bool all_logits, bool last_logits) {
  Sequence& s = *active_;
  for (size_t kind = 0; kind < kAttentionKinds; ++kind) extend_table(s.tables[kind], pools_[kind], end);
  Batch batch = sequence_batch(s, begin, end, all_logits, last_logits);
  // Placeholder rows are looked up as the padding token, as the reference does; their rows are then overwritten.
  for (const MediaSpan& span : s.request.media) {
    for (int32_t p = std::max(span.begin, begin); p < std::min(span.end, end); ++p) {
      batch.token_ids[static_cast<size_t>(p - begin)] = model_->config().pad_id;
    }
  }
  if (end <= s.prompt_tokens()) add_soft_rows(batch, begin, end);
  model_->decoder().forward(batch);
  logits_first_ = -1;
}

// Rows up to `certain` will not be taken back; the next query sees a window that ends with itself, a drafter the one
// just before it.
void Engine::settle(int32_t certain) {
  Sequence& s = *active_;
  s.computed = certain;
  const size_t sliding = static_cast<size_t>(AttentionKind::kSliding);
  release_before(s.tables[sliding], pools_[sliding], certain - model_->config().sliding_window);
}

std::span<const float> Engine::logits_of(int32_t row) {
  Decoder& decoder = model_->decoder();
  const int32_t chunk = decoder.logit_rows(), first = row / chunk * chunk;
  const TensorView block =
      first == logits_first_ ? TensorView{} : decoder.head(first, std::min(chunk, decoder.hidden().rows - first));
  if (!block.empty()) {
    logits_.resize(static_cast<size_t>(block.rows) * static_cast<size_t>(block.cols));
    model_->ops().read(block, logits_);
    logits_first_ = first;
  }
  const size_t vocab = static_cast<size_t>(model_->config().vocab);
  return std::span<const float>(logits_).subspan(static_cast<size_t>(row - first) * vocab, vocab);
}

void Engine::report_prompt_logprobs(int32_t begin, int32_t end, Event& event) {
  for (int32_t position = begin; position < std::min(end, active_->prompt_tokens() - 1); ++position) {
    event.prompt_logprobs.push_back(token_logprob(logits_of(position - begin),
                                                  active_->tokens[static_cast<size_t>(position) + 1],
                                                  active_->request.logprobs.value_or(0)));
  }
}

void Engine::prefill_piece() {
  Sequence& s = *active_;
  const Stopwatch watch;
  const int32_t begin = s.computed;
  // An encoder reads a picture as a whole, and so does a layer whose picture tokens see each other.
  const bool whole_pictures = model_->config().image_tokens_see_each_other || model_->config().vision_tower.has_value();
  const int32_t end = piece_end(s.request.media, whole_pictures, begin, s.prompt_tokens(), options_.batch_tokens_max);
  const bool last = end == s.prompt_tokens();
  const double media_before = s.timing.media_ms;
  run_rows(begin, end, s.request.prompt_logprobs, last);
  settle(end);
  Event event;
  if (s.request.prompt_logprobs) report_prompt_logprobs(begin, end, event);
  if (!last) {
    s.timing.prefill_ms += watch.milliseconds() - (s.timing.media_ms - media_before);
    event.request = s.id;
    event.prompt_done = end;
    s.sink(event);
    return;
  }
  if (s.request.tokens_max == 0) {
    s.timing.prefill_ms += watch.milliseconds() - (s.timing.media_ms - media_before);
    finish(FinishReason::kLength, event);
    return;
  }
  s.timing.prefill_ms += watch.milliseconds() - (s.timing.media_ms - media_before);
  const int32_t row = model_->decoder().hidden().rows - 1;
  if (accept_token(row, draw_token(row), event)) prepare_round(row);
}

// The newest token and the drafts after it in one step. The model draws its own next token from each row as long as
// the drafts were what it drew; the first other draw ends the round, and what was computed after it does not count.
void Engine::decode_round() {
  Sequence& s = *active_;
  const Stopwatch watch;
  const int32_t begin = s.length() - 1, drafted = static_cast<int32_t>(s.drafts.size());
  run_rows(begin, s.length() + drafted, drafted > 0, true);
  const std::vector<int32_t> drafts = std::move(s.drafts);
  s.drafts.clear();
  if (draft_source_) {
    ++s.speculation.rounds;
    s.speculation.proposed += drafted;
    s.speculation.drafts.push_back(drafts);
  }
  s.timing.decode_ms += watch.milliseconds();
  for (int32_t row = 0;; ++row) {
    const int32_t token = draw_token(row);
    const bool as_drafted = row < drafted && token == drafts[static_cast<size_t>(row)];
    if (as_drafted) ++s.speculation.accepted;
    Event event;
    if (!accept_token(row, token, event)) return;
    if (as_drafted) continue;
    settle(begin + row + 1);
    if (!options_.draft_tokens && drafted > 0) s.draft_tokens = next_draft_tokens(s.draft_tokens, drafted, row);
    prepare_round(row);
    return;
  }
}

// The model's own choice after hidden row `row`.
int32_t Engine::draw_token(int32_t row) {
  Sequence& s = *active_;
  const Stopwatch watch;
  const int32_t token = sampler_.draw(logits_of(row), s.request.sampling, s.length());
  s.timing.decode_ms += watch.milliseconds();
  return token;
}

// Adds a token drawn from hidden row `row` and reports it; false: the answer ends with it, and the sequence is gone.
bool Engine::accept_token(int32_t row, int32_t token, Event& event) {
  Sequence& s = *active_;
  const Stopwatch watch;
  if (s.request.logprobs) event.logprobs.push_back(token_logprob(logits_of(row), token, *s.request.logprobs));
  if (s.request.on_logits) s.request.on_logits(token, logits_of(row));
  s.tokens.push_back(token);
  ++s.usage.completion_tokens;
  event.tokens.push_back(token);

  const std::vector<int32_t>& stop_ids = model_->generation_defaults().stop_ids;
  const bool at_end = !s.request.ignore_eos && std::find(stop_ids.begin(), stop_ids.end(), token) != stop_ids.end();
  if (!tokenizer_.is_special(token)) event.text += s.stops.push(s.text.push(token));
  s.timing.decode_ms += watch.milliseconds();

  if (at_end || s.stops.stopped()) {
    finish(FinishReason::kStop, event);
    return false;
  }
  if (s.usage.completion_tokens >= s.request.tokens_max || s.length() > memory_.context) {
    finish(FinishReason::kLength, event);
    return false;
  }
  event.request = s.id;
  s.sink(event);
  return true;
}

// Drafts for the next round, from the hidden row that the newest token was drawn from: never more than could still
// become part of the answer.
void Engine::prepare_round(int32_t row) {
  if (!draft_source_) return;
  Sequence& s = *active_;
  const Stopwatch watch;
  const int32_t most =
      std::min({s.draft_tokens, s.request.tokens_max - s.usage.completion_tokens - 1, memory_.context - s.length()});
  if (most > 0) s.drafts = draft_source_->propose(s, row_range(model_->decoder().hidden(), row, 1), most);
  CHECK(static_cast<int32_t>(s.drafts.size()) <= std::max(most, 0));
  const double spent = watch.milliseconds();
  s.timing.draft_ms += spent;
  s.timing.decode_ms += spent;
}

void Engine::finish(FinishReason reason, Event& event) {
  const std::unique_ptr<Sequence> s = std::move(active_);
  event.text += s->stops.push(s->text.flush());
  event.text += s->stops.flush();
  event.request = s->id;
  event.finish = reason;
  event.usage = s->usage;
  event.timing = s->timing;
  if (draft_source_) event.speculation = std::move(s->speculation);
  for (size_t kind = 0; kind < kAttentionKinds; ++kind) release_all(s->tables[kind], pools_[kind]);
  s->sink(event);
}

}  // namespace lapidary
