// What an op's run() gets besides its parameters.
#pragma once

#include <cstddef>

#include "core/thread_pool.h"

namespace evsam {

struct RunContext {
  ThreadPool* pool = nullptr;       // nullptr: the process-wide pool
  int threads = 0;                  // 0: default_threads()
  void* workspace = nullptr;        // aligned to kWorkspaceAlignment
  std::size_t workspace_bytes = 0;  // at least what the op's workspace_bytes() says for the same threads
};

}  // namespace evsam
