// The probe loops without vector instructions.
#include "probes/probes_kernel.h"

namespace evsam::scalar {
namespace {

float fma_loop(std::int64_t rounds) {
  float sum[probes::kFmaPerRound];
  for (int i = 0; i < probes::kFmaPerRound; ++i) sum[i] = static_cast<float>(rounds + i);
  for (std::int64_t n = 0; n < rounds; ++n) {
    for (float& s : sum) s = s * 0.5F + 1.0F;
  }
  float total = 0.0F;
  for (const float s : sum) total += s;
  return total;
}

void stream_loop(const float* a, const float* b, const float* c, float* d, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) d[i] = a[i] + b[i] + c[i];
}

}  // namespace

extern const probes::Kernel probe_kernel = {&fma_loop, &stream_loop, 1};

}  // namespace evsam::scalar
