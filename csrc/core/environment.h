// What the environment says, but for EVSAM_ISA (core/cpu.h) and EVSAM_NARROW (narrow/narrow.h). A value that means
// nothing is an error of every model that is loaded, rather than something that nobody asked for.
#pragma once

#include <cstdint>
#include <string>

#include "evsam/status.h"

namespace evsam {

// EVSAM_NUM_THREADS; 0 where it is not set, empty or 0, or cannot be used.
Status threads_of_environment(int* threads);

// The cache of packed weights (engine/packed_cache.h).
struct PackedCacheEnvironment {
  static constexpr std::int64_t kLimitGib = 8;

  bool on = false;     // EVSAM_PACKED_CACHE
  std::string folder;  // `packed` in EVSAM_CACHE, else in `evsam` in XDG_CACHE_HOME, else in ~/.cache; empty: no home
  std::uint64_t limit = std::uint64_t{kLimitGib} << 30;  // bytes of all its files: EVSAM_PACKED_CACHE_GIB
};
Status packed_cache_of_environment(PackedCacheEnvironment* environment);

}  // namespace evsam
