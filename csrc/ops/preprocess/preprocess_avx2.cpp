#include "core/simd/avx2.h"
#include "ops/preprocess/preprocess_simd.inl"

namespace evsam::avx2 {

extern const preprocess::Kernel u8_preprocess = Preprocess::kKernel;

}  // namespace evsam::avx2
