#include "cuda/emulation/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#ifdef EVSAM_SANITIZE_THREAD
#include <sanitizer/tsan_interface.h>
#endif
#ifdef EVSAM_SANITIZE_ADDRESS
#include <sanitizer/common_interface_defs.h>
#endif

// Saves the registers that a function call must preserve on the running stack, and takes up another stack where its own
// switch left it.
extern "C" void evsam_switch_stack(void** save, void* load);

#if defined(__x86_64__)
asm(R"(
.text
.type evsam_switch_stack, @function
evsam_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size evsam_switch_stack, .-evsam_switch_stack
)");
#elif defined(__aarch64__)
asm(R"(
.text
.type evsam_switch_stack, %function
evsam_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size evsam_switch_stack, .-evsam_switch_stack
)");
#else
#error "CUDA emulation: expected x86-64 or aarch64"
#endif

namespace evsam::cuda::emulation {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;  // only what is touched takes memory; AddressSanitizer needs most

// The stack as evsam_switch_stack() leaves it, with `entry` where it returns to.
void* initial_stack(void* stack, void (*entry)()) {
  void** top = reinterpret_cast<void**>(static_cast<char*>(stack) + kStackBytes);
#if defined(__x86_64__)
  constexpr int kSavedWords = 6;
  *--top = nullptr;  // entry's return address; keeps the alignment that a call would give
  *--top = reinterpret_cast<void*>(entry);
  return top - kSavedWords;  // fresh pages are zero
#else
  constexpr int kSavedWords = 20;
  constexpr int kLinkRegister = 11;
  top -= kSavedWords;
  top[kLinkRegister] = reinterpret_cast<void*>(entry);
  return top;
#endif
}

}  // namespace

void create_fiber(Fiber* fiber, void (*entry)()) {
  fiber->stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (fiber->stack == MAP_FAILED) std::abort();
  fiber->stack_bytes = kStackBytes;
  fiber->stack_pointer = initial_stack(fiber->stack, entry);
#ifdef EVSAM_SANITIZE_THREAD
  fiber->sanitizer = __tsan_create_fiber(0);
#endif
}

void adopt_calling_thread([[maybe_unused]] Fiber* fiber) {
#ifdef EVSAM_SANITIZE_THREAD
  fiber->sanitizer = __tsan_get_current_fiber();
#endif
}

void fiber_started([[maybe_unused]] Fiber* caller) {
#ifdef EVSAM_SANITIZE_ADDRESS
  const void* bottom = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (caller->stack == nullptr) {
    caller->stack = const_cast<void*>(bottom);
    caller->stack_bytes = bytes;
  }
#endif
}

void switch_fiber(Fiber* from, Fiber* to) {
#ifdef EVSAM_SANITIZE_THREAD
  __tsan_switch_to_fiber(to->sanitizer, __tsan_switch_to_fiber_no_sync);  // the barriers synchronise, not the scheduler
#endif
#ifdef EVSAM_SANITIZE_ADDRESS
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, to->stack, to->stack_bytes);
#endif
  evsam_switch_stack(&from->stack_pointer, to->stack_pointer);
#ifdef EVSAM_SANITIZE_ADDRESS
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

}  // namespace evsam::cuda::emulation
