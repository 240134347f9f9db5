#include "core/kernels.h"

// evsam_isas.inc, written by CMake, has one line EVSAM_ISA(isa) per instruction set of this build.
#define EVSAM_ISA(isa)          \
  namespace evsam::isa {        \
  extern const Kernels kernels; \
  }
#include "evsam_isas.inc"
#undef EVSAM_ISA

namespace evsam {
namespace {

// The data types of evsam_kernels.inc.
constexpr DType f32 = DType::kFloat32;
constexpr DType u8 = DType::kUInt8;

}  // namespace

const Kernels* kernels_for(Isa isa) {
#define EVSAM_ISA(each) \
  if (isa == Isa::each) return &each::kernels;
#include "evsam_isas.inc"
#undef EVSAM_ISA
  return nullptr;
}

Status selected_kernels(const Kernels** kernels) {
  Isa isa = Isa::scalar;
  EVSAM_RETURN_IF_ERROR(selected_isa(&isa));
  *kernels = kernels_for(isa);
  return {};
}

std::vector<const Kernels*> runnable_kernels() {
  std::vector<const Kernels*> tables;
  for (const Isa isa : kAllIsas) {
    if (isa_supported(isa)) tables.push_back(kernels_for(isa));
  }
  return tables;
}

std::vector<KernelInfo> list_kernels() {
  std::vector<KernelInfo> rows;
#define EVSAM_KERNEL(dtype, op)                                                            \
  for (const Isa isa : kAllIsas) {                                                         \
    if (kernels_for(isa) != nullptr)                                                       \
      rows.push_back({#dtype "_" #op "__" + std::string(isa_name(isa)), #op, dtype, isa}); \
  }
#include "evsam_kernels.inc"
#undef EVSAM_KERNEL
  return rows;
}

}  // namespace evsam
