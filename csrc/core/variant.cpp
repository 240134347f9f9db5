#include "core/variant.h"

// Every op folder provides append_variants(); evsam_ops.inc, written by CMake, has one EVSAM_OP line per op.
#define EVSAM_OP(op)                                    \
  namespace evsam::op {                                 \
  void append_variants(std::vector<VariantInfo>& rows); \
  }
#include "evsam_ops.inc"
#undef EVSAM_OP

namespace evsam {

std::vector<VariantInfo> all_variants() {
  std::vector<VariantInfo> rows;
#define EVSAM_OP(op) op::append_variants(rows);
#include "evsam_ops.inc"
#undef EVSAM_OP
  return rows;
}

}  // namespace evsam
