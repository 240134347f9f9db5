// cp.async as late as the program allows: a copy lands in wait_copies(), and until then its destination holds NaN, so a
// kernel that reads too early gets a wrong result. Compiled with the sanitizers, which see the copies as the calling
// thread's own accesses.
#include <cstdint>
#include <cstring>
#include <vector>

#include "cuda/emulation/scheduler.h"

#if defined(EVSAM_SANITIZE_THREAD)
// The compiler expands small memcpy and memset calls without telling ThreadSanitizer.
extern "C" void __tsan_write_range(void* address, long bytes);
extern "C" void __tsan_read_range(void* address, long bytes);
#endif

namespace evsam::cuda::emulation {
namespace {

struct Copy {
  void* shared;
  const void* global;
  unsigned bytes;
  bool valid;
};

struct Copies {
  std::vector<std::vector<Copy>> groups;  // closed ones, oldest first
  std::vector<Copy> open;
};

// Of every thread of the block; blocks come one after the other, and leave no copies behind.
Copies& own_copies() {
  static std::vector<Copies> all(1024);
  return all[thread_index()];
}

void note_write([[maybe_unused]] void* address, [[maybe_unused]] unsigned bytes) {
#if defined(EVSAM_SANITIZE_THREAD)
  __tsan_write_range(address, bytes);
#endif
}
void note_read([[maybe_unused]] const void* address, [[maybe_unused]] unsigned bytes) {
#if defined(EVSAM_SANITIZE_THREAD)
  __tsan_read_range(const_cast<void*>(address), bytes);
#endif
}

void land(const Copy& copy) {
  note_write(copy.shared, copy.bytes);
  if (copy.valid) {
    note_read(copy.global, copy.bytes);
    std::memcpy(copy.shared, copy.global, copy.bytes);
  } else {
    std::memset(copy.shared, 0, copy.bytes);
  }
}

}  // namespace

void start_copy(void* shared, const void* global, unsigned bytes, bool valid) {
  if (reinterpret_cast<std::uintptr_t>(shared) % bytes != 0)
    fail("copy_async: shared address is not aligned to the size");
  if (valid && reinterpret_cast<std::uintptr_t>(global) % bytes != 0) {
    fail("copy_async: global address is not aligned to the size");
  }
  note_write(shared, bytes);
  std::memset(shared, 0xff, bytes);
  own_copies().open.push_back({shared, global, bytes, valid});
}

void commit_copies() {
  Copies& copies = own_copies();
  copies.groups.push_back(std::move(copies.open));
  copies.open.clear();
}

void wait_copies(unsigned pending) {
  auto& groups = own_copies().groups;
  while (groups.size() > pending) {
    for (const Copy& copy : groups.front()) land(copy);
    groups.erase(groups.begin());
  }
}

bool has_copies_under_way() {
  const Copies& copies = own_copies();
  if (!copies.open.empty()) return true;
  for (const auto& group : copies.groups) {
    if (!group.empty()) return true;  // waiting for an empty group would wait for nothing
  }
  return false;
}

}  // namespace evsam::cuda::emulation
