// Products and attention of the CPU backend, each beside its limit: the read bandwidth for decoding, the multiply-add
// peak for prefill. Limit and work alternate, and the reported share is the median of the paired ratios.
//
//   bench_ops --benchmark_filter=project/decode        LAPIDARY_ISA=avx2 bench_ops
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "base/clock.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "bench/fma_peak.h"
#include "ops/cpu/bandwidth.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/host_memory.h"

namespace lapidary {
namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// All threads together, so that a shared core counts as it is.
double peak_of_threads(ThreadPool& pool, bool pairs) {
  std::vector<double> rates(static_cast<size_t>(pool.threads()));
  const std::string name = (*chosen_level())->name;
  pool.run(pool.threads(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      rates[static_cast<size_t>(i)] = pairs ? bf16_pairs_peak(name) : fma_peak(name);
    }
  });
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

std::unique_ptr<Ops> make(benchmark::State& state, int32_t threads, Precision precision) {
  auto ops = make_cpu_ops({.threads = threads, .precision = precision});
  if (!ops) {
    state.SkipWithError(ops.error().message.c_str());
    return nullptr;
  }
  return std::move(*ops);
}

TensorView random_rows(Ops& ops, int32_t rows, int32_t cols) {
  TensorView x = *ops.allocate(rows, cols, DType::kF32);
  for (int32_t r = 0; r < rows; ++r) {
    for (int32_t c = 0; c < cols; ++c) {
      x.row<float>(r)[c] =
          static_cast<float>(uniform_open(1, static_cast<uint64_t>(r), static_cast<uint64_t>(c)) - 0.5);
    }
  }
  return x;
}

// Random weights of a fast cheap kind: exponents of a few binades, random mantissas.
QuantizedMatrix random_matrix(HostMemory& memory, Format format, int32_t out, int32_t in) {
  const int64_t bytes = out * row_bytes(format, in);
  std::byte* data = *memory.reserve(bytes, "weights");
  std::vector<float> row(static_cast<size_t>(in));
  for (int32_t o = 0; o < out; ++o) {
    for (int32_t i = 0; i < in; ++i) {
      row[static_cast<size_t>(i)] =
          static_cast<float>(static_cast<int32_t>(mix64(static_cast<uint64_t>(o) * 65536 + static_cast<uint64_t>(i)))) *
          0x1p-33f;
    }
    format_info(format).encode(row.data(), in, data + o * row_bytes(format, in));
  }
  return {.format = format, .out = out, .in = in, .blocks = {data, static_cast<size_t>(bytes)}};
}

void report(benchmark::State& state, const char* unit, const std::vector<double>& rates,
            const std::vector<double>& limits) {
  std::vector<double> shares;
  for (size_t i = 0; i < rates.size(); ++i) shares.push_back(rates[i] / limits[i]);
  state.counters[unit] = median(rates) / 1e9;
  state.counters[std::string(unit) + "_limit"] = median(limits) / 1e9;
  state.counters["percent"] = 100 * median(shares);
}

// Weights far beyond the caches are read once per pass: bytes per second next to the probe's.
void project_decode(benchmark::State& state, Format format, Precision precision) {
  const int32_t threads = static_cast<int32_t>(state.range(0)), rows = static_cast<int32_t>(state.range(1));
  const int32_t in = static_cast<int32_t>(state.range(2));
  const auto ops = make(state, threads, precision);
  if (ops == nullptr) return;
  HostMemory memory;
  constexpr int64_t kBytes = 512 << 20;
  QuantizedMatrix w = random_matrix(memory, format, static_cast<int32_t>(kBytes / row_bytes(format, in)), in);
  const TensorView x = random_rows(*ops, rows, in), y = *ops->allocate(rows, w.out, DType::kF32);
  if (!ops->prepare(w)) return state.SkipWithError("no memory");
  BandwidthProbe probe(threads);
  std::vector<double> rates, limits;
  const QuantizedMatrix* matrix = &w;
  for (auto _ : state) {
    const double before = probe.measure();
    const Stopwatch watch;
    ops->project(x, std::span(&matrix, 1), std::array{y});
    const double seconds = watch.seconds();
    state.SetIterationTime(seconds);
    rates.push_back(static_cast<double>(w.blocks.size()) / seconds);
    limits.push_back((before + probe.measure()) / 2);
  }
  report(state, "GB/s", rates, limits);
}

void project_prefill(benchmark::State& state, Format format, Precision precision) {
  const int32_t threads = static_cast<int32_t>(state.range(0)), rows = static_cast<int32_t>(state.range(1));
  const int32_t in = static_cast<int32_t>(state.range(2)), out = static_cast<int32_t>(state.range(3));
  const auto ops = make(state, threads, precision);
  if (ops == nullptr) return;
  HostMemory memory;
  QuantizedMatrix w = random_matrix(memory, format, out, in);
  const TensorView x = random_rows(*ops, rows, in), y = *ops->allocate(rows, out, DType::kF32);
  if (!ops->prepare(w)) return state.SkipWithError("no memory");
  const bool pairs =
      precision == Precision::kFast && format == Format::kBF16 && (*chosen_level())->tile_bf16_pairs.present();
  ThreadPool pool(threads);
  std::vector<double> rates, limits;
  const QuantizedMatrix* matrix = &w;
  for (auto _ : state) {
    const double before = peak_of_threads(pool, pairs);
    const Stopwatch watch;
    ops->project(x, std::span(&matrix, 1), std::array{y});
    const double seconds = watch.seconds();
    state.SetIterationTime(seconds);
    rates.push_back(2.0 * rows * in * out / seconds);
    limits.push_back((before + peak_of_threads(pool, pairs)) / 2);
  }
  report(state, "GFLOP/s", rates, limits);
}

// Decoding: K and V read once, against the probe. Prefill: 4 operations per query, key and head value, against the
// peak.
void attention(benchmark::State& state) {
  const int32_t threads = static_cast<int32_t>(state.range(0)), rows = static_cast<int32_t>(state.range(1));
  const int32_t head_dim = static_cast<int32_t>(state.range(2)), heads = static_cast<int32_t>(state.range(3));
  const int32_t length = static_cast<int32_t>(state.range(4));
  const auto ops = make(state, threads, Precision::kFast);
  if (ops == nullptr) return;
  const int32_t pages = (length + kPagePositions - 1) / kPagePositions;
  // Several layers in turn, so that a decode step does not find its keys in the cache.
  const int32_t layers = rows > 8 ? 1 : std::max(1, static_cast<int32_t>((600LL << 20) / (4LL * length * head_dim)));
  const std::vector<KvLayerShape> shapes(static_cast<size_t>(layers), {head_dim, 1});
  if (!ops->reserve_kv({{KvGroup{0, {}}, KvGroup{pages, shapes}}})) return state.SkipWithError("no memory");
  PageTable table, none;
  table.pages.resize(static_cast<size_t>(pages));
  for (int32_t i = 0; i < pages; ++i) table.pages[static_cast<size_t>(i)] = i ^ (pages > 64 ? 1 : 0);
  if (pages % 2 == 1) table.pages.back() = pages - 1;
  const auto batch_of = [&](int32_t begin, int32_t end) {
    Batch batch;
    batch.positions.resize(static_cast<size_t>(end - begin));
    std::iota(batch.positions.begin(), batch.positions.end(), begin);
    batch.token_ids.assign(batch.positions.size(), 0);
    batch.block_ends.assign(batch.positions.size(), 0);
    batch.slices = {{{&table, &table}, 0, end - begin, end}};
    return batch;
  };
  const AttentionRules rules{.sliding_window = 1};
  const Batch fill = batch_of(0, length);
  const StepInputs filling = ops->upload(fill, rules);
  const TensorView kv = random_rows(*ops, length, head_dim);
  for (int32_t l = 0; l < layers; ++l) ops->kv_write({1, l, head_dim, 1}, kv, kv, *filling.plan[1]);

  const Batch batch = batch_of(length - rows, length);
  const StepInputs in = ops->upload(batch, rules);
  const TensorView q = random_rows(*ops, rows, heads * head_dim),
                   out = *ops->allocate(rows, heads * head_dim, DType::kF32);
  ThreadPool pool(threads);
  BandwidthProbe probe(threads);
  std::vector<double> rates, limits;
  for (auto _ : state) {
    const bool decode = rows <= 8;
    const auto limit = [&] { return decode ? probe.measure() : peak_of_threads(pool, false); };
    const double before = limit();
    const Stopwatch watch;
    for (int32_t l = 0; l < layers; ++l) ops->attention(q, {1, l, head_dim, 1}, *in.plan[1], out);
    const double seconds = watch.seconds();
    state.SetIterationTime(seconds);
    double keys = 0;
    for (const AttentionRow& row : in.plan[1]->rows) keys += row.end - row.begin;
    rates.push_back(decode ? 4.0 * length * head_dim * layers / seconds : 4.0 * keys * heads * head_dim / seconds);
    limits.push_back((before + limit()) / 2);
  }
  report(state, rows <= 8 ? "GB/s" : "GFLOP/s", rates, limits);
}

void read_bandwidth(benchmark::State& state) {
  BandwidthProbe probe(static_cast<int>(state.range(0)));
  std::vector<double> rates;
  for (auto _ : state) {
    const Stopwatch watch;
    rates.push_back(probe.measure());
    state.SetIterationTime(watch.seconds());
  }
  state.counters["GB/s"] = median(rates) / 1e9;
}

void register_all() {
  const auto settle = [](benchmark::internal::Benchmark* b, int iterations) {
    b->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(iterations);
  };
  const int cores = physical_cores();
  std::vector<int64_t> counts = {1};
  if (cores > 1) counts.push_back(cores);
  for (int64_t threads : counts) {
    settle(benchmark::RegisterBenchmark("read_bandwidth", read_bandwidth)->Args({threads}), 9);
    for (const FormatInfo& info : formats()) {
      for (Precision precision : {Precision::kFast, Precision::kFull}) {
        const std::string tail = fmt::format("/{}/{}", info.name, precision == Precision::kFast ? "fast" : "full");
        auto* decode =
            benchmark::RegisterBenchmark(("project/decode" + tail).c_str(), project_decode, info.format, precision);
        for (int64_t rows : {1, 2, 4, 8}) decode->Args({threads, rows, 1536});
        settle(decode->Args({threads, 1, 6144}), 9);
        auto* prefill =
            benchmark::RegisterBenchmark(("project/prefill" + tail).c_str(), project_prefill, info.format, precision);
        settle(prefill->Args({threads, 512, 1536, 6144})
                   ->Args({threads, 512, 6144, 1536})
                   ->Args({threads, 512, 256, 1024}),
               9);
      }
    }
    auto* a = benchmark::RegisterBenchmark("attention", attention);
    a->Args({threads, 1, 256, 8, 8192})->Args({threads, 1, 512, 16, 32768});
    settle(a->Args({threads, 512, 256, 8, 512})->Args({threads, 512, 512, 16, 4096}), 9);
  }
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  lapidary::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
