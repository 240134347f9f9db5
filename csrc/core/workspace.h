// Memory that ops need while they run. Ops never allocate: the caller asks workspace_bytes() and passes a buffer. An
// engine plans one arena for all of them; the Python binding keeps one growing buffer per thread.
#pragma once

#include <cstddef>

namespace evsam {

inline constexpr std::size_t kWorkspaceAlignment = 64;  // a cache line, and the widest vector

constexpr std::size_t align_up(std::size_t bytes) {
  return (bytes + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
}

// Where maps lie that are only described, for checks of their shapes: at zero would be no map at all.
inline void* nowhere() { return reinterpret_cast<void*>(kWorkspaceAlignment); }

class Workspace {
 public:
  Workspace() = default;
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // At least `bytes` bytes, aligned; the contents of an earlier call are lost. Throws std::bad_alloc.
  void* reserve(std::size_t bytes);

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// This thread's buffer, freed when the thread ends.
Workspace& thread_workspace();

}  // namespace evsam
