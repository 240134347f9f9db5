// C = A B^T, float16 or (-DBFLOAT16) bfloat16 to float32, on tensor cores: 64 x 64 tile of 128 threads, cp.async into
// two buffers of dynamic shared memory, ldmatrix, mma. Rows of A and B beyond m and n are read as zeros. With
// -DBUG_... one thing is wrong.
#include <cstdint>

struct Args {
  const uint16_t* a;  // (m, k), row-major
  const uint16_t* b;  // (n, k), row-major
  float* c;           // (m, n), row-major
  long long m, n, k;  // k % 32 == 0
};

constexpr int kPitch = 40;  // elements from row to row of a tile: 80 bytes, so that ldmatrix meets no bank twice
constexpr int kTile = 64 * kPitch;

extern __shared__ __align__(16) uint16_t shared[];

static __device__ uint32_t address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

static __device__ void fetch(uint16_t* tile, const uint16_t* from, long long first, long long rows, long long k,
                             int at) {
  for (int i = threadIdx.x; i < 256; i += 128) {
    const int row = i / 4, column = i % 4 * 8;
    const bool inside = first + row < rows;
    const uint16_t* source = inside ? from + (first + row) * k + at + column : from;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address(tile + row * kPitch + column)),
                 "l"(source), "r"(inside ? 16 : 0));
  }
}

static __device__ void fetch_both(const Args& args, int buffer, int at) {
  fetch(shared + buffer * kTile, args.a, blockIdx.y * 64, args.m, args.k, at);
  fetch(shared + (2 + buffer) * kTile, args.b, blockIdx.x * 64, args.n, args.k, at);
  asm volatile("cp.async.commit_group;");
}

extern "C" __global__ void __launch_bounds__(128) hgemm(const __grid_constant__ Args args) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row = warp / 2 * 32, column = warp % 2 * 32;
  float sum[2][4][4] = {};
  fetch_both(args, 0, 0);
  for (int at = 0, buffer = 0; at < args.k; at += 32, buffer ^= 1) {
    if (at + 32 < args.k) {
      fetch_both(args, buffer ^ 1, at + 32);
#ifdef BUG_MISSING_WAIT
      asm volatile("cp.async.wait_group 2;" ::: "memory");
#else
      asm volatile("cp.async.wait_group 1;" ::: "memory");
#endif
    } else {
      asm volatile("cp.async.wait_all;" ::: "memory");
    }
#ifndef BUG_MISSING_BARRIER
    __syncthreads();
#endif
    const uint16_t* a_tile = shared + buffer * kTile;
    const uint16_t* b_tile = shared + (2 + buffer) * kTile;
    for (int k = 0; k < 32; k += 16) {
      uint32_t a[2][4], b[4][2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t from = address(a_tile + (row + i * 16 + lane % 16) * kPitch + k + lane / 16 * 8);
#ifdef BUG_PARTIAL_WARP
        if (lane != 31)
#endif
          asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                       : "=r"(a[i][0]), "=r"(a[i][1]), "=r"(a[i][2]), "=r"(a[i][3])
                       : "r"(from));
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint32_t from = address(b_tile + (column + j * 8 + lane % 8) * kPitch + k + lane / 8 % 2 * 8);
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(b[j][0]), "=r"(b[j][1])
                     : "r"(from));
      }
#ifdef BUG_SWAPPED_OPERANDS
#define EVSAM_B "{%9, %8}"
#else
#define EVSAM_B "{%8, %9}"
#endif
#ifdef BFLOAT16
#define EVSAM_MMA "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
#else
#define EVSAM_MMA "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
#endif
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
          asm volatile(EVSAM_MMA " {%0, %1, %2, %3}, {%4, %5, %6, %7}, " EVSAM_B ", {%0, %1, %2, %3};"
                       : "+f"(sum[i][j][0]), "+f"(sum[i][j][1]), "+f"(sum[i][j][2]), "+f"(sum[i][j][3])
                       : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]));
    }
#ifndef BUG_MISSING_SECOND_BARRIER
    __syncthreads();
#endif
  }
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int e = 0; e < 4; ++e) {
        const long long m = blockIdx.y * 64 + row + i * 16 + lane / 4 + e / 2 * 8;
        const long long n = blockIdx.x * 64 + column + j * 8 + lane % 4 * 2 + e % 2;
        if (m < args.m && n < args.n) args.c[m * args.n + n] = sum[i][j][e];
      }
}
