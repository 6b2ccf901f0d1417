// Threads for what must not hold up the engine or the sockets: reading requests, preparing media, writing answers.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace lapidary::server {

class WorkerPool {
 public:
  // name: of its threads, for those who look at them from outside; at most 15 characters.
  WorkerPool(int threads, const char* name);
  // Runs what was posted, then ends.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Any thread.
  void post(std::function<void()> job);

 private:
  void run(const char* name);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

// Jobs of one owner: one at a time, in the order in which they were posted, on threads of a pool.
class SerialQueue : public std::enable_shared_from_this<SerialQueue> {
 public:
  explicit SerialQueue(WorkerPool& pool) : pool_(&pool) {}

  void post(std::function<void()> job);

 private:
  void drain();

  WorkerPool* pool_;
  std::mutex mutex_;
  std::deque<std::function<void()>> jobs_;
  bool running_ = false;
};

}  // namespace lapidary::server
