#include "model/weight_binder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace lapidary {
namespace {

constexpr size_t kProblemsShown = 6;

QuantizedMatrix matrix_over(const TensorEntry& tensor, std::span<const std::byte> bytes, int64_t out, int64_t in) {
  QuantizedMatrix w;
  w.format = *tensor.format;
  w.out = static_cast<int32_t>(out);
  w.in = static_cast<int32_t>(in);
  w.blocks = bytes;
  return w;
}

}  // namespace

std::string WeightBinder::text_prefix() const {
  for (const char* prefix : {"model.language_model.", "language_model.model.", "model.", ""}) {
    if (checkpoint_.find(fmt::format("{}embed_tokens.weight", prefix)) != nullptr) return prefix;
  }
  return "model.language_model.";
}

std::string WeightBinder::first_of(std::initializer_list<std::string> names) const {
  for (const std::string& name : names) {
    if (checkpoint_.find(name) != nullptr) return name;
  }
  return *names.begin();
}

QuantizedMatrix WeightBinder::matrix(const std::string& name, int64_t out, int64_t in) {
  return as_matrix(name, {out, in}, out, in);
}

QuantizedMatrix WeightBinder::as_matrix(const std::string& name, std::initializer_list<int64_t> shape, int64_t out,
                                        int64_t in) {
  const TensorEntry* tensor = find(name, shape);
  if (tensor == nullptr) return {};
  return prepared(name, matrix_over(*tensor, tensor->bytes, out, in));
}

QuantizedMatrix WeightBinder::table(const std::string& name, int64_t rows, int64_t cols) {
  const TensorEntry* tensor = find(name, {rows, cols});
  return tensor == nullptr ? QuantizedMatrix{} : matrix_over(*tensor, tensor->bytes, rows, cols);
}

ClippedMatrix WeightBinder::linear(const std::string& name, int64_t out, int64_t in, bool clipped) {
  ClippedMatrix w;
  w.matrix = matrix(first_of({name + ".linear.weight", name + ".weight"}), out, in);
  if (!clipped) return w;
  const auto range = [&](const std::string& part) {
    const ClipRange bounds{scalar(name + part + "_min"), scalar(name + part + "_max")};
    if (!(bounds.low <= bounds.high)) {
      problems_.push_back(fmt::format("{}{}_min is {}, {}_max {}: expected a range", name, part, bounds.low,
                                      part.substr(1), bounds.high));
    }
    return bounds;
  };
  w.input = range(".input");
  w.output = range(".output");
  return w;
}

std::vector<MlpWeights> WeightBinder::experts(const std::string& prefix, const MoeSpec& moe, int64_t dim) {
  const std::string gate_up_name = prefix + "experts.gate_up_proj", down_name = prefix + "experts.down_proj";
  const TensorEntry* gate_up = find(gate_up_name, {moe.experts, 2LL * moe.hidden, dim});
  const TensorEntry* down = find(down_name, {moe.experts, dim, moe.hidden});
  std::vector<MlpWeights> experts;
  if (gate_up == nullptr || down == nullptr) return experts;
  const size_t half = gate_up->bytes.size() / static_cast<size_t>(moe.experts) / 2,
               whole = down->bytes.size() / static_cast<size_t>(moe.experts);
  for (size_t e = 0; e < static_cast<size_t>(moe.experts); ++e) {
    const auto part = [&](size_t index) { return gate_up->bytes.subspan(index * half, half); };
    experts.push_back(
        {prepared(gate_up_name, matrix_over(*gate_up, part(2 * e), moe.hidden, dim)),
         prepared(gate_up_name, matrix_over(*gate_up, part(2 * e + 1), moe.hidden, dim)),
         prepared(down_name, matrix_over(*down, down->bytes.subspan(e * whole, whole), dim, moe.hidden))});
  }
  return experts;
}

NormWeight WeightBinder::vector(const std::string& name, int64_t cols, float factor) {
  std::vector<float> stored = values(name, {cols});
  for (float& value : stored) value *= factor;
  return keep(name, stored, 1, static_cast<int32_t>(cols));
}

std::vector<float> WeightBinder::values(const std::string& name, std::initializer_list<int64_t> shape) {
  const TensorEntry* tensor = find(name, shape);
  if (tensor == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(tensor->elements()));
  format_info(*tensor->format).decode(tensor->bytes.data(), tensor->elements(), values.data());
  return values;
}

TensorView WeightBinder::keep(const std::string& name, std::span<const float> values, int32_t rows, int32_t cols) {
  if (values.empty()) return {};  // said already
  auto view = ops_.allocate(rows, cols, DType::kF32);
  if (!view) {
    problems_.push_back(fmt::format("{}: {}", name, view.error().message));
    return {};
  }
  ops_.write(values, *view);
  return *view;
}

