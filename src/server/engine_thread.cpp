#include "server/engine_thread.h"

#include <pthread.h>

#include <chrono>

namespace lapidary::server {
namespace {

int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace

EngineThread::EngineThread(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {
  alive_ms_ = now_ms();
  thread_ = std::thread([this] { run(); });
}

EngineThread::~EngineThread() { stop(); }

void EngineThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Result<uint64_t> EngineThread::submit(GenerationRequest request, std::function<void(const Event&)> sink) {
  Result<uint64_t> id = engine_->submit(std::move(request), std::move(sink));
  if (id) wake();
  return id;
}

void EngineThread::cancel(uint64_t request) {
  engine_->cancel(request);
  wake();
}

void EngineThread::wake() {
  {
    const std::lock_guard lock(mutex_);
    news_ = true;
  }
  wake_.notify_one();
}

double EngineThread::silent_seconds() const { return static_cast<double>(now_ms() - alive_ms_) / 1000; }

void EngineThread::run() {
  ::pthread_setname_np(::pthread_self(), "engine");
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      news_ = false;
    }
    alive_ms_ = now_ms();
    if (engine_->step()) continue;
    std::unique_lock lock(mutex_);
    // Wakes now and then, to be seen alive.
    wake_.wait_for(lock, std::chrono::seconds(5), [this] { return news_ || ending_; });
  }
}

}  // namespace lapidary::server
