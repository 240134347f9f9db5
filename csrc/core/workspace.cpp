#include "core/workspace.h"

#include <new>

namespace evsam {

Workspace::~Workspace() { ::operator delete (data_, std::align_val_t{kWorkspaceAlignment}); }

void* Workspace::reserve(std::size_t bytes) {
  if (bytes > bytes_) {
    ::operator delete (data_, std::align_val_t{kWorkspaceAlignment});
    data_ = nullptr;
    bytes_ = 0;
    data_ = ::operator new (bytes, std::align_val_t{kWorkspaceAlignment});
    bytes_ = bytes;
  }
  return data_;
}

Workspace& thread_workspace() {
  static thread_local Workspace workspace;
  return workspace;
}

}  // namespace evsam
