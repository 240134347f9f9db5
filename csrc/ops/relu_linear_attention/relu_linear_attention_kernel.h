// What a CPU kernel of this op is: plain data and two function pointers. ISA files include this header, so it must
// define no function: one compiled with AVX flags could be linked into code for processors without AVX.
#pragma once

#include <cstddef>
#include <cstdint>

namespace evsam::relu_linear_attention {

// Tokens summed at once. Sums over more tokens add up the sums of such blocks, in token order and by any number of
// threads, so the result does not depend on that number. 128 tokens of transposed keys are 16 KiB for D = 32, half of a
// usual L1 cache; and rounding errors grow with 128 + N / 128 additions in a row instead of N.
inline constexpr std::int64_t kTokenBlock = 128;

// One head of one image. Rows are D channels of N contiguous tokens; strides count elements.
struct Head {
  const float* q;
  const float* k;
  const float* v;
  float* out;
  std::int64_t in_stride;   // between rows of q, of k and of v
  std::int64_t out_stride;  // between rows of out
  std::int64_t dim;         // D
  float eps;
};

struct Kernel {
  // state += sum over tokens [begin, end) of [1; v] relu(k)^T. The state has at least D + 1 rows of D floats, row 0 for
  // the ones. The range is one block: end - begin <= kTokenBlock.
  void (*accumulate)(const Head& head, std::int64_t begin, std::int64_t end, float* state, void* scratch);

  // out[:, n] = (state[1:] relu(q[:, n])) / (state[0] relu(q[:, n]) + eps) for tokens n in [begin, end).
  void (*apply)(const Head& head, std::int64_t begin, std::int64_t end, const float* state, void* scratch);

  std::int64_t dim;           // 0: any
  std::int64_t state_rows;    // D + 1 rounded up to the kernel's tile; 0: D + 1
  std::size_t scratch_bytes;  // per thread, aligned to 64 bytes
};

}  // namespace evsam::relu_linear_attention
