// Engine: requests in, events out. One thread (the one that calls step) owns everything that changes; any thread may
// submit and cancel.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/memory_plan.h"
#include "engine/prefix_cache.h"
#include "engine/request.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/soft_token_cache.h"
#include "engine/speculation.h"
#include "grammar/leaf_masks.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace lapidary {

struct EngineOptions {
  std::string model_path;
  std::string device = "auto";
  OpsOptions ops;
  int32_t batch_tokens_max = 2048;  // rows of prompts in one step; a single picture may exceed it
  // The same while other answers wait for their next token: what bounds the time between tokens. Absent: a quarter.
  std::optional<int32_t> shared_batch_tokens;
  int32_t sequences_max = 1;            // answers that run at a time
  std::optional<int32_t> context;       // positions to make room for; absent: what the model allows and memory permits
  std::optional<int64_t> prefix_bytes;  // for finished prefixes, of the K/V memory; absent: see plan_prefixes; 0: off
  std::optional<int64_t> kv_bytes_max;  // absent: what the machine has left
  int32_t requests_max = 256;           // waiting ones; more are refused
  std::string draft_path;               // a drafter's directory; empty: no speculation
  std::optional<int32_t> draft_tokens;  // drafted in a round; absent: as many as pay, by what was measured
};

// What the engine is doing, between two steps.
struct EngineStatus {
  int32_t running = 0, waiting = 0;
  double kv_used = 0;        // share of the global pages that sequences hold
  int64_t prefix_bytes = 0;  // of finished prefixes
  // Of requests that ended, since the start.
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  // Since the start.
  int64_t steps = 0, preemptions = 0;
  // [i]: steps of at most 2^i rows that fit no earlier entry; the last: longer ones.
  std::array<int64_t, 15> steps_by_rows{};
  int64_t step_rows = 0;                        // of all steps
  int64_t prefix_queries = 0, prefix_hits = 0;  // tokens of prompts that were looked up and found in the prefix cache
  int64_t media_queries = 0, media_hits = 0;    // pictures and clips that were looked up, and encoded before
  DraftCounts drafts;
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> open(const EngineOptions& options);
  ~Engine();

  // Any thread. The sink is called on the engine thread, for each choice the last time with Event::finish set. Errors:
  // kInvalidArgument for a request the model cannot take (ids out of range, media that do not fit their spans, a prompt
  // longer than the context), kExhausted when too many wait.
  Result<uint64_t> submit(GenerationRequest request, const std::function<void(const Event&)>& sink);
  // Any thread. The request ends with FinishReason::kCancelled within one step, all its choices; unknown ids are
  // ignored.
  void cancel(uint64_t request);
  // Engine thread only. The next rows of every answer that runs: a token and the drafts that proved right, or a prompt
  // piece; false when there was nothing to do.
  bool step();

  // Any thread: masks of the vocabulary for grammars, with the model's stop tokens as ends. The first call builds the
  // tree of the vocabulary (half a second and 25 MB for 262,144 tokens). The masks themselves belong to the
  // engine's thread.
  std::shared_ptr<MaskLibrary> mask_library();

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const Model& model() const { return *model_; }
  const MemoryPlan& memory() const { return memory_; }
  const EngineOptions& options() const { return options_; }
  std::string description() const;  // of the backend
  EngineStatus status() const;      // any thread
  // Replaces the drafter (nullptr: no speculation). Between answers only.
  void set_draft_source(std::unique_ptr<DraftSource> source) { speculation_.set_source(std::move(source)); }
  const DraftSource* draft_source() const { return speculation_.source(); }
  int64_t weight_bytes() const { return model_->dir().weights.bytes(); }

 private:
  Engine(std::unique_ptr<Model> model, Tokenizer tokenizer, const EngineOptions& options);

  Result<void> make_room(const ModelLimits& limits, int64_t weight_bytes);
  std::vector<Block> blocks_of(const GenerationRequest& request) const;
  void take_messages();
  // First of each slice's rows among the rows of logits; how long encoding media took, all together.
  std::vector<int32_t> run(std::span<const StepSlice> slices, double& media_ms);
  void add_soft_rows(Batch& batch, Sequence& s, const StepSlice& slice, int32_t first_row, int32_t& used);
  void encode_soft_rows(const MediaInput& input, int32_t begin, TensorView rows);
  std::span<const float> logits_of(int32_t row);
  void take_slice(const StepSlice& slice, int32_t row);
  void report_prompt_logprobs(Sequence& s, const StepSlice& slice, int32_t& row, Event& event);
  void take_tokens(Sequence& s, const StepSlice& slice, int32_t row, Event event);
  int32_t draw_token(Sequence& s, int32_t row);
  FinishReason accept_token(Sequence& s, int32_t row, int32_t token, Event& event);
  void note_first_step(Sequence& s);
  void prepare_rounds(int32_t other_rows);
  void send(Sequence& s, Event& event);
  void finish(Sequence& s, FinishReason reason, Event& event);
  void note_status();

  std::unique_ptr<Model> model_;
  Tokenizer tokenizer_;
  EngineOptions options_;
  MemoryPlan memory_;
  Sampler sampler_;
  Speculation speculation_;
  std::vector<DraftTask> rounds_;  // answers that go on after the current step
  TensorView soft_;                // [step rows, dim]: soft tokens of the current step
  TensorView media_;  // [rows of the largest picture, dim]: a picture or clip of which the step holds a part
  SoftTokenCache soft_cache_;
  std::unique_ptr<KvPages> pages_;
  std::unique_ptr<PrefixCache> prefixes_;
  std::unique_ptr<Scheduler> scheduler_;
  std::map<uint64_t, std::unique_ptr<Sequence>> sequences_;  // all that were not finished, by id
  std::vector<float> logits_;
  int32_t logits_first_ = -1;    // hidden row of the first of the rows in the head's buffer
  std::vector<float> adjusted_;  // one row of logits, after the rules of its sequence

  std::once_flag library_made_;
  std::shared_ptr<MaskLibrary> library_;

  mutable std::mutex mutex_;  // guards those below
  std::vector<std::unique_ptr<Sequence>> arrived_;
  std::vector<uint64_t> cancelled_;
  uint64_t next_id_ = 1;
  EngineStatus status_;
};

}  // namespace lapidary
