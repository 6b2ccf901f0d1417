// The thread that owns the engine: steps while there is something to do, sleeps while there is not.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/engine.h"

namespace lapidary::server {

class EngineThread {
 public:
  explicit EngineThread(std::unique_ptr<Engine> engine);
  // Cancels nothing: what still runs is dropped without a last event.
  ~EngineThread();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  // Ends the thread; what is submitted from now on is never computed. The engine itself stays.
  void stop();

  Engine& engine() { return *engine_; }
  const Engine& engine() const { return *engine_; }

  // As the engine's; any thread. The sink may be called before submit returns.
  Result<uint64_t> submit(GenerationRequest request, std::function<void(const Event&)> sink);
  void cancel(uint64_t request);

  // Since the thread last showed itself alive.
  double silent_seconds() const;

 private:
  void run();
  void wake();

  std::unique_ptr<Engine> engine_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool news_ = false, ending_ = false;
  std::atomic<int64_t> alive_ms_{0};
  std::thread thread_;
};

}  // namespace lapidary::server
