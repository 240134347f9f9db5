// One row of an op's variants.inc as data, and the list of all rows of all ops. Tests, benchmarks and `evsam info`
// enumerate the rows, so a kernel that is not a row does not exist and one that is a row cannot go untested.
#pragma once

#include <vector>

#include "core/cpu.h"
#include "evsam/tensor_view.h"

namespace evsam {

struct VariantInfo {
  const char* name;  // <dtype>_<op>_<tile>__<isa>
  const char* op;
  const char* device;  // "cpu"
  DType dtype;
  Isa isa;
};

std::vector<VariantInfo> all_variants();

}  // namespace evsam
