// Cuts a workspace into aligned pieces.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/run_context.h"
#include "core/workspace.h"

namespace evsam {

// Hands out pieces of the workspace; with a null base it only counts.
class Pieces {
 public:
  explicit Pieces(void* base) : base_(static_cast<char*>(base)) {}

  float* floats(std::int64_t count) {
    const std::size_t at = used_;
    used_ += align_up(static_cast<std::size_t>(count) * sizeof(float));
    return base_ == nullptr ? nullptr : reinterpret_cast<float*>(base_ + at);
  }
  std::size_t used() const { return used_; }

  // What is left, for an op's own workspace.
  RunContext rest(const RunContext& context) const {
    RunContext result = context;
    result.workspace = base_ + used_;
    result.workspace_bytes = context.workspace_bytes - used_;
    return result;
  }

 private:
  char* base_;
  std::size_t used_ = 0;
};

}  // namespace evsam
