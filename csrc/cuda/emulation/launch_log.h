// What was launched in emulation: tests run the same launches through other tools, and compare them with models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/runtime.h"

namespace evsam::cuda::emulation {

struct LaunchRecord {
  std::string name;
  Dim3 grid;
  unsigned threads = 0;
  std::size_t shared_bytes = 0;
  std::vector<std::uint8_t> args;      // bytes of the argument struct
  unsigned long matrix_conflicts = 0;  // cycles that ldmatrix lost to rows in the same banks of shared memory
};

// Records all launches from now on; take_launch_log() ends that and returns them. Without `execute` they are recorded
// only, so that layers of any size can be looked at; the outputs keep what they held.
void start_launch_log(bool execute = true);
std::vector<LaunchRecord> take_launch_log();

// What current_device() answers from now on.
void set_device(const Device& device);

}  // namespace evsam::cuda::emulation
