#include "fuzz/targets.h"

#include <cstdio>
#include <cstdlib>

namespace evsam::fuzz {

const Target* find_target(const std::string& name) {
  for (const Target* target : {
           &safetensors_target(),
           &record_target(),
#ifdef EVSAM_NANO
           &everything_target(),
#endif
       }) {
    if (name == target->name) return target;
  }
  return nullptr;
}

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

}  // namespace evsam::fuzz
