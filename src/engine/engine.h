// Engine: requests in, events out. One thread (the one that calls step) owns everything that changes; any thread may
// submit and cancel.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/memory_plan.h"
#include "engine/request.h"
#include "engine/sampler.h"
#include "engine/sequence.h"
#include "engine/speculation.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace lapidary {

struct EngineOptions {
  std::string model_path;
  std::string device = "auto";
  OpsOptions ops;
  int32_t batch_tokens_max = 2048;      // rows of one step; a single picture may exceed it
  std::optional<int32_t> context;       // positions to make room for; absent: what the model allows and memory permits
  int32_t requests_max = 256;           // waiting ones; more are refused
  std::string draft_path;               // a drafter's directory; empty: no speculation
  std::optional<int32_t> draft_tokens;  // drafted in a round; absent: as many as the last rounds suggest
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> open(const EngineOptions& options);
  ~Engine();

  // Any thread. The sink is called on the engine thread, the last time with Event::finish set. Errors: kInvalidArgument
  // for a request the model cannot take (ids out of range, media that do not fit their spans, a prompt longer than the
  // context), kExhausted when too many wait.
  Result<uint64_t> submit(GenerationRequest request, std::function<void(const Event&)> sink);
  // Any thread. The request ends with FinishReason::kCancelled within one step; unknown ids are ignored.
  void cancel(uint64_t request);
  // Engine thread only. One prompt piece, or one token and the drafts that proved right; false when there was nothing
  // to do.
  bool step();

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const Model& model() const { return *model_; }
  const MemoryPlan& memory() const { return memory_; }
  std::string description() const;  // of the backend
  // Replaces the drafter (nullptr: no speculation). Between answers only.
  void set_draft_source(std::unique_ptr<DraftSource> source) { draft_source_ = std::move(source); }
  const DraftSource* draft_source() const { return draft_source_.get(); }
  int64_t weight_bytes() const { return model_->dir().weights.bytes(); }

 private:
  Engine(std::unique_ptr<Model> model, Tokenizer tokenizer, const EngineOptions& options);

  Result<void> check(const GenerationRequest& request) const;
  void take_cancellations();
  bool begin_next();
  void prefill_piece();
  void decode_round();
  void run_rows(int32_t begin, int32_t end, bool all_logits, bool last_logits);
  void settle(int32_t certain);
  void add_soft_rows(Batch& batch, int32_t begin, int32_t end);
  std::span<const float> logits_of(int32_t row);
  void report_prompt_logprobs(int32_t begin, int32_t end, Event& event);
  int32_t draw_token(int32_t row);
  bool accept_token(int32_t row, int32_t token, Event& event);
  void prepare_round(int32_t row);
  void finish(FinishReason reason, Event& event);

  std::unique_ptr<Model> model_;
  Tokenizer tokenizer_;
  EngineOptions options_;
  MemoryPlan memory_;
  int32_t step_rows_max_ = 0;
  Sampler sampler_;
  std::unique_ptr<DraftSource> draft_source_;
  TensorView soft_;  // [step rows, dim]: soft tokens of the current piece
  std::array<KvPool, kAttentionKinds> pools_;
  std::unique_ptr<Sequence> active_;
  std::vector<float> logits_;
  int32_t logits_first_ = -1;  // hidden row of the first of the rows in the head's buffer

  std::mutex mutex_;  // guards the three below
  std::deque<std::unique_ptr<Sequence>> waiting_;
  std::vector<uint64_t> cancelled_;
  uint64_t next_id_ = 1;
};

}  // namespace lapidary
