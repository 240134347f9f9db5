#include "core/simd/avx512.h"
#include "ops/preprocess/preprocess_simd.inl"

namespace evsam::avx512 {

extern const preprocess::Kernel u8_preprocess = Preprocess::kKernel;

}  // namespace evsam::avx512