float WeightBinder::scalar(const std::string& name) {
  const TensorEntry* stored = checkpoint_.find(name);
  const TensorEntry* tensor = stored != nullptr && stored->shape.empty() ? find(name, {}) : find(name, {1});
  float value = 0;
  if (tensor != nullptr) format_info(*tensor->format).decode(tensor->bytes.data(), 1, &value);
  return value;
}

std::vector<int32_t> WeightBinder::indices(const std::string& name, int64_t count, int64_t limit) {
  const TensorEntry* tensor = find_any(name, {count});
  if (tensor == nullptr) return {};
  if (tensor->element != "I64" && tensor->element != "I32") {
    problems_.push_back(fmt::format("{} holds {}, expected I64 or I32", name, tensor->element));
    return {};
  }
  const size_t bytes = tensor->element == "I64" ? sizeof(int64_t) : sizeof(int32_t);
  std::vector<int32_t> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t value = 0;
    if (bytes == sizeof(int64_t)) {
      std::memcpy(&value, tensor->bytes.data() + i * bytes, bytes);
    } else {
      int32_t narrow = 0;
      std::memcpy(&narrow, tensor->bytes.data() + i * bytes, bytes);
      value = narrow;
    }
    if (value < 0 || value >= limit) {
      problems_.push_back(fmt::format("{}: value {} is {}, expected one in [0, {})", name, i, value, limit));
      return {};
    }
    values[i] = static_cast<int32_t>(value);
  }
  return values;
}

std::vector<QuantizedMatrix> WeightBinder::regrouped(const std::string& name, const QuantizedMatrix& table,
                                                     std::span<const int32_t> order, int64_t count,
                                                     std::unique_ptr<std::byte[]>& storage) {
  const size_t bytes = static_cast<size_t>(row_bytes(table.format, table.in));
  storage.reset(new (std::nothrow) std::byte[order.size() * bytes]);
  if (storage == nullptr) {
    problems_.push_back(fmt::format("{}: no memory for {} bytes", name, order.size() * bytes));
    return {};
  }
  for (size_t i = 0; i < order.size(); ++i) std::memcpy(storage.get() + i * bytes, table.row(order[i]), bytes);
  std::vector<QuantizedMatrix> parts;
  for (size_t first = 0; first < order.size(); first += static_cast<size_t>(count)) {
    QuantizedMatrix part = table;
    part.out = static_cast<int32_t>(count);
    part.blocks = {storage.get() + first * bytes, static_cast<size_t>(count) * bytes};
    parts.push_back(prepared(name, part));
  }
  return parts;
}

Result<void> WeightBinder::finish() const {
  if (problems_.empty()) return {};
  const size_t shown = std::min(problems_.size(), kProblemsShown);
  std::string message = fmt::format(
      "{}: {} tensor{} do not fit config.json: {}", source_, problems_.size(), problems_.size() == 1 ? "" : "s",
      fmt::join(problems_.begin(), problems_.begin() + static_cast<std::ptrdiff_t>(shown), "; "));
  if (problems_.size() > shown) message += fmt::format("; and {} more", problems_.size() - shown);
  return Error{ErrorCode::kCorruptFile, message};
}

QuantizedMatrix WeightBinder::prepared(const std::string& name, QuantizedMatrix w) {
  if (auto done = ops_.prepare(w); !done) problems_.push_back(fmt::format("{}: {}", name, done.error().message));
  return w;
}

const TensorEntry* WeightBinder::find_any(const std::string& name, std::initializer_list<int64_t> shape) {
  const TensorEntry* tensor = checkpoint_.find(name);
  if (tensor == nullptr) {
    problems_.push_back(fmt::format("{} is missing, expected {}", name, shape_text(shape)));
  } else if (!std::equal(tensor->shape.begin(), tensor->shape.end(), shape.begin(), shape.end())) {
    problems_.push_back(fmt::format("{} is {}, expected {}", name, shape_text(tensor->shape), shape_text(shape)));
  } else {
    return tensor;
  }
  return nullptr;
}

const TensorEntry* WeightBinder::find(const std::string& name, std::initializer_list<int64_t> shape) {
  const TensorEntry* tensor = find_any(name, shape);
  if (tensor == nullptr || tensor->format) return tensor;
  problems_.push_back(fmt::format("{} holds {}, expected BF16, F16 or F32", name, tensor->element));
  return nullptr;
}

}  // namespace lapidary
