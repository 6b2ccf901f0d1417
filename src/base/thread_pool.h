// The compute pool: a fixed set of workers that split the outputs of one operation and meet again. Threads divide
// outputs, never sums, so a result does not depend on how many there are.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace lapidary {

class ThreadPool {
 public:
  // threads counts the caller; at least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end, worker) over disjoint ranges that cover [0, items), each of at most grain items (the last
  // may be shorter), handed out in order to whoever is free; returns when all are done. worker is in [0, threads()).
  // One caller at a time; not reentrant.
  template <class Body>
  void run(int64_t items, int64_t grain, Body&& body) {
    run_erased(
        items, grain,
        [](void* context, int64_t begin, int64_t end, int worker) {
          (*static_cast<std::remove_reference_t<Body>*>(context))(begin, end, worker);
        },
        const_cast<void*>(static_cast<const void*>(std::addressof(body))));
  }

 private:
  using Function = void (*)(void* context, int64_t begin, int64_t end, int worker);

  void run_erased(int64_t items, int64_t grain, Function function, void* context);
  void work(int worker);
  void worker_main(int worker);

  std::vector<std::thread> workers_;
  // One job at a time. The caller writes the plain fields, then publishes by raising generation_.
  Function function_ = nullptr;
  void* context_ = nullptr;
  int64_t items_ = 0, grain_ = 1;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint64_t> generation_{0};
  alignas(64) std::atomic<int> busy_{0};
  std::atomic<bool> stopping_{false};
};

// Physical cores this process may use: what --threads defaults to.
int physical_cores();

}  // namespace lapidary
