// Threads that are kept between calls, and teams of threads that wait at barriers.
#pragma once

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

inline void pause_a_moment() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

constexpr int SPINS = 1000;  // about 20 to 50 us; then the thread yields the core

// A barrier at which all threads of a team wait for each other.
class Barrier {
 public:
  explicit Barrier(int size) : size_(size) {}

  void wait() {
    if (size_ == 1) return;
    int round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; spins++)
      if (spins < SPINS)
        pause_a_moment();
      else
        std::this_thread::yield();
  }

 private:
  const int size_;
  std::atomic<int> arrived_{0}, round_{0};
};

// Threads of which a call lets the first few do the given work once; the caller is number 0.
class ThreadPool {
 public:
  explicit ThreadPool(int size) : size_(size), process_(getpid()) {
    for (int i = 1; i < size; i++) std::thread([this, i] { serve(i); }).detach();
  }

  // A forked process does not have its parent's threads.
  bool has(int size) const { return size <= size_ && process_ == getpid(); }

  void run(int count, const std::function<void(int)> &work) {
    if (count > 1) {
      left_.store(count - 1, std::memory_order_relaxed);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        work_ = &work;
        count_ = count;
        called_.fetch_add(1, std::memory_order_release);
      }
      woken_.notify_all();
    }
    work(0);
    for (int spins = 0; left_.load(std::memory_order_acquire) > 0; spins++)
      if (spins < SPINS)
        pause_a_moment();
      else
        std::this_thread::yield();
  }

 private:
  void serve(int number) {
    unsigned seen = 0;
    for (bool working = true;;) {
      const int patience = working ? SPINS : 0;  // who is not needed leaves the core to others
      for (int i = 0; i < patience && called_.load(std::memory_order_acquire) == seen; i++)
        pause_a_moment();
      {
        std::unique_lock<std::mutex> lock(mutex_);
        woken_.wait(lock, [&] { return called_.load(std::memory_order_acquire) != seen; });
        seen = called_.load(std::memory_order_relaxed);  // it may have slept through several calls
        working = number < count_;
      }
      if (!working) continue;
      (*work_)(number);
      left_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  const int size_;
  const pid_t process_;
  std::mutex mutex_;
  std::condition_variable woken_;
  const std::function<void(int)> *work_ = nullptr;
  int count_ = 0;
  std::atomic<unsigned> called_{0};
  std::atomic<int> left_{0};
};
