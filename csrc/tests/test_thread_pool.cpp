// Fork-join pool: every index once, distinct worker numbers, concurrent and nested callers, sleeping workers, fork().
#include "core/thread_pool.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "core/affinity.h"
#include "core/cpu.h"
#include "core/sleeper.h"

#if defined(__SANITIZE_THREAD__)
#define EVSAM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EVSAM_TSAN 1
#endif
#endif

namespace {

using evsam::ThreadPool;

void check_region(ThreadPool& pool, std::int64_t count, int threads) {
  std::vector<int> visits(static_cast<std::size_t>(count), 0);
  std::vector<std::atomic<int>> busy(static_cast<std::size_t>(threads));
  std::atomic<bool> shared_worker{false};
  pool.parallel_for(count, threads, [&](std::int64_t i, int worker) {
    if (worker < 0 || worker >= threads || busy[static_cast<std::size_t>(worker)].fetch_add(1) != 0) {
      shared_worker = true;
      return;
    }
    ++visits[static_cast<std::size_t>(i)];
    busy[static_cast<std::size_t>(worker)].fetch_sub(1);
  });
  CHECK(!shared_worker);
  for (const int visit : visits) CHECK(visit == 1);
}

void test_each_index_once() {
  ThreadPool pool;
  for (int threads = 1; threads <= 5; ++threads) {
    for (const std::int64_t count : {0, 1, 2, 3, 17, 1000}) check_region(pool, count, threads);
  }
  CHECK(pool.workers() == 4);
}

void test_absurd_thread_count() {
  ThreadPool pool;
  std::atomic<int> done{0};
  pool.parallel_for(1000, 1 << 30, [&](std::int64_t, int) { ++done; });
  CHECK(done == 1000);
  CHECK(pool.workers() < 256);
}

void test_many_short_regions() {
  ThreadPool pool;
  std::int64_t sums[3] = {};
  constexpr int kRegions = 20000;
  for (int i = 0; i < kRegions; ++i) {
    pool.parallel_for(3, 3, [&](std::int64_t index, int) { sums[index] += index + 1; });
  }
  CHECK(sums[0] == kRegions && sums[1] == 2 * kRegions && sums[2] == 3 * kRegions);
}

// Pauses longer than the spin time: workers are asleep when the next region comes.
void test_sleeping_workers() {
  ThreadPool pool;
  for (int i = 0; i < 30; ++i) {
    std::atomic<int> done{0};
    pool.parallel_for(4, 4, [&](std::int64_t, int) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
      ++done;
    });
    CHECK(done == 4);
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
}

// Tasks really run at the same time: each waits for the other.
void test_runs_concurrently() {
  ThreadPool pool;
  std::atomic<int> arrived{0};
  std::atomic<bool> met{true};
  pool.parallel_for(2, 2, [&](std::int64_t, int) {
    ++arrived;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (arrived < 2) {
      if (std::chrono::steady_clock::now() > deadline) {
        met = false;
        return;
      }
      std::this_thread::yield();
    }
  });
  CHECK(met);
}

// What a task throws, in whichever thread, comes out of the call; the pool works on.
void test_tasks_that_throw() {
  ThreadPool pool;
  for (int threads = 1; threads <= 4; ++threads) {
    for (const std::int64_t culprit : {0, 1, 40, 99}) {
      std::atomic<int> running{0};
      const auto task = [&](std::int64_t index, int) {
        ++running;
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        --running;
        if (index == culprit) throw std::bad_alloc();
        if (index == culprit + 1) throw std::runtime_error("only one of them comes out");
      };
      bool caught = false;
      try {
        pool.parallel_for(100, threads, task);
      } catch (const std::bad_alloc&) {
        caught = true;
      } catch (const std::runtime_error&) {
        caught = threads > 1;
      }
      CHECK(caught && running == 0);
      check_region(pool, 100, threads);
    }
  }
  // A region inside of a task.
  bool caught = false;
  try {
    pool.parallel_for(
        4, 2, [&](std::int64_t, int) { pool.parallel_for(3, 2, [](std::int64_t, int) { throw std::bad_alloc(); }); });
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  CHECK(caught);
  check_region(pool, 100, 2);
}

// Ends the program where the test that is running does not come to an end.
class Watchdog {
 public:
  explicit Watchdog(const char* what)
      : thread_([this, what] {
          std::unique_lock<std::mutex> lock(mutex_);
          if (done_.wait_for(lock, std::chrono::seconds(60), [this] { return ended_; })) return;
          std::fprintf(stderr, "%s: still waiting after a minute\n", what);
          std::_Exit(1);
        }) {}
  ~Watchdog() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    done_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  bool ended_ = false;
  std::thread thread_;
};

// Puts the wake-up at the worst moment: the condition becomes true just after the sleeper saw that it is not, before it
// sleeps.
void test_wake_up_between_look_and_sleep() {
  const Watchdog watchdog("test_wake_up_between_look_and_sleep");
  evsam::Sleeper sleeper;
  std::atomic<bool> happened{false};
  std::atomic<bool> looked{false};
  std::thread waker([&] {
    while (!looked) std::this_thread::yield();
    happened = true;
    sleeper.wake();
  });
  sleeper.sleep_until([&] {
    const bool seen = happened;
    if (!looked.exchange(true)) {
      while (!happened) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));  // wake() comes as far as it can
    }
    return seen;
  });
  waker.join();
  CHECK(happened);
}

