#include "model/audio_tower.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/limits.h"

namespace lapidary {
namespace {

// Soft tokens that go through the convolutions at a time: their windows are the widest thing here.
constexpr int32_t kPieceTokens = 32;
// The reference's norms around feed-forward networks and attention keep their own default, whatever the config says.
constexpr float kNormEps = 1e-6f;

// ln(1 + e) / ln 2
const float kKeyScale = static_cast<float>(std::log1p(std::numbers::e) / std::numbers::ln2);

int32_t halved(int32_t n) { return (n + 1) / 2; }

// [sin | cos] of distance * frequency, frequencies falling geometrically from 1 to 1 / 10,000, in float32 as the
// reference computes them.   [keys, dim]
std::vector<float> distance_waves(int32_t keys, int32_t dim) {
  const int32_t count = dim / 2;
  const double step = std::log(10'000.0) / std::max(count - 1, 1);
  std::vector<float> waves(static_cast<size_t>(keys) * static_cast<size_t>(dim));
  for (int32_t d = 0; d < keys; ++d) {
    float* row = waves.data() + static_cast<int64_t>(d) * dim;
    for (int32_t i = 0; i < count; ++i) {
      const float exponent = static_cast<float>(i) * static_cast<float>(-step);
      const float angle = static_cast<float>(d) * static_cast<float>(std::exp(static_cast<double>(exponent)));
      row[i] = static_cast<float>(std::sin(static_cast<double>(angle)));
      row[count + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
    }
  }
  return waves;
}

}  // namespace

Result<void> check_tower_sound(const AudioTowerConfig& config, const MediaInput& input) {
  if (input.cols != config.bands || input.value_rows < 1 ||
      input.values.size() != static_cast<size_t>(input.value_rows) * static_cast<size_t>(input.cols)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("audio: expected mel rows of {} bands, found {} values in {} rows of {}", config.bands,
                             input.values.size(), input.value_rows, input.cols)};
  }
  if (input.rows != halved(halved(input.value_rows)) || input.rows > kLimits.audio_clip_tokens_max) {
    return Error{
        ErrorCode::kInvalidArgument,
        fmt::format("audio: expected a soft token for every four mel rows and at most {}, found {} for {} rows",
                    kLimits.audio_clip_tokens_max, input.rows, input.value_rows)};
  }
  return {};
}

Result<AudioTower> AudioTower::create(const AudioTowerConfig& config, const AudioTowerWeights& weights, Ops& ops) {
  AudioTower tower(config, weights, ops);
  RETURN_IF_ERROR(tower.allocate());
  RETURN_IF_ERROR(tower.make_distances());
  return tower;
}

Result<void> AudioTower::allocate() {
  const DType type = ops_->activation_type();
  const int32_t bands = config_->bands, dim = config_->dim, tokens = kLimits.audio_clip_tokens_max;
  const int32_t times = 2 * kPieceTokens + 1, mel_rows = 2 * times + 1;
  const auto take = [&](TensorView& view, int32_t rows, int32_t cols) -> Result<void> {
    ASSIGN_OR_RETURN(view, ops_->allocate(rows, cols, type));
    return {};
  };
  RETURN_IF_ERROR(take(mel_, mel_rows * bands, 1));
  RETURN_IF_ERROR(take(first_windows_, times * (bands / 2), 9));
  RETURN_IF_ERROR(take(first_, times * (bands / 2), bands));
  RETURN_IF_ERROR(take(second_windows_, kPieceTokens * (bands / 4), 9 * bands));
  RETURN_IF_ERROR(take(second_, kPieceTokens * (bands / 4), config_->channels));
  for (TensorView* view : {&x_, &h_, &q_, &k_, &v_}) RETURN_IF_ERROR(take(*view, tokens, dim));
  for (TensorView* view : {&wide_, &clipped_}) RETURN_IF_ERROR(take(*view, tokens, config_->ffn_hidden()));
  RETURN_IF_ERROR(take(output_, tokens, config_->output_dim));
  return take(encoded_, tokens, weights_->projection.out);
}

// The keys of distances: the same for every clip.
Result<void> AudioTower::make_distances() {
  const DType type = ops_->activation_type();
  ASSIGN_OR_RETURN(const TensorView waves, ops_->allocate(config_->keys, config_->dim, type));
  ops_->write(distance_waves(config_->keys, config_->dim), waves);
  for (const ConformerLayerWeights& layer : weights_->layers) {
    ASSIGN_OR_RETURN(const TensorView distances, ops_->allocate(config_->keys, config_->dim, type));
    ops_->project(waves, std::array{&layer.distance}, std::array{distances});
    distances_.push_back(distances);
  }
  return {};
}

void AudioTower::encode(const MediaInput& input, int32_t begin, TensorView out) {
  if (input.content_hash == 0 || input.content_hash != encoded_hash_ || input.rows != encoded_rows_) {
    encode_clip(input);
    encoded_hash_ = input.content_hash;
    encoded_rows_ = input.rows;
  }
  ops_->copy(row_range(encoded_, begin, out.rows), out);
}

void AudioTower::encode_clip(const MediaInput& input) {
  const TensorView x = row_range(x_, 0, input.rows);
  for (int32_t first = 0; first < x.rows; first += kPieceTokens)
    subsample(input, first, row_range(x, first, std::min(kPieceTokens, x.rows - first)));
  if (probe_) probe_(-1, x);
  for (size_t l = 0; l < weights_->layers.size(); ++l) {
    const ConformerLayerWeights& w = weights_->layers[l];
    feed_forward(w.ffn_before, x);
    attention(w, distances_[l], x);
    convolution(w, x);
    feed_forward(w.ffn_after, x);
    ops_->clamp(x, {-config_->clamp, config_->clamp}, x);
    ops_->rms_norm(x, w.out_norm, kNormEps, x);  // the stream itself: nothing goes around this norm
    if (probe_) probe_(static_cast<int32_t>(l), x);
  }
  const TensorView output = row_range(output_, 0, x.rows);
  ops_->project(x, std::array{&weights_->output}, std::array{output});
  ops_->add_bias(weights_->output_bias, output);
  if (probe_) probe_(config_->layers, output);
  ops_->rms_norm(output, {}, config_->rms_eps, output);
  ops_->project(output, std::array{&weights_->projection}, std::array{row_range(encoded_, 0, x.rows)});
}

// Tokens [first, first + out.rows) after both convolutions, from the mel rows they see. Token t reads times 2t - 1 to
// 2t + 1 of the first convolution, time a the mel rows 2a - 1 to 2a + 1; what lies outside the clip is zero, before
// each convolution.
void AudioTower::subsample(const MediaInput& input, int32_t first, TensorView out) {
  const int32_t bands = config_->bands, times = halved(input.value_rows);
  const int32_t time_begin = std::max(0, 2 * first - 1), time_end = std::min(times, 2 * (first + out.rows));
  const int32_t mel_begin = std::max(0, 2 * time_begin - 1), mel_end = std::min(input.value_rows, 2 * time_end);
  const int32_t mel_rows = mel_end - mel_begin;
  ops_->write(std::span(input.values)
                  .subspan(static_cast<size_t>(mel_begin) * static_cast<size_t>(bands),
                           static_cast<size_t>(mel_rows) * static_cast<size_t>(bands)),
              packed(mel_, mel_rows, bands));
  const TensorView mel = row_range(mel_, 0, mel_rows * bands);

  const int32_t first_rows = (time_end - time_begin) * (bands / 2);
  const TensorView first_windows = row_range(first_windows_, 0, first_rows), a = row_range(first_, 0, first_rows);
  ops_->unfold(mel, bands, 2 * time_begin - 1 - mel_begin, first_windows);
  ops_->project(first_windows, std::array{&weights_->conv_first}, std::array{a});
  ops_->layer_norm(a, weights_->conv_first_norm, {}, config_->rms_eps, a);
  ops_->clamp(a, {.low = 0}, a);

  const int32_t second_rows = out.rows * (bands / 4);
  const TensorView second_windows = row_range(second_windows_, 0, second_rows), b = row_range(second_, 0, second_rows);
  ops_->unfold(a, bands / 2, 2 * first - 1 - time_begin, second_windows);
  ops_->project(second_windows, std::array{&weights_->conv_second}, std::array{b});
  ops_->layer_norm(b, weights_->conv_second_norm, {}, config_->rms_eps, b);
  ops_->clamp(b, {.low = 0}, b);
  // A token's bands lie behind each other, channels fastest: one row for the linear layer.
  ops_->project(packed(second_, out.rows, config_->flat_width()), std::array{&weights_->input}, std::array{out});
}

void AudioTower::linear(TensorView x, std::span<const ClippedMatrix* const> w, std::span<const TensorView> y) {
  for (size_t first = 0; first < w.size();) {
    // Layers of one input and one range are one product.
    size_t last = first + 1;
    while (last < w.size() && w[last]->input == w[first]->input) ++last;
    TensorView from = x;
    if (!w[first]->input.unbounded()) {
      from = packed(clipped_, x.rows, x.cols);
      ops_->clamp(x, w[first]->input, from);
    }
    std::vector<const QuantizedMatrix*> matrices;
    for (size_t i = first; i < last; ++i) matrices.push_back(&w[i]->matrix);
    ops_->project(from, matrices, y.subspan(first, last - first));
    first = last;
  }
  for (size_t i = 0; i < w.size(); ++i) {
    if (!w[i]->output.unbounded()) ops_->clamp(y[i], w[i]->output, y[i]);
  }
}

// x += residual * norm(clamp(down * silu(up * norm(clamp(x)))))
void AudioTower::feed_forward(const ConformerFfnWeights& w, TensorView x) {
  const ClipRange range{-config_->clamp, config_->clamp};
  const TensorView h = row_range(h_, 0, x.rows), wide = row_range(wide_, 0, x.rows);
  ops_->clamp(x, range, h);
  ops_->rms_norm(h, w.norm, kNormEps, h);
  linear(h, std::array{&w.up}, std::array{wide});
  ops_->silu(wide);
  linear(wide, std::array{&w.down}, std::array{h});
  ops_->clamp(h, range, h);
  ops_->rms_norm(h, w.post_norm, kNormEps, h);
  ops_->scale(config_->residual, h);
  ops_->add(h, x);
}

// x += norm(clamp(o * attention(q, k, v)))
void AudioTower::attention(const ConformerLayerWeights& w, TensorView distances, TensorView x) {
  const ClipRange range{-config_->clamp, config_->clamp};
  const TensorView h = row_range(h_, 0, x.rows), q = row_range(q_, 0, x.rows), k = row_range(k_, 0, x.rows),
                   v = row_range(v_, 0, x.rows);
  ops_->clamp(x, range, h);
  ops_->rms_norm(h, w.attn_norm, kNormEps, h);
  linear(h, std::array{&w.q, &w.k, &w.v}, std::array{q, k, v});
  LocalAttention how;
  how.heads = config_->heads;
  how.head_dim = config_->head_dim();
  how.keys = config_->keys;
  how.q_scale = w.q_scale;
  how.k_scale = kKeyScale;
  how.cap = config_->cap;
  how.distances = distances;
  ops_->local_attention(how, q, k, v, q);
  linear(q, std::array{&w.o}, std::array{h});
  ops_->clamp(h, range, h);
  ops_->add_rms_norm(h, w.post_attn_norm, kNormEps, x);
}

// x += out * silu(norm(clamp(conv(gated(in * norm(x))))))
void AudioTower::convolution(const ConformerLayerWeights& w, TensorView x) {
  const TensorView h = row_range(h_, 0, x.rows), gated = row_range(q_, 0, x.rows),
                   both = packed(wide_, x.rows, 2 * config_->dim);
  ops_->rms_norm(x, w.conv_norm, config_->rms_eps, h);
  linear(h, std::array{&w.conv_in}, std::array{both});
  ops_->glu(both, gated);
  ops_->causal_conv(gated, w.conv, h);
  ops_->clamp(h, {-config_->clamp, config_->clamp}, h);
  ops_->rms_norm(h, w.post_conv_norm, config_->rms_eps, h);
  ops_->silu(h);
  linear(h, std::array{&w.conv_out}, std::array{gated});
  ops_->add(gated, x);
}

}  // namespace lapidary
