// Sums of rows: one block of 256 threads per row, shuffles in the warps, then one warp over the warps' sums. With
// -DBUG_... one thing is wrong.
struct Args {
  const float* x;  // (rows, n)
  float* y;        // (rows)
  int n;
};

extern "C" __global__ void __launch_bounds__(256) row_sum(const __grid_constant__ Args args) {
  extern __shared__ float partial[];  // 8
  float sum = 0.0f;
#ifdef BUG_EARLY_EXIT
  if (threadIdx.x >= args.n) return;
#endif
  for (int i = threadIdx.x; i < args.n; i += 256) sum += args.x[static_cast<long long>(blockIdx.x) * args.n + i];
#ifdef BUG_PARTIAL_WARP
  if (threadIdx.x % 32 < 16)
#endif
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
#ifdef BUG_INACTIVE_LANE
  if (threadIdx.x % 32 < 8) sum += __shfl_xor_sync(0xffu, sum, 16);
#endif
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
#ifdef BUG_DIVERGENT_BARRIER
  if (threadIdx.x < 128) {
    asm volatile("bar.sync 0;" ::: "memory");
    args.y[blockIdx.x] = 0.0f;
  } else {
    asm volatile("bar.sync 0;" ::: "memory");
  }
#elif defined BUG_SKIPPED_BARRIER
  if (threadIdx.x < 128) __syncthreads();
#else
  __syncthreads();
#endif
  if (threadIdx.x >= 32) return;
  sum = threadIdx.x < 8 ? partial[threadIdx.x] : 0.0f;
  for (int distance = 4; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffffu, sum, distance);
  if (threadIdx.x == 0) args.y[blockIdx.x] = sum;
}
