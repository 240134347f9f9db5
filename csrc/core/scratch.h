// Cuts a workspace into pieces. The same lines that take the pieces tell how many bytes they need: without a base,
// Scratch only counts.
//
//   struct Memory {
//     Memory(Scratch& scratch, ...) : keys(scratch.take<float>(...)), sums(scratch.take_each<float>(threads, ...)) {}
//     float* keys;
//     PerWorker<float> sums;
//   };
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/run_context.h"
#include "core/workspace.h"

namespace evsam {

// A piece for each of the workers of a parallel_for.
template <typename T>
struct PerWorker {
  T* first = nullptr;
  std::int64_t stride = 0;

  T* of(int worker) const { return first + worker * stride; }
};

class Scratch {
 public:
  Scratch() = default;  // counts
  explicit Scratch(void* base) : base_(static_cast<char*>(base)) {}

  // `count` objects, aligned to kWorkspaceAlignment. nullptr without a base.
  template <typename T>
  T* take(std::int64_t count) {
    const std::size_t at = bytes_;
    bytes_ += align_up(static_cast<std::size_t>(count) * sizeof(T));
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
  }

  // As many for each of `workers`.
  template <typename T>
  PerWorker<T> take_each(int workers, std::int64_t count) {
    static_assert(kWorkspaceAlignment % sizeof(T) == 0, "pieces start at whole objects");
    const auto stride = static_cast<std::int64_t>(align_up(static_cast<std::size_t>(count) * sizeof(T)) / sizeof(T));
    return {take<T>(workers * stride), stride};
  }

  // Taken so far.
  std::size_t bytes() const { return bytes_; }

  // What is left of the context's workspace, for an op that is called inside.
  RunContext rest(const RunContext& context) const {
    RunContext result = context;
    result.workspace = base_ + bytes_;
    result.workspace_bytes = context.workspace_bytes - bytes_;
    return result;
  }

 private:
  char* base_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace evsam
