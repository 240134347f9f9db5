#include "core/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <system_error>
#include <utility>

#include "core/affinity.h"
#include "core/cpu.h"
#include "core/environment.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace evsam {
namespace {

// Long enough to bridge the serial gap between two ops of a network (bookkeeping, a few microseconds), short enough
// that an idle pool costs nothing noticeable.
constexpr std::int64_t kSpinNs = 50'000;

// A limit against typing errors, above what the processors this is meant for have.
constexpr int kMaxThreads = 256;

enum WorkerState : int { kIdle, kPosted, kRunning, kStop };

thread_local bool in_region = false;
thread_local std::chrono::steady_clock::duration slept{0};

void cpu_pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");  // unlike `yield`, a real pause on current cores
#endif
}

// Polls `done` for at most `spin_ns`; true if it came true.
template <typename Predicate>
bool spin_until(Predicate done, std::int64_t spin_ns) {
  if (done()) return true;
  if (spin_ns <= 0) return false;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::nanoseconds(spin_ns);
  for (;;) {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      cpu_pause();
    }
    if (std::chrono::steady_clock::now() >= deadline) return false;
  }
}

}  // namespace

struct alignas(64) ThreadPool::Worker {
  std::atomic<int> state{kIdle};
  int index = 0;  // 1 and up: 0 is the caller
  Sleeper sleeper;
  std::thread thread;

  void post(int new_state) {
    state.store(new_state, std::memory_order_seq_cst);
    sleeper.wake();
  }

  void wait_for_post(std::int64_t spin_ns) {
    const auto posted = [this] { return state.load(std::memory_order_seq_cst) != kIdle; };
    if (!spin_until(posted, spin_ns)) sleeper.sleep_until(posted);
  }
};

ThreadPool::ThreadPool() = default;

ThreadPool::~ThreadPool() {
  const std::lock_guard<std::mutex> lock(region_mutex_);
  for (auto& worker : workers_) worker->post(kStop);
  for (auto& worker : workers_) worker->thread.join();
}

int ThreadPool::workers() const { return worker_count_.load(std::memory_order_relaxed); }

void ThreadPool::start_workers(int wanted) try {
  workers_.reserve(static_cast<std::size_t>(wanted));
  while (static_cast<int>(workers_.size()) < wanted) {
    auto worker = std::make_unique<Worker>();
    worker->index = static_cast<int>(workers_.size()) + 1;
    Worker& reference = *worker;
    worker->thread = std::thread([this, &reference] { worker_main(reference); });
    workers_.push_back(std::move(worker));
    worker_count_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    if (pinned_) place(reference);
  }
} catch (const std::system_error&) {  // the process is out of threads: fewer workers are slower, not wrong
} catch (const std::bad_alloc&) {     // or out of memory for them
}

bool ThreadPool::pin_workers(bool pinned) {
  const std::lock_guard<std::mutex> lock(region_mutex_);
  if (cpus_.empty()) cpus_ = allowed_cpus();
  if (cpus_.empty()) return !pinned;
  pinned_ = pinned;
  bool placed = true;
  for (auto& worker : workers_) placed = place(*worker) && placed;
  return placed;
}

bool ThreadPool::place(Worker& worker) {
  const std::size_t cpu = static_cast<std::size_t>(worker.index) % cpus_.size();
  return restrict_thread(worker.thread, pinned_ ? std::vector<int>{cpus_[cpu]} : cpus_);
}

void ThreadPool::worker_main(Worker& self) {
  in_region = true;  // a task that opens a region runs it alone
  for (;;) {
    self.wait_for_post(spin_ns_.load(std::memory_order_relaxed));
    int expected = kPosted;
    if (self.state.compare_exchange_strong(expected, kRunning, std::memory_order_acq_rel)) {
      drain(self.index);
      self.state.store(kIdle, std::memory_order_relaxed);
      region_.finished.fetch_add(1, std::memory_order_seq_cst);
      caller_.wake();
    } else if (expected == kStop) {
      return;
    }  // else un-posted while waking up: spin for the next region
  }
}

