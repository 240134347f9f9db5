#include "core/aligned_buffer.h"

#include <cstring>
#include <new>

#include "core/workspace.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace evsam {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Alignment must be known again when the memory is freed, so it is kept in a header in front of the data.
struct Header {
  std::size_t alignment;
};

}  // namespace

void* allocate_aligned(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kWorkspaceAlignment;
  // The header takes a whole cache line. With huge pages the data then begin one line after the page does.
  char* start = static_cast<char*>(::operator new (bytes + kWorkspaceAlignment, std::align_val_t{alignment}));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  // Only advice: without huge pages everything works, slower. Whole pages alone may be named.
  if (alignment == kHugePage) (void)madvise(start, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  ::new (start) Header{alignment};
  char* data = start + kWorkspaceAlignment;
  std::memset(data, 0, bytes);
  return data;
}

void free_aligned(void* data) {
  if (data == nullptr) return;
  char* start = static_cast<char*>(data) - kWorkspaceAlignment;
  const std::size_t alignment = reinterpret_cast<const Header*>(start)->alignment;
  ::operator delete (start, std::align_val_t{alignment});
}

}  // namespace evsam
