// Many short pieces of work, one after the other, over threads that stay awake.
//
// To wake a thread takes longer than a product of one row. Helpers therefore watch for
// the next piece for some microseconds, also from one kernel to the next, and only then
// go back to the pool. The calling thread works too, and never waits for a task that
// nobody has begun, so without helpers all is done as well, only later.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "parallel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace slimjax {

inline void pause_a_little() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// What the calling thread and its helpers share. `ticket` is a piece's number, its
// count of tasks and the next task to be taken, in one word: who raises it knows that
// the task is of the piece whose count it read, and that the piece is not over before
// it says so.
class Board {
 public:
  static constexpr int kBits = 20;  // Of a count and of a task.

  template <typename Work>
  void run(int64_t count, const Work& work) {
    call_ = [](const void* work, int64_t task) { (*(const Work*)work)(task); };
    work_ = &work;
    done_.store(0, std::memory_order_relaxed);
    ++piece_;
    ticket_.store((piece_ << 2 * kBits) | uint64_t(count) << kBits);
    take_tasks();
    for (int spins = 0; done_.load(std::memory_order_acquire) != count; ++spins)
      spins < 4096 ? pause_a_little() : std::this_thread::yield();
  }

  // What a helper does, until nothing came for a while.
  void help() {
    using Clock = std::chrono::steady_clock;
    auto last = Clock::now();
    for (int idle = 0;; ++idle) {
      if (take_tasks()) last = Clock::now(), idle = 0;
      pause_a_little();
      if (idle % 64 == 63 && Clock::now() - last > kLinger) break;
    }
    helpers_.fetch_sub(1);
  }

  // Asks the pool for the helpers that are not there; `self` keeps the board alive.
  static void gather(const std::shared_ptr<Board>& self, ffi::ThreadPool& pool) {
    const int64_t wanted = pool.num_threads() - 1;
    while (self->helpers_.load() < wanted) {
      self->helpers_.fetch_add(1);
      pool.Schedule(std::function<void()>([self] { self->help(); }));
    }
  }

  std::mutex in_use;

 private:
  static constexpr std::chrono::microseconds kLinger{50};

  bool take_tasks() {
    constexpr uint64_t mask = (uint64_t(1) << kBits) - 1;
    int64_t finished = 0;
    for (;;) {
      uint64_t ticket = ticket_.load(std::memory_order_relaxed);
      if ((ticket & mask) >= (ticket >> kBits & mask)) break;
      ticket = ticket_.fetch_add(1);
      if ((ticket & mask) >= (ticket >> kBits & mask)) break;
      call_(work_, ticket & mask);
      ++finished;
      done_.fetch_add(1, std::memory_order_release);
    }
    return finished > 0;
  }

  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<int64_t> helpers_{0};
  uint64_t piece_ = 0;
  const void* work_ = nullptr;
  void (*call_)(const void*, int64_t) = nullptr;
};

// One kernel's use of the board. If another kernel has it, this one works alone.
class Crew {
 public:
  explicit Crew(ffi::ThreadPool& pool)
      : board_(shared()),
        mine_(board_->in_use, std::try_to_lock),
        num_threads_(pool.num_threads()) {
    if (mine_) Board::gather(board_, pool);
  }

  int64_t num_threads() const { return num_threads_; }

  // Runs work(i) for i in [0, count). Which thread runs which task must not matter.
  template <typename Work>
  void run(int64_t count, const Work& work) {
    constexpr int64_t most = int64_t(1) << (Board::kBits - 1);
    if (!mine_ || count == 1 || count > most)
      for (int64_t i = 0; i < count; ++i) work(i);
    else if (count > 1)
      board_->run(count, work);
  }

 private:
  static std::shared_ptr<Board> shared() {
    static std::shared_ptr<Board>* board =  // Never freed: helpers may outlive main.
        new std::shared_ptr<Board>(std::make_shared<Board>());
    return *board;
  }
  std::shared_ptr<Board> board_;
  std::unique_lock<std::mutex> mine_;
  int64_t num_threads_;
};

}  // namespace slimjax
