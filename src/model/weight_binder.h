// WeightBinder: finds tensors by name, checks every shape, and collects all that is wrong before giving up.
#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "files/checkpoint.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace lapidary {

// Each getter returns what it found, or something empty where the tensor is missing or another one; finish() then says
// so. source names the file or directory in messages.
class WeightBinder {
 public:
  WeightBinder(const Checkpoint& checkpoint, std::string_view source, Ops& ops)
      : checkpoint_(checkpoint), source_(source), ops_(ops) {}

  // The text decoder's prefix: whichever of the known ones holds the embedding table.
  std::string text_prefix() const;
  // The first of several names that exists; for tensors that releases and re-exports call differently.
  std::string first_of(std::initializer_list<std::string> names) const;

  // A tensor [out, in], prepared for products.
  QuantizedMatrix matrix(const std::string& name, int64_t out, int64_t in);
  // A tensor of any shape read as a matrix [out, in] over the same bytes.
  QuantizedMatrix as_matrix(const std::string& name, std::initializer_list<int64_t> shape, int64_t out, int64_t in);
  // A tower's linear layer [out, in]: NAME.linear.weight or NAME.weight, and where `clipped` NAME.input_min,
  // .input_max, .output_min and .output_max. A range whose ends are not in order is a problem.
  ClippedMatrix linear(const std::string& name, int64_t out, int64_t in, bool clipped);
  // A table whose rows are looked up and never multiplied: stays in the mapped file.
  QuantizedMatrix table(const std::string& name, int64_t rows, int64_t cols);
  // The experts of a layer, which lie behind each other: gate_up [experts, 2 * hidden, dim], each expert's gate before
  // its up; down [experts, dim, hidden].
  std::vector<MlpWeights> experts(const std::string& prefix, const MoeSpec& moe, int64_t dim);
  // [cols] in f32. Times factor, for constants that the model multiplies a norm's output with.
  NormWeight vector(const std::string& name, int64_t cols, float factor = 1.0f);
  // The values of a tensor of this shape, decoded; empty when it does not fit.
  std::vector<float> values(const std::string& name, std::initializer_list<int64_t> shape);
  // What was made of a tensor's values, as [rows, cols] f32 in the backend's memory; name stands for it in messages.
  TensorView keep(const std::string& name, std::span<const float> values, int32_t rows, int32_t cols);
  // Stored as [1] or, by some exporters, as [].
  float scalar(const std::string& name);

  // [count] whole numbers, I64 or I32, each in [0, limit).
  std::vector<int32_t> indices(const std::string& name, int64_t count, int64_t limit);
  // The rows of a table in another order, count at a time as prepared matrices of their own over `storage`, which is
  // made here: part i holds rows order[i * count, (i + 1) * count).
  std::vector<QuantizedMatrix> regrouped(const std::string& name, const QuantizedMatrix& table,
                                         std::span<const int32_t> order, int64_t count,
                                         std::unique_ptr<std::byte[]>& storage);
  // Another thing that is wrong.
  void reject(std::string problem) { problems_.push_back(std::move(problem)); }

  // Errors: kCorruptFile, listing what does not fit.
  Result<void> finish() const;

 private:
  QuantizedMatrix prepared(const std::string& name, QuantizedMatrix w);
  // A tensor of that shape, whatever it holds; one that holds weights.
  const TensorEntry* find_any(const std::string& name, std::initializer_list<int64_t> shape);
  const TensorEntry* find(const std::string& name, std::initializer_list<int64_t> shape);

  const Checkpoint& checkpoint_;
  std::string source_;
  Ops& ops_;
  std::vector<std::string> problems_;
};

}  // namespace lapidary
