// Arenas are reused, grow, and are never lent twice at a time.
#include "engine/arena_pool.h"

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "check.h"

namespace {

using evsam::ArenaPool;

void test_reuse() {
  ArenaPool pool;
  char* first = nullptr;
  {
    ArenaPool::Lease lease = pool.borrow(1000);
    first = lease.data();
    CHECK(lease.bytes() == 1000);
  }
  CHECK(pool.bytes() == 1000);
  CHECK(pool.borrow(500).data() == first);
  CHECK(pool.bytes() == 1000);
}

void test_two_calls_hold_two() {
  ArenaPool pool;
  {
    ArenaPool::Lease a = pool.borrow(100);
    ArenaPool::Lease b = pool.borrow(5000);
    CHECK(a.data() != b.data());
    CHECK(pool.bytes() == 5100);
  }
  // The smallest that is large enough.
  ArenaPool::Lease a = pool.borrow(50);
  CHECK(a.bytes() == 100);
  ArenaPool::Lease b = pool.borrow(50);
  CHECK(b.bytes() == 5000);
}

void test_growing_replaces() {
  ArenaPool pool;
  { const ArenaPool::Lease lease = pool.borrow(100); }
  CHECK(pool.borrow(700).bytes() == 700);
  CHECK(pool.bytes() == 700);
}

void test_moved_lease_gives_back_once() {
  ArenaPool pool;
  {
    ArenaPool::Lease a = pool.borrow(64);
    const ArenaPool::Lease b = std::move(a);
    CHECK(pool.bytes() == 64);
  }
  const ArenaPool::Lease a = pool.borrow(64);
  const ArenaPool::Lease b = pool.borrow(64);
  CHECK(pool.bytes() == 128);
}

void test_threads() {
  ArenaPool pool;
  std::atomic<int> clashes{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, &clashes, t] {
      for (int i = 1; i <= 200; ++i) {
        ArenaPool::Lease lease = pool.borrow(static_cast<std::size_t>(64 * (1 + i % 7)));
        std::memset(lease.data(), t, lease.bytes());
        std::this_thread::yield();
        for (std::size_t k = 0; k < lease.bytes(); ++k) clashes += lease.data()[k] != t;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(clashes == 0);
  CHECK(pool.bytes() <= 4 * 64 * 7);
}

}  // namespace

int main() {
  test_reuse();
  test_two_calls_hold_two();
  test_growing_replaces();
  test_moved_lease_gives_back_once();
  test_threads();
  return evsam::test::test_result();
}
