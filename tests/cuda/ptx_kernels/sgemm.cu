// C = A B in float32 with a 16 x 16 tile in static shared memory. With -DBUG_... one thing is wrong.
struct Args {
  const float* a;  // (n, n), row-major, as b and c
  const float* b;
  float* c;
  int n;
};

extern "C" __global__ void __launch_bounds__(256) sgemm(const __grid_constant__ Args args) {
  __shared__ float tile_a[16][16];
  __shared__ float tile_b[16][16];
  const int column = threadIdx.x % 16, row = threadIdx.x / 16;
  const int i = blockIdx.y * 16 + row, j = blockIdx.x * 16 + column;
  float sum = 0.0f;
  for (int k = 0; k < args.n; k += 16) {
    tile_a[row][column] = args.a[i * args.n + k + column];
    tile_b[row][column] = args.b[(k + row) * args.n + j];
#ifndef BUG_MISSING_BARRIER
    __syncthreads();
#endif
    for (int p = 0; p < 16; ++p) {
#ifdef BUG_SHARED_OUT_OF_BOUNDS
      sum += tile_a[row][p] * tile_b[p + 1][column];
#else
      sum += tile_a[row][p] * tile_b[p][column];
#endif
    }
#ifndef BUG_MISSING_SECOND_BARRIER
    __syncthreads();
#endif
  }
#ifdef BUG_GLOBAL_OUT_OF_BOUNDS
  args.c[i * args.n + j + 1] = sum;
#elif defined BUG_MISALIGNED
  *reinterpret_cast<float*>(reinterpret_cast<char*>(args.c + i * args.n + j) + 2) = sum;
#else
  args.c[i * args.n + j] = sum;
#endif
}
