// The class behind make_cpu_ops; only this folder includes it.
#pragma once

#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "ops/cpu/aligned_buffer.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/host_ops.h"

namespace lapidary {

// Rows of activations are multiplied in blocks of at most this many, so that a staged block stays in a core's cache.
inline constexpr int32_t kBlockRows = 120;  // a multiple of every level's tile_columns

class CpuOps final : public HostOps {
 public:
  CpuOps(const OpsOptions& options, const CpuKernels& level);

  std::string description() const override;
  DType activation_type() const override { return DType::kF32; }

  Result<void> prepare(QuantizedMatrix& w) override;
  Result<void> reserve_kv(const KvLayout& layout) override;

  void embed(TensorView ids, const QuantizedMatrix& table, float scale, TensorView x) override;
  void project(TensorView x, std::span<const QuantizedMatrix* const> w, std::span<const TensorView> y) override;
  void rms_norm(TensorView x, NormWeight w, float eps, TensorView out) override;
  void layer_norm(TensorView x, NormWeight w, NormWeight b, float eps, TensorView out) override;
  void norm_rope(TensorView heads, NormWeight w, float eps, RopeSpec rope, TensorView positions) override;
  void norm_rope_2d(TensorView heads, NormWeight w, float eps, float theta, TensorView x, TensorView y) override;
  void kv_write(KvView kv, TensorView k, TensorView v, const AttentionPlan& plan) override;
  void attention(TensorView q, KvView kv, const AttentionPlan& plan, TensorView out) override;
  void attend_all(TensorView q, TensorView k, TensorView v, int32_t head_dim, TensorView out) override;
  void gelu_mul(TensorView gate, TensorView up, TensorView out) override;
  void add(TensorView y, TensorView x) override;
  void add_bias(NormWeight b, TensorView x) override;
  void add_rows(const QuantizedMatrix& table, TensorView rows, TensorView x) override;
  void scale_columns(NormWeight w, TensorView x) override;
  void mean_rows(TensorView x, TensorView rows, TensorView out) override;
  void scale(float factor, TensorView x) override;
  void softcap(float cap, TensorView x) override;
  void clamp(TensorView x, ClipRange range, TensorView out) override;
  void silu(TensorView x) override;
  void glu(TensorView x, TensorView out) override;
  void gather_rows(TensorView x, TensorView rows, TensorView out) override;
  void scatter_add_rows(TensorView y, TensorView rows, TensorView weights, TensorView x) override;
  void route(TensorView logits, NormWeight expert_scale, int32_t active, TensorView chosen,
             TensorView weights) override;
  void causal_conv(TensorView x, TensorView w, TensorView out) override;
  void unfold(TensorView x, int32_t bands, int32_t first, TensorView out) override;
  void local_attention(const LocalAttention& how, TensorView q, TensorView k, TensorView v, TensorView out) override;
  void clear(TensorView x) override;
  void copy(TensorView from, TensorView to) override;
  void add_rms_norm(TensorView h, NormWeight w, float eps, TensorView x) override;

 private:
  // --- products (cpu_project.cpp) ---
  // A matrix of one project() call and how it is multiplied.
  struct Product {
    const QuantizedMatrix* w = nullptr;
    TensorView y;
    const TileKernel* kernel = nullptr;
    bool decoded = false;  // rows are decoded to f32 before the kernel sees them
    const void* panels = nullptr;
    int64_t first_block = 0, blocks = 0;  // among the blocks of outputs of the whole call
  };
  // Staged rows of activations: `panels` panels, all of `columns` rows but perhaps the last.
  struct Staging {
    int32_t rows = 0, panels = 0, columns = 0;
    int32_t columns_of(int32_t panel) const { return panel + 1 < panels ? columns : rows - (panels - 1) * columns; }
  };
  static Staging staging_of(int32_t rows, int32_t tile_columns);
  const TileKernel& kernel_for(Format format, bool& decoded) const;
  bool grow_staging(int32_t in, int32_t rows);
  void stage(TensorView x, const Staging& staging, const TileKernel& kernel, void* panels);
  void project_rows(TensorView x, int32_t first_row, const Staging& staging);
  void project_block(const Product& product, int32_t first_row, int32_t first_output, int32_t outputs, bool few,
                     const Staging& staging, int worker);
  void decode_values(const QuantizedMatrix& w, int64_t row, int64_t first, int64_t values, float* out) const;

