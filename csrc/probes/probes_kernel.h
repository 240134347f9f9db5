// Loops timed by probes.cpp, one pair per instruction set; no functions here (see the rule in isa/avx2.h).
#pragma once

#include <cstdint>

namespace evsam::probes {

struct Kernel {
  // `rounds` times kFmaPerRound fused multiply-adds of `lanes` floats; returns a value so that nothing is optimised
  // away.
  float (*fma)(std::int64_t rounds);
  // d[i] = a[i] + b[i] + c[i], count a multiple of 16.
  void (*stream)(const float* a, const float* b, const float* c, float* d, std::int64_t count);
  int lanes;
};

// Independent chains: latency (4 to 5 cycles) times the two units of wide cores, with slack.
inline constexpr int kFmaPerRound = 12;

}  // namespace evsam::probes
