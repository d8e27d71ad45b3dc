// Tasks over the threads of XLA, and memory for them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace slimjax {

namespace ffi = xla::ffi;

// Runs work(i) for i in [0, count) on the pool and on this thread. Which thread runs
// which task must not matter. This thread never waits for a task that nobody has begun,
// so a pool whose threads are all busy delays nothing.
template <typename Work>
void run_tasks(xla::ffi::ThreadPool& pool, int64_t count, const Work& work) {
  struct Shared {
    std::atomic<int64_t> next{0};
    int64_t done = 0;
    std::mutex mutex;
    std::condition_variable all_done;
  };
  auto shared = std::make_shared<Shared>();
  const Work* pointer = &work;  // Alive while any task is left.
  auto loop = [shared, pointer, count] {
    int64_t finished = 0;
    for (int64_t i; (i = shared->next++) < count; ++finished) (*pointer)(i);
    if (finished == 0) return;
    std::lock_guard<std::mutex> lock(shared->mutex);
    shared->done += finished;
    if (shared->done == count) shared->all_done.notify_all();
  };
  int64_t helpers = std::min<int64_t>(pool.num_threads(), count) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(std::function<void()>(loop));
  loop();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done == count; });
}

// Memory that a thread has given back, by size: a step asks for the same sizes again
// and again, and asking the system each time took a tenth of it.
class Pool {
 public:
  static void* take(size_t size) {
    auto& shelf = mine().shelves_[size];
    if (shelf.empty()) return std::aligned_alloc(64, size);
    void* out = shelf.back();
    shelf.pop_back();
    mine().held_ -= size;
    return out;
  }
  static void give(void* data, size_t size) {
    if (mine().held_ + size > kMost) return std::free(data);
    mine().shelves_[size].push_back(data);
    mine().held_ += size;
  }
  ~Pool() {
    for (auto& shelf : shelves_)
      for (void* data : shelf.second) std::free(data);
  }

 private:
  static constexpr size_t kMost = size_t(1) << 28;
  static Pool& mine() {
    static thread_local Pool pool;
    return pool;
  }
  std::unordered_map<size_t, std::vector<void*>> shelves_;
  size_t held_ = 0;
};

// Numbers on a cache line's boundary, with a line to spare.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t count)
      : size_((count * sizeof(T) + 127) / 64 * 64),
        data_(static_cast<T*>(Pool::take(size_))) {}
  ~Buffer() { Pool::give(data_, size_); }
  Buffer(const Buffer&) = delete;
  operator T*() { return data_; }

 private:
  size_t size_;
  T* data_;
};

}  // namespace slimjax
