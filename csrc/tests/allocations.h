// Counts what the process allocates, and refuses memory where a test asks for that. To be included by one file of an
// executable. With glibc it replaces malloc() and mmap(), through which operator new and all libraries go; sanitizers
// tell what they are asked for, and refuse nothing; elsewhere it replaces operator new.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EVSAM_ASKS_SANITIZER 1
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, std::size_t),
                                                         void (*on_free)(const volatile void*));
#elif defined(__GLIBC__) && defined(__LP64__)
#define EVSAM_COUNTS_MALLOC 1
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#endif

namespace evsam::test {

inline std::atomic<std::int64_t> allocations{0};

// How many more are granted before memory is refused; negative: all are.
inline std::atomic<std::int64_t> granted{-1};
// Whether one alone is refused, or all from then on.
inline std::atomic<bool> refuse_once{false};

// Counts one, and says whether it is granted.
inline bool grant() {
  ++allocations;
  std::int64_t left = granted.load();
  while (left > 0) {
    if (granted.compare_exchange_weak(left, left - 1)) return true;
  }
  if (left < 0) return true;
  if (refuse_once) granted = -1;
  return false;
}

}  // namespace evsam::test

#if defined(EVSAM_ASKS_SANITIZER)

namespace evsam::test {

inline const int hooked = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, std::size_t) { ++allocations; }, [](const volatile void*) {});

}  // namespace evsam::test

#elif defined(EVSAM_COUNTS_MALLOC)

namespace evsam::test {

inline void* refused() {
  errno = ENOMEM;
  return nullptr;
}

}  // namespace evsam::test

extern "C" {

void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* data, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);

void* malloc(std::size_t bytes) noexcept {
  return evsam::test::grant() ? __libc_malloc(bytes) : evsam::test::refused();
}
void* calloc(std::size_t count, std::size_t bytes) noexcept {
  return evsam::test::grant() ? __libc_calloc(count, bytes) : evsam::test::refused();
}
void* realloc(void* data, std::size_t bytes) noexcept {
  return evsam::test::grant() ? __libc_realloc(data, bytes) : evsam::test::refused();
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  return evsam::test::grant() ? __libc_memalign(alignment, bytes) : evsam::test::refused();
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept { return memalign(alignment, bytes); }
int posix_memalign(void** data, std::size_t alignment, std::size_t bytes) noexcept {
  *data = memalign(alignment, bytes);
  return *data != nullptr ? 0 : ENOMEM;
}
void* mmap(void* address, std::size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  if (!evsam::test::grant()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
}

}  // extern "C"

#else

// Not inlined: GCC would see free() of what operator new gave.
#define EVSAM_NOINLINE __attribute__((noinline))

EVSAM_NOINLINE void* operator new(std::size_t bytes) {
  void* const data = evsam::test::grant() ? std::malloc(bytes) : nullptr;
  if (data != nullptr) return data;
  throw std::bad_alloc();
}
EVSAM_NOINLINE void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto to = static_cast<std::size_t>(alignment);
  void* const data = evsam::test::grant() ? std::aligned_alloc(to, (bytes + to - 1) / to * to) : nullptr;
  if (data != nullptr) return data;
  throw std::bad_alloc();
}
EVSAM_NOINLINE void operator delete(void* data) noexcept { std::free(data); }
EVSAM_NOINLINE void operator delete(void* data, std::size_t) noexcept { std::free(data); }
EVSAM_NOINLINE void operator delete(void* data, std::align_val_t) noexcept { std::free(data); }
EVSAM_NOINLINE void operator delete(void* data, std::size_t, std::align_val_t) noexcept { std::free(data); }

#endif
