#include "core/aligned_buffer.h"

#include <cstdint>
#include <cstring>
#include <new>

#include "core/workspace.h"

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)  // which watches the ends of what `new` gives alone
#include <sys/mman.h>
#define EVSAM_MAPS_LARGE_BUFFERS 1
#endif

namespace evsam {
namespace {

// In front of the data, on a cache line of its own: how to free them.
struct Header {
  void* mapping;      // nullptr: from operator new
  std::size_t bytes;  // of the mapping
};
static_assert(sizeof(Header) <= kWorkspaceAlignment, "the data begin a line behind the header");

void* behind(void* start, const Header& header) {
  ::new (start) Header(header);
  return static_cast<char*>(start) + kWorkspaceAlignment;
}

#if defined(EVSAM_MAPS_LARGE_BUFFERS)
constexpr std::size_t kHugePage = std::size_t{2} << 20;

// The system's new pages are zero, and are touched first by the threads that fill them.
void* map(std::size_t bytes) {
  const std::size_t all = bytes + kWorkspaceAlignment + kHugePage;
  void* const mapping = mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  const auto address = reinterpret_cast<std::uintptr_t>(mapping);
  char* const start = static_cast<char*>(mapping) + (kHugePage - address % kHugePage) % kHugePage;
#if defined(MADV_HUGEPAGE)
  // Only advice: without huge pages everything works, slower. Whole pages alone may be named.
  (void)madvise(start, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return behind(start, {mapping, all});
}
#endif

}  // namespace

void* allocate_aligned(std::size_t bytes) {
  if (bytes == 0) return nullptr;
#if defined(EVSAM_MAPS_LARGE_BUFFERS)
  if (bytes >= kHugePage) return map(bytes);
#endif
  void* const data =
      behind(::operator new(bytes + kWorkspaceAlignment, std::align_val_t{kWorkspaceAlignment}), {nullptr, 0});
  std::memset(data, 0, bytes);
  return data;
}

void free_aligned(void* data) {
  if (data == nullptr) return;
  void* const start = static_cast<char*>(data) - kWorkspaceAlignment;
  const Header header = *static_cast<const Header*>(start);
  if (header.mapping == nullptr) return ::operator delete(start, std::align_val_t{kWorkspaceAlignment});
#if defined(EVSAM_MAPS_LARGE_BUFFERS)
  munmap(header.mapping, header.bytes);
#endif
}

}  // namespace evsam
