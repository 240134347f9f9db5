// Each warp transposes 32 x 8 bytes through its own part of shared memory: no barrier of the block is needed, one of
// the warp is. Separate arguments, a constant table and bytes. With -DBUG_... one thing is wrong.
#include <cstdint>

__constant__ uint8_t kOffset[8] = {7, 6, 5, 4, 3, 2, 1, 0};

extern "C" __global__ void __launch_bounds__(64) warp_transpose(const uint8_t* in, uint8_t* out, int count) {
  __shared__ uint8_t tile[2][256];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int at = (blockIdx.x * 2 + warp) * 256;
  if (at >= count) return;
  for (int i = 0; i < 8; ++i) tile[warp][lane * 8 + i] = in[at + lane * 8 + i] + kOffset[i];
#ifndef BUG_MISSING_WARP_BARRIER
  __syncwarp();
#endif
#ifdef BUG_WRONG_WARP
  for (int i = 0; i < 8; ++i) out[at + i * 32 + lane] = tile[warp ^ 1][lane * 8 + i];
#else
  for (int i = 0; i < 8; ++i) out[at + i * 32 + lane] = tile[warp][(lane * 8 + i * 33) % 256];
#endif
}
