// A fork-join pool made for many short parallel regions: an engine runs hundreds of ops per frame on it.
//
// - The calling thread works too; `threads` counts it.
// - Tasks are handed out one by one from an atomic counter, so uneven tasks balance themselves.
// - Workers spin for a few tens of microseconds after a region and then sleep. A worker that has not woken up when the
//   caller runs out of tasks is un-posted instead of waited for, so waking costs no latency.
// - One region runs at a time. A caller that finds the pool busy (another Python thread predicts at that moment), and a
//   task that opens a region itself, run their tasks alone: threads never outnumber pool size + callers, and
//   nothing can deadlock.
// - After fork() the child gets a new pool on first use (default_pool); the parent's workers do not exist there.
// - No allocation per region; worker threads are started on first need and kept. At most 256 threads work on a region.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "core/sleeper.h"

namespace evsam {

class ThreadPool {
 public:
  // `worker` is below the region's `threads` and unique among the tasks running at one time: an index for scratch
  // memory.
  using Task = void (*)(void* context, std::int64_t index, int worker);

  ThreadPool();
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls task(context, i, worker) for each i in [0, count) and returns when all are done. What the first task throws
  // is thrown again once those that had begun are done; the others are left out.
  void run(std::int64_t count, int threads, Task task, void* context);

  // The same for a callable f(i, worker), which is only referred to.
  template <typename F>
  void parallel_for(std::int64_t count, int threads, F&& f) {
    using Callable = std::remove_reference_t<F>;
    run(
        count, threads,
        [](void* context, std::int64_t index, int worker) { (*static_cast<Callable*>(context))(index, worker); },
        const_cast<void*>(static_cast<const void*>(&f)));
  }

  // Worker threads started so far.
  int workers() const;

  // Ties each worker to one processor of those that the caller may use, from the second on, or sets all of them free
  // again. The calling threads are not touched: the system keeps them off the busy processors. For machines that do
  // nothing else, where a worker that moves loses its caches. Returns whether the system can do it; workers start out
  // free.
  bool pin_workers(bool pinned);

 private:
  struct Worker;
  struct Region {
    Task task = nullptr;
    void* context = nullptr;
    std::int64_t count = 0;
    alignas(64) std::atomic<std::int64_t> next{0};
    alignas(64) std::atomic<int> finished{0};
    std::atomic<bool> failed{false};
    std::exception_ptr error;  // of the task that failed first
  };

  void worker_main(Worker& self);
  void drain(int worker);
  void start_workers(int wanted);
  bool place(Worker& worker);
  void wait_for(int joined);

  std::mutex region_mutex_;  // held by the caller whose region runs
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<int> worker_count_{0};
  bool pinned_ = false;
  std::vector<int> cpus_;  // that workers may use, once pinning was asked for
  std::atomic<std::int64_t> spin_ns_{0};
  Region region_;
  Sleeper caller_;  // while its workers finish
};

// The process-wide pool. It is never destroyed: its threads end with the process.
ThreadPool& default_pool();

// Threads used where a call does not say. Starts as EVSAM_NUM_THREADS if that is a positive number, or else
// usable_cpus().
int default_threads();
void set_default_threads(int threads);  // at least 1

// What a count of threads means that may be 0: that many, or default_threads().
inline int threads_or_default(int threads) { return threads > 0 ? threads : default_threads(); }

// Seconds that the calling thread has slept so far, in regions of any pool, until its workers had finished. With its
// processor time that is what its work takes of its own, without what other processes took from it.
double slept_seconds();

}  // namespace evsam
