#include "ops/cpu/bandwidth.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "ops/cpu/levels.h"
#include "ops/host_memory.h"

namespace lapidary {
namespace {

// A sixteenth of the machine's memory, between 256 MiB and 1 GiB: past every cache that one process can hold.
int64_t probe_bytes() {
  struct sysinfo info {};
  if (sysinfo(&info) != 0) return 256 << 20;
  const int64_t total = static_cast<int64_t>(info.totalram) * info.mem_unit;
  return std::clamp<int64_t>(total / 16, 256 << 20, 1 << 30);
}

}  // namespace

struct BandwidthProbe::State {
  explicit State(int threads) : pool(threads), results(static_cast<size_t>(threads)) {}
  ThreadPool pool;
  HostMemory memory;
  std::vector<float> results;  // by worker; kept so that the reads are not optimised away
  std::byte* data = nullptr;
  int64_t part = 0;  // bytes of one thread
};

BandwidthProbe::BandwidthProbe(int threads) : state_(new State(std::max(1, threads))) {
  const int parts = state_->pool.threads();
  state_->part = probe_bytes() / parts / 4096 * 4096;
  auto data = state_->memory.reserve(state_->part * parts, "the bandwidth probe");
  if (!data) return;
  state_->data = *data;
  // Untouched pages all alias one page of zeros, which lives in the cache.
  state_->pool.run(parts, 1, [this](int64_t begin, int64_t end, int) {
    for (int64_t i = begin * state_->part; i < end * state_->part; i += 8) {
      const uint64_t value = mix64(static_cast<uint64_t>(i));
      std::memcpy(state_->data + i, &value, sizeof(value));
    }
  });
}

BandwidthProbe::~BandwidthProbe() { delete state_; }

double BandwidthProbe::measure() {
  if (state_->data == nullptr) return 0;
  const int parts = state_->pool.threads();
  const CpuKernels& kernels = *available_levels().back();
  const Stopwatch watch;
  state_->pool.run(parts, 1, [&](int64_t begin, int64_t end, int worker) {
    state_->results[static_cast<size_t>(worker)] =
        kernels.read_all(state_->data + begin * state_->part, (end - begin) * state_->part);
  });
  return static_cast<double>(state_->part * parts) / watch.seconds();
}

double measure_read_bandwidth(int threads) {
  BandwidthProbe probe(threads);
  std::array<double, 5> passes{};
  for (double& pass : passes) pass = probe.measure();
  std::sort(passes.begin(), passes.end());
  return passes[passes.size() / 2];
}

}  // namespace lapidary
