// Switching between stacks, with what the sanitizers need to follow it.
#pragma once

#include <cstddef>

namespace evsam::cuda::emulation {

struct Fiber {
  void* stack_pointer = nullptr;
  void* stack = nullptr;  // lowest address
  std::size_t stack_bytes = 0;
  void* sanitizer = nullptr;  // ThreadSanitizer's name for it
};

// A fiber with a stack of its own that runs `entry` when it is first switched to. `entry` never returns; its first
// statement is fiber_started(). Fibers are kept for the life of the process.
void create_fiber(Fiber* fiber, void (*entry)());

// What the calling thread runs on, to switch away from and back to.
void adopt_calling_thread(Fiber* fiber);

// `caller` is the fiber whose switch came here first; its stack becomes known by that.
void fiber_started(Fiber* caller);

// Goes on in `to`; returns when something switches back to `from`.
void switch_fiber(Fiber* from, Fiber* to);

}  // namespace evsam::cuda::emulation
