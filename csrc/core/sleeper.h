// A thread that sleeps until something has happened, and others that wake it when they made it happen. Whoever wakes a
// thread that is awake pays for one atomic load.
//
// No wake-up is lost. All accesses are seq_cst, so either wake() sees that the thread sleeps, or the thread, which says
// so before it looks, sees what has happened. And between that look and its sleep the thread holds the mutex, for which
// wake() waits, so that the notification does not come before there is somebody to be notified.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace evsam {

class Sleeper {
 public:
  // Of one thread at a time. Returns once happened() is true.
  template <typename Condition>
  void sleep_until(const Condition& happened) {
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_.store(true, std::memory_order_seq_cst);
    while (!happened()) wake_.wait(lock);
    asleep_.store(false, std::memory_order_relaxed);
  }

  // After what makes happened() true, which must be a seq_cst store.
  void wake() {
    if (!asleep_.load(std::memory_order_seq_cst)) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_one();
  }

 private:
  std::atomic<bool> asleep_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace evsam
