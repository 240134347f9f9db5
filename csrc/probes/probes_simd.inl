// The probe loops for one instruction set; included after isa/<isa>.h.
#include "probes/probes_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

float fma_loop(std::int64_t rounds) {
  using probes::kFmaPerRound;
  F32::Reg sum[kFmaPerRound];
  // Starting values the compiler does not know: it would leave out a chain that starts at its fixed point.
#pragma GCC unroll 16
  for (int i = 0; i < kFmaPerRound; ++i) sum[i] = F32::set(static_cast<float>(rounds + i));
  const F32::Reg factor = F32::set(0.5F);
  const F32::Reg addend = F32::set(1.0F);
  for (std::int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < kFmaPerRound; ++i) sum[i] = F32::fma(sum[i], factor, addend);
  }
  F32::Reg total = F32::zero();
  for (int i = 0; i < kFmaPerRound; ++i) total = F32::add(total, sum[i]);
  float lanes[F32::kLanes];
  F32::store(lanes, total);
  return lanes[0];
}

void stream_loop(const float* a, const float* b, const float* c, float* d, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += F32::kLanes) {
    F32::store(d + i, F32::add(F32::add(F32::load(a + i), F32::load(b + i)), F32::load(c + i)));
  }
}

}  // namespace

extern const probes::Kernel probes_kernel = {&fma_loop, &stream_loop, F32::kLanes};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