// A region of two tasks that wait for each other ends only if the worker was woken up, and the caller, whose task ends
// first, only if it is woken in turn. With more threads than processors nobody spins, so both sleep each time.
void test_everyone_is_woken() {
  const Watchdog watchdog("test_everyone_is_woken");
  ThreadPool pool;
  for (int i = 0; i < 100; ++i) {
    std::atomic<int> arrived{0};
    pool.parallel_for(2, evsam::usable_cpus() + 1, [&](std::int64_t, int worker) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
      if (worker > 0) std::this_thread::sleep_for(std::chrono::microseconds(200));  // meanwhile the caller falls asleep
    });
    std::this_thread::sleep_for(std::chrono::microseconds(200));  // meanwhile the worker does
  }
}

void test_concurrent_callers() {
  ThreadPool pool;
  std::vector<std::thread> callers;
  std::atomic<std::int64_t> total{0};
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        std::vector<std::int64_t> values(16, 0);
        pool.parallel_for(16, 3, [&](std::int64_t index, int) { values[static_cast<std::size_t>(index)] += index; });
        for (const std::int64_t value : values) total += value;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(total == 4 * 500 * 120);
  CHECK(pool.workers() <= 2);  // callers found the pool busy and did not start more
}

void test_nested_region_runs_serially() {
  ThreadPool pool;
  std::atomic<int> inner{0};
  pool.parallel_for(4, 3, [&](std::int64_t, int) {
    pool.parallel_for(5, 3, [&](std::int64_t, int worker) {
      CHECK(worker == 0);
      ++inner;
    });
  });
  CHECK(inner == 20);
}

#if defined(__linux__)
void test_pinned_workers_stay() {
  const std::vector<int> allowed = evsam::allowed_cpus();
  ThreadPool pool;
  const int threads = static_cast<int>(std::min<std::size_t>(allowed.size(), 3));
  std::atomic<int> elsewhere{0};
  const auto check = [&](std::int64_t, int worker) {
    const int expected = allowed[static_cast<std::size_t>(worker) % allowed.size()];
    if (worker > 0 && sched_getcpu() != expected) ++elsewhere;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  };
  pool.parallel_for(8, threads, [](std::int64_t, int) {});  // some workers are there before, others start after
  CHECK(pool.pin_workers(true));
  for (int i = 0; i < 20; ++i) pool.parallel_for(16, threads, check);
  CHECK(elsewhere == 0);
  CHECK(evsam::allowed_cpus() == allowed);  // the caller's own set

  CHECK(pool.pin_workers(false));
  std::atomic<int> restricted{0};
  pool.parallel_for(64, threads, [&](std::int64_t, int) { restricted += evsam::allowed_cpus() != allowed; });
  CHECK(restricted == 0);
}
#endif

void test_seconds_slept() {
  ThreadPool pool;
  std::atomic<int> begun{0};
  const double before = evsam::slept_seconds();
  pool.parallel_for(2, 2, [&](std::int64_t, int worker) {
    ++begun;
    while (begun < 2) std::this_thread::yield();  // a task each
    if (worker != 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  });
  const double after = evsam::slept_seconds();
  CHECK(after - before > 0.04);
  pool.parallel_for(2, 1, [](std::int64_t, int) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); });
  CHECK(evsam::slept_seconds() == after);  // nobody was waited for
}

void test_thread_setting() {
  CHECK(evsam::default_threads() >= 1);
  evsam::set_default_threads(3);
  CHECK(evsam::default_threads() == 3);
  evsam::set_default_threads(0);
  CHECK(evsam::default_threads() == 1);
}

#if !EVSAM_TSAN  // ThreadSanitizer does not support new threads in a forked child
// The parent's workers do not exist in the child; the pool must not wait for them.
void test_fork() {
  std::atomic<int> parent_tasks{0};
  evsam::default_pool().parallel_for(8, 4, [&](std::int64_t, int) { ++parent_tasks; });
  CHECK(parent_tasks == 8);
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);  // a deadlock ends the child by a signal
    std::atomic<int> tasks{0};
    evsam::default_pool().parallel_for(100, 4, [&](std::int64_t, int) { ++tasks; });
    _exit(tasks == 100 && evsam::default_pool().workers() == 3 ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  evsam::default_pool().parallel_for(8, 4, [&](std::int64_t, int) { ++parent_tasks; });
  CHECK(parent_tasks == 16);
}
#endif

}  // namespace

int main() {
  test_wake_up_between_look_and_sleep();
  test_everyone_is_woken();
#if defined(__linux__)
  test_pinned_workers_stay();
#endif
  test_each_index_once();
  test_absurd_thread_count();
  test_many_short_regions();
  test_sleeping_workers();
  test_runs_concurrently();
  test_tasks_that_throw();
  test_concurrent_callers();
  test_nested_region_runs_serially();
  test_seconds_slept();
  test_thread_setting();
#if !EVSAM_TSAN
  if (std::getenv("EVSAM_TEST_NO_FORK") == nullptr) test_fork();
#endif
  return evsam::test::test_result();
}
