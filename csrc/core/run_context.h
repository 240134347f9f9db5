// What an op's run() gets besides its parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/thread_pool.h"

namespace evsam {

struct RunContext {
  ThreadPool* pool = nullptr;       // nullptr: the process-wide pool
  int threads = 0;                  // 0: default_threads()
  void* workspace = nullptr;        // aligned to kWorkspaceAlignment
  std::size_t workspace_bytes = 0;  // at least what the op's workspace_bytes() says for the same threads

  int thread_count() const { return threads_or_default(threads); }

  // Calls f(task, worker) for each task; see ThreadPool::parallel_for.
  template <typename F>
  void parallel_for(std::int64_t tasks, F&& f) const {
    (pool == nullptr ? default_pool() : *pool).parallel_for(tasks, thread_count(), std::forward<F>(f));
  }

  // For work inside a task: the same pool, one thread, no workspace.
  RunContext alone() const { return {pool, 1, nullptr, 0}; }
};

}  // namespace evsam