void ThreadPool::drain(int worker) {
  const Task task = region_.task;
  void* const context = region_.context;
  const std::int64_t count = region_.count;
  for (;;) {
    const std::int64_t index = region_.next.fetch_add(1, std::memory_order_relaxed);
    if (index >= count) return;
    try {
      task(context, index, worker);
    } catch (...) {
      region_.next.store(count, std::memory_order_relaxed);
      if (!region_.failed.exchange(true, std::memory_order_relaxed)) region_.error = std::current_exception();
    }
  }
}

void ThreadPool::wait_for(int joined) {
  const auto done = [&] { return region_.finished.load(std::memory_order_seq_cst) == joined; };
  if (spin_until(done, spin_ns_.load(std::memory_order_relaxed))) return;
  const auto start = std::chrono::steady_clock::now();
  caller_.sleep_until(done);
  slept += std::chrono::steady_clock::now() - start;
}

double slept_seconds() { return std::chrono::duration<double>(slept).count(); }

void ThreadPool::run(std::int64_t count, int threads, Task task, void* context) {
  const int helpers_wanted = static_cast<int>(std::min<std::int64_t>({threads, count, kMaxThreads})) - 1;
  if (helpers_wanted <= 0 || in_region || !region_mutex_.try_lock()) {
    for (std::int64_t i = 0; i < count; ++i) task(context, i, 0);
    return;
  }
  const std::lock_guard<std::mutex> lock(region_mutex_, std::adopt_lock);
  start_workers(helpers_wanted);
  const int helpers = std::min(helpers_wanted, static_cast<int>(workers_.size()));

  region_.task = task;
  region_.context = context;
  region_.count = count;
  // More threads than processors: a spinning thread would only keep a working one from running.
  spin_ns_.store(threads <= usable_cpus() ? kSpinNs : 0, std::memory_order_relaxed);
  region_.next.store(0, std::memory_order_relaxed);
  region_.finished.store(0, std::memory_order_relaxed);
  region_.failed.store(false, std::memory_order_relaxed);
  for (int i = 0; i < helpers; ++i) workers_[static_cast<std::size_t>(i)]->post(kPosted);

  in_region = true;
  drain(0);
  in_region = false;

  int joined = 0;
  for (int i = 0; i < helpers; ++i) {
    int expected = kPosted;
    if (!workers_[static_cast<std::size_t>(i)]->state.compare_exchange_strong(expected, kIdle,
                                                                              std::memory_order_acq_rel)) {
      ++joined;
    }
  }
  wait_for(joined);
  // Workers have left it before they were finished.
  if (region_.failed.load(std::memory_order_relaxed)) std::rethrow_exception(std::exchange(region_.error, nullptr));
}

namespace {

std::atomic<ThreadPool*> global_pool{nullptr};
std::atomic<int> global_threads{0};

// Runs in the child of fork(): only an atomic store is allowed here. The parent's pool object is left behind, since its
// threads are gone and its locks may be held by them.
void forget_pool() { global_pool.store(nullptr, std::memory_order_relaxed); }

int initial_threads() {
  int threads = 0;
  static_cast<void>(threads_of_environment(&threads));  // the engine says what is wrong with it
  return threads > 0 ? threads : usable_cpus();
}

}  // namespace

ThreadPool& default_pool() {
  ThreadPool* pool = global_pool.load(std::memory_order_acquire);
  if (pool != nullptr) return *pool;
#if defined(__unix__) || defined(__APPLE__)
  // Initialised once per process tree: handlers survive fork().
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
  static_cast<void>(registered);
#endif
  auto* fresh = new ThreadPool();
  if (global_pool.compare_exchange_strong(pool, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *pool;
}

int default_threads() {
  int threads = global_threads.load(std::memory_order_relaxed);
  if (threads == 0) {
    threads = initial_threads();
    global_threads.store(threads, std::memory_order_relaxed);
  }
  return threads;
}

void set_default_threads(int threads) { global_threads.store(std::max(threads, 1), std::memory_order_relaxed); }

}  // namespace evsam
