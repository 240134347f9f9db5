#include "core/simd/neon.h"
#include "ops/preprocess/preprocess_simd.inl"

namespace evsam::neon {

extern const preprocess::Kernel u8_preprocess = Preprocess::kKernel;

}  // namespace evsam::neon
