// The scheduler: threads as fibers, one at a time, until each waits at a barrier or a warp operation that others have
// to reach. Compiled without ThreadSanitizer: its own state is shared by design, the kernel's memory is not in it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/emulation/fiber.h"
#include "cuda/emulation/scheduler.h"
#include "cuda/types.h"

#ifdef EVSAM_SANITIZE_THREAD
#include <sanitizer/tsan_interface.h>
#endif

namespace evsam::cuda::emulation {
namespace {

struct Thread {
  Fiber fiber;
  unsigned index = 0;
  bool done = true;
  const char* waits_in = nullptr;  // nullptr: runs
};

// Two sets of lanes: a fast lane may give its input for the next operation before a slow one has fetched this result.
struct Warp {
  unsigned arrived = 0;
  unsigned phase = 0;
  const char* operation = nullptr;
  Lane lanes[2][kWarpSize];
};

struct Block {
  Grid grid;
  Dim3 index;
  std::vector<std::unique_ptr<Thread>> threads;  // kept from block to block, for their stacks
  std::vector<unsigned> order;                   // which thread runs at which turn
  std::vector<unsigned> turn;                    // the inverse
  std::vector<Warp> warps;
  Fiber launcher;
  Thread* current = nullptr;
  unsigned alive = 0;
  unsigned at_barrier = 0;
  unsigned barrier_phase = 0;
  const char* barrier_file = nullptr;  // where the first thread to arrive waits
  int barrier_line = 0;
  unsigned long idle_turns = 0;  // since anything last got on
  unsigned char* shared = nullptr;
  char started = 0;  // addresses that ThreadSanitizer orders by
  char ended = 0;
  char barrier[2] = {0, 0};  // two, or a fast thread's next arrival would order a slow thread's memory
};
Block block;
std::mutex one_grid_at_a_time;

void release([[maybe_unused]] char* address) {
#ifdef EVSAM_SANITIZE_THREAD
  __tsan_release(address);
#endif
}
void acquire([[maybe_unused]] char* address) {
#ifdef EVSAM_SANITIZE_THREAD
  __tsan_acquire(address);
#endif
}

void run_thread(Thread* next) {
  Thread* previous = block.current;
  block.current = next;
  switch_fiber(previous != nullptr ? &previous->fiber : &block.launcher,
               next != nullptr ? &next->fiber : &block.launcher);
}

// Lets the next living thread run.
void yield() {
  if (block.alive == 0) {
    run_thread(nullptr);
    return;
  }
  if (++block.idle_turns > 4UL * block.grid.threads + 8) {
    fail("deadlock: a barrier or warp operation was not reached by every thread that it needs");
  }
  unsigned turn = block.turn[block.current->index];
  for (;;) {
    turn = turn + 1 == block.grid.threads ? 0 : turn + 1;
    Thread* next = block.threads[block.order[turn]].get();
    if (next->done) continue;
    if (next != block.current) run_thread(next);
    return;
  }
}

void thread_main() {
  fiber_started(&block.launcher);
  for (;;) {
    acquire(&block.started);
    block.grid.call(block.grid.function, block.grid.args);
    if (has_copies_under_way()) fail("a thread ended with asynchronous copies that it never waited for");
    release(&block.ended);
    block.current->done = true;
    --block.alive;
    block.idle_turns = 0;
    if (block.at_barrier > 0) fail("a thread left the kernel while others wait at a barrier");
    yield();
  }
}

void shuffle_order(unsigned* state) {
  for (unsigned i = block.grid.threads - 1; i > 0; --i) {
    *state = *state * 1664525U + 1013904223U;  // Numerical Recipes' generator
    std::swap(block.order[i], block.order[(*state >> 8) % (i + 1)]);
  }
}

void prepare_block(unsigned* random) {
  const unsigned threads = block.grid.threads;
  block.order.resize(threads);
  block.turn.resize(threads);
  block.warps.assign(threads / kWarpSize, Warp());
  block.alive = threads;
  block.at_barrier = 0;
  block.idle_turns = 0;
  for (unsigned i = 0; i < threads; ++i) block.order[i] = i;
  if (block.grid.seed != 0) shuffle_order(random);
  for (unsigned i = 0; i < threads; ++i) {
    block.turn[block.order[i]] = i;
    Thread& thread = *block.threads[i];
    thread.index = i;
    thread.done = false;
    thread.waits_in = nullptr;
  }
}

// New memory for each block, of the exact size, so that AddressSanitizer sees what lies beside it. NaN in every format.
void allocate_shared_memory() {
  const std::size_t bytes = block.grid.shared_bytes;
  if (bytes == 0) return;
  void* memory = nullptr;
  if (posix_memalign(&memory, 128, bytes) != 0) std::abort();
  std::memset(memory, 0xff, bytes);
  block.shared = static_cast<unsigned char*>(memory);
}

void run_block(unsigned* random) {
  prepare_block(random);
  allocate_shared_memory();
  release(&block.started);
  run_thread(block.threads[block.order[0]].get());
  acquire(&block.ended);
  std::free(block.shared);
  block.shared = nullptr;
}

}  // namespace

unsigned thread_index() { return block.current->index; }
Dim3 block_index() { return block.index; }
Dim3 grid_size() { return block.grid.blocks; }
unsigned char* shared_memory() { return block.shared; }

void fail(const char* message) {
  std::fprintf(stderr, "CUDA emulation: %s; block (%u, %u, %u)\n", message, block.index.x, block.index.y,
               block.index.z);
  int shown = 0;
  for (const auto& thread : block.threads) {
    if (thread->done || thread->waits_in == nullptr || shown++ == 8) continue;
    std::fprintf(stderr, "  thread %u waits in %s\n", thread->index, thread->waits_in);
  }
  if (block.at_barrier > 0) std::fprintf(stderr, "  the barrier is at %s:%d\n", block.barrier_file, block.barrier_line);
  std::abort();
}

void sync_block(const char* file, int line) {
  Thread& self = *block.current;
  const unsigned phase = block.barrier_phase;
  char* order = &block.barrier[phase % 2];
  self.waits_in = "sync_block";
  if (block.alive != block.grid.threads) fail("a barrier behind which threads of the block have already left");
  if (block.at_barrier == 0) {
    block.barrier_file = file;
    block.barrier_line = line;
  } else if (line != block.barrier_line || std::strcmp(file, block.barrier_file) != 0) {
    fail("threads of a block wait at different barriers");
  }
  release(order);
  if (++block.at_barrier == block.alive) {
    block.at_barrier = 0;
    ++block.barrier_phase;
    block.idle_turns = 0;
  } else {
    while (block.barrier_phase == phase) yield();
  }
  acquire(order);
  self.waits_in = nullptr;
}

namespace {

// Arrives at the warp's operation, and returns when all lanes have.
void meet(const char* operation, const std::uint32_t* in, unsigned in_words, std::uint32_t* out, unsigned out_words,
          Combine combine, unsigned parameter) {
  Thread& self = *block.current;
  Warp& warp = block.warps[self.index / kWarpSize];
  const unsigned phase = warp.phase;
  Lane* lanes = warp.lanes[phase % 2];
  Lane& mine = lanes[self.index % kWarpSize];
  if (warp.arrived > 0 && std::strcmp(warp.operation, operation) != 0) {
    self.waits_in = operation;
    fail("lanes of a warp reached different warp operations");
  }
  warp.operation = operation;
  self.waits_in = operation;
  for (unsigned i = 0; i < in_words; ++i) mine.in[i] = in[i];
  if (++warp.arrived == kWarpSize) {
    if (combine != nullptr) combine(lanes, parameter);
    warp.arrived = 0;
    ++warp.phase;
    block.idle_turns = 0;
  } else {
    while (warp.phase == phase) yield();
  }
  self.waits_in = nullptr;
  for (unsigned i = 0; i < out_words; ++i) out[i] = mine.out[i];
}

}  // namespace

void exchange(const char* operation, const std::uint32_t* in, unsigned in_words, std::uint32_t* out, unsigned out_words,
              Combine combine, unsigned parameter) {
  meet(operation, in, in_words, out, out_words, combine, parameter);
}

void sync_warp() {
  Warp& warp = block.warps[block.current->index / kWarpSize];
  char* order = reinterpret_cast<char*>(&warp.lanes[warp.phase % 2]);
  release(order);
  meet("sync_warp", nullptr, 0, nullptr, 0, nullptr, 0);
  acquire(order);
}

void run_grid(const Grid& grid) {
  const std::lock_guard<std::mutex> lock(one_grid_at_a_time);
  block.grid = grid;
  block.current = nullptr;
  adopt_calling_thread(&block.launcher);
  while (block.threads.size() < grid.threads) {
    block.threads.push_back(std::make_unique<Thread>());
    create_fiber(&block.threads.back()->fiber, thread_main);
  }
  unsigned random = grid.seed;
  for (block.index.z = 0; block.index.z < grid.blocks.z; ++block.index.z) {
    for (block.index.y = 0; block.index.y < grid.blocks.y; ++block.index.y) {
      for (block.index.x = 0; block.index.x < grid.blocks.x; ++block.index.x) run_block(&random);
    }
  }
}

}  // namespace evsam::cuda::emulation