  // --- keys, values, attention (cpu_attention.cpp) ---
  struct KvLayer {
    int64_t offset = 0;  // bytes from the start of a page to K; V follows
    int32_t head_dim = 0, kv_heads = 0;
  };
  struct KvPages {
    std::byte* data = nullptr;
    int32_t pages = 0;
    int64_t page_bytes = 0;
    std::vector<KvLayer> layers;
  };
  // One operation's constants.
  struct AttentionCall {
    TensorView q, out;
    const AttentionPlan* plan = nullptr;
    const KvPages* pages = nullptr;
    const KvLayer* layer = nullptr;
    int32_t group = 0;  // query heads per K/V head
  };
  // Some rows of one sequence against one K/V head. A column is one query head of one row.
  struct AttentionTask {
    int32_t first_row = 0, rows = 0, kv_head = 0;
    int32_t begin = 0, end = 0;           // positions that any of the rows sees
    int32_t first_chunk = 0, chunks = 0;  // of kChunkPositions
    int64_t first_part = 0;               // index of its first chunk among the parts of a split call
  };
  struct AttentionScratch {
    AlignedBuffer<float> panels, scores, part, total, page;
    std::vector<SoftmaxState> part_states, total_states;
    std::vector<const float*> rows;
  };
  const KvLayer& kv_layer(KvView kv) const;
  std::byte* kv_head(const AttentionCall& call, int32_t page, int32_t kv_head, bool values) const;
  void plan_tasks(const AttentionCall& call);
  void stage_queries(const AttentionCall& call, const AttentionTask& task, AttentionScratch& scratch);
  void attend_chunk(const AttentionCall& call, const AttentionTask& task, int32_t chunk, AttentionScratch& scratch,
                    float* out, SoftmaxState* states);
  void combine_chunk(const AttentionCall& call, const AttentionTask& task, int32_t chunk, const float* out,
                     const SoftmaxState* states, AttentionScratch& scratch);
  void start_total(const AttentionCall& call, const AttentionTask& task, AttentionScratch& scratch);
  void finish_total(const AttentionCall& call, const AttentionTask& task, AttentionScratch& scratch);

  // --- attention of all rows (cpu_full_attention.cpp) ---
  // Some queries of one head against all keys.
  struct FullAttentionTask {
    const float* keys = nullptr;    // blocks [dim][64 keys], one after the other
    const float* values = nullptr;  // [rows, padded]
    int32_t rows = 0, dim = 0, padded = 0;
    int32_t first_query = 0, queries = 0;
    int32_t column = 0;  // of the head in q and out
  };
  void attend_block(const FullAttentionTask& task, TensorView q, TensorView out, AttentionScratch& scratch);
  void score_chunk(const FullAttentionTask& task, const Staging& staging, TensorView q, int32_t first, int32_t keys,
                   AttentionScratch& scratch);
  void add_values(const FullAttentionTask& task, const Staging& staging, int32_t first, int32_t keys,
                  AttentionScratch& scratch);

  // --- rows (cpu_ops.cpp) ---
  // cos and sin of one kind of layer for the rows of a step: the same for every layer of the kind.
  struct RopeTable {
    RopeSpec rope;
    int32_t head_dim = 0, pairs = 0;
    std::vector<int32_t> positions;
    std::vector<float> cos, sin;  // [positions, pairs]
  };
  // cos and sin of every coordinate from 0, for heads of which half turns by x and half by y.
  struct AxisTable {
    float theta = 0;
    int32_t axis_dim = 0, pairs = 0;
    int32_t coordinates = 0;
    std::vector<float> cos, sin;  // [coordinates, pairs]
  };
  const AxisTable& axis_table(float theta, int32_t axis_dim, int32_t coordinates);
  const RopeTable& rope_table(RopeSpec rope, int32_t head_dim, TensorView positions);
  void decode_row(const QuantizedMatrix& w, int64_t row, float factor, float* out) const;
  // body(row) and body(row, first column, columns), over all rows, on as many threads as the work deserves.
  template <class Body>
  void each_row(int32_t rows, int32_t cols, Body body);
  template <class Body>
  void each_piece(int32_t rows, int32_t cols, Body body);

  const CpuKernels& kernels_;
  Precision precision_;
  DType kv_type_;
  Format kv_format_;
  ThreadPool pool_;

  std::vector<Product> products_;
  AlignedBuffer<float> staging_f32_;
  AlignedBuffer<uint16_t> staging_bf16_;
  struct ProductScratch {
    AlignedBuffer<float> decoded, sums;
  };
  std::vector<ProductScratch> product_scratch_;    // by worker
  std::vector<AlignedBuffer<float>> row_scratch_;  // by worker: one decoded row

  std::array<KvPages, kAttentionKinds> kv_;
  bool kv_reserved_ = false;
  std::vector<AttentionTask> tasks_;
  std::vector<AttentionScratch> attention_scratch_;  // by worker
  AlignedBuffer<float> parts_;
  std::vector<SoftmaxState> part_states_;
  AlignedBuffer<float> head_keys_, head_values_;

  std::vector<RopeTable> rope_tables_;
  std::vector<AxisTable> axis_tables_;
};

}  // namespace lapidary
