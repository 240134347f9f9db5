// One row of an op's variants.inc as data, and the list of all rows of all ops. Tests, benchmarks and `evsam info`
// enumerate the rows, so a kernel that is not a row does not exist and one that is a row cannot go untested.
#pragma once

#include <string>
#include <vector>

#include "core/cpu.h"
#include "evsam/status.h"
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

// The row for the selected instruction set, or the scalar one where there is none. Rows are best first, and have a
// member `info`.
template <typename Variant>
Status choose_variant(const std::vector<Variant>& rows, const char* op, const Variant** variant) {
  Isa isa = Isa::scalar;
  EVSAM_RETURN_IF_ERROR(selected_isa(&isa));
  for (const Variant& row : rows) {
    if (row.info.isa != isa && row.info.isa != Isa::scalar) continue;
    *variant = &row;
    return {};
  }
  return Status::unavailable(std::string(op) + ": no kernel in this build");
}

}  // namespace evsam
