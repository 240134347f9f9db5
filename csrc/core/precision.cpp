#include "core/precision.h"

#include <cstring>

namespace evsam {

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::fp32: return "fp32";
    case Precision::bf16: return "bf16";
    case Precision::fp16: return "fp16";
    case Precision::int8: return "int8";
  }
  return "unknown";
}

bool precision_named(const char* name, Precision* precision) {
  for (const Precision each : kAllPrecisions) {
    if (std::strcmp(name, precision_name(each)) != 0) continue;
    *precision = each;
    return true;
  }
  return false;
}

}  // namespace evsam
