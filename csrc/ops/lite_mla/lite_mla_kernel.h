// What a CPU kernel of this op is: plain data and function pointers. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

namespace evsam::lite_mla {

// Tokens whose q, k and v are worked on at one time: for D = 32 keys and values take half of a 32 KiB L1 cache. Also
// the longest run of additions in one float32 sum.
inline constexpr std::int64_t kTokenBlock = 64;

struct Kernel {
  // q = relu(x[0 .. D)), k = relu(x[D .. 2 D)), v = x[2 D .. 3 D) of each token; the results are contiguous.
  void (*split)(const float* x, std::int64_t x_stride, std::int64_t tokens, std::int64_t dim, float* q, float* k,
                float* v);
  // state += sum over at most kTokenBlock tokens of k^T [v 1].
  void (*accumulate)(const float* k, const float* v, std::int64_t tokens, std::int64_t dim, float* state);
  // y = (q state) / (q state's last column + eps).
  void (*apply)(const float* q, std::int64_t tokens, std::int64_t dim, const float* state, float eps, float* y,
                std::int64_t y_stride);
  std::int64_t columns;  // of a panel of the state, see state_floats()
};

}  // namespace evsam::lite_mla
