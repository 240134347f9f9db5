// The device target: every function is an intrinsic or one PTX instruction. Compute capability 8.0 and later.
#pragma once

#include <cstdint>

#include "cuda/types.h"

#define EVSAM_DEVICE __device__ __forceinline__
#define EVSAM_UNROLL _Pragma("unroll")
#define EVSAM_NO_UNROLL _Pragma("unroll 1")

// The entry of a kernel: no C++ name mangling, so that PTX, tables and plugins can name it.
#define EVSAM_CUDA_ENTRY(name, Args, threads, min_blocks) \
  extern "C" __global__ void __launch_bounds__(threads, min_blocks) name(const __grid_constant__ Args args)

namespace evsam::cuda {

extern __shared__ __align__(128) unsigned char evsam_shared_memory[];

EVSAM_DEVICE unsigned thread_index() { return threadIdx.x; }
EVSAM_DEVICE unsigned block_index_x() { return blockIdx.x; }
EVSAM_DEVICE unsigned block_index_y() { return blockIdx.y; }
EVSAM_DEVICE unsigned block_index_z() { return blockIdx.z; }
EVSAM_DEVICE unsigned grid_size_x() { return gridDim.x; }
EVSAM_DEVICE unsigned grid_size_y() { return gridDim.y; }
EVSAM_DEVICE unsigned grid_size_z() { return gridDim.z; }

// The block's dynamic shared memory, aligned to 128 bytes.
EVSAM_DEVICE unsigned char* shared_memory() { return evsam_shared_memory; }

EVSAM_DEVICE uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

EVSAM_DEVICE void sync_block() { __syncthreads(); }
EVSAM_DEVICE void sync_warp() { __syncwarp(); }

// Words of 32 bits: float or uint32_t.
template <typename Word>
EVSAM_DEVICE Word shuffle_xor(Word value, unsigned lane_mask) {
  return __shfl_xor_sync(0xffffffffU, value, static_cast<int>(lane_mask));
}
template <typename Word>
EVSAM_DEVICE Word shuffle_from(Word value, unsigned lane) {
  return __shfl_sync(0xffffffffU, value, static_cast<int>(lane));
}

EVSAM_DEVICE float float_from_bits(uint32_t bits) { return __uint_as_float(bits); }
EVSAM_DEVICE uint32_t bits_from_float(float value) { return __float_as_uint(value); }

// Rounded to nearest even; `first` in the lower half.
EVSAM_DEVICE uint32_t pack_f16(float first, float second) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}
EVSAM_DEVICE uint32_t pack_bf16(float first, float second) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}
EVSAM_DEVICE Float2 unpack_f16(uint32_t pair) {
  Float2 values;
  asm("{\n"
      ".reg .b16 low, high;\n"
      "mov.b32 {low, high}, %2;\n"
      "cvt.f32.f16 %0, low;\n"
      "cvt.f32.f16 %1, high;\n"
      "}"
      : "=f"(values.first), "=f"(values.second)
      : "r"(pair));
  return values;
}

// float32 to the nearest TF32 (10 bits of mantissa), ties away from zero.
EVSAM_DEVICE uint32_t to_tf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

EVSAM_DEVICE uint32_t relu_pair_f16(uint32_t pair) {
  uint32_t result;
  asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(result) : "r"(pair), "r"(0U));
  return result;
}
EVSAM_DEVICE uint32_t relu_pair_bf16(uint32_t pair) {
  uint32_t result;
  asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(result) : "r"(pair), "r"(0U));
  return result;
}

// Of which a NaN on either side is the result, unlike fmaxf and fminf.
EVSAM_DEVICE float max_nan(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}
EVSAM_DEVICE float min_nan(float a, float b) {
  float result;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}

// One rounding for a * b + c.
EVSAM_DEVICE float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
// Never contracted into a fused multiply-add, where bits have to be those of another implementation.
EVSAM_DEVICE float add_rounded(float a, float b) { return __fadd_rn(a, b); }
EVSAM_DEVICE float multiply_rounded(float a, float b) { return __fmul_rn(a, b); }
EVSAM_DEVICE double add_rounded(double a, double b) { return __dadd_rn(a, b); }
EVSAM_DEVICE double multiply_rounded(double a, double b) { return __dmul_rn(a, b); }

// Within 2 ulp (PTX ISA: ex2.approx, rcp.approx, rsqrt.approx, div.full); no subnormals in exp2 and reciprocal.
EVSAM_DEVICE float exp2_approximate(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
EVSAM_DEVICE float reciprocal(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
EVSAM_DEVICE float reciprocal_sqrt(float x) {
  float result;
  asm("rsqrt.approx.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
EVSAM_DEVICE float divide_approximate(float a, float b) {
  float result;
  asm("div.full.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}

// Global memory that no thread writes during the kernel, past the coherent cache. Pointers are aligned to the size.
EVSAM_DEVICE Words4 load_constant_16(const void* global) {
  Words4 value;
  asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(value.word[0]), "=r"(value.word[1]), "=r"(value.word[2]), "=r"(value.word[3])
      : "l"(global));
  return value;
}

// cp.async: `kBytes` (4, 8 or 16) from global to shared memory, zeros where not valid (nothing is read then). Lands at
// the latest when wait_copies() says so, and is visible to other threads after a barrier behind that.
template <int kBytes>
EVSAM_DEVICE void copy_async(void* shared, const void* global, bool valid = true) {
  const uint32_t source_bytes = valid ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(source_bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(global),
                 "n"(kBytes), "r"(source_bytes)
                 : "memory");
  }
}
// Closes a group of this thread's copies, which may be empty.
EVSAM_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most `kPending` of this thread's newest groups are under way.
template <int kPending>
EVSAM_DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// ldmatrix: kCount (1, 2, 4) matrices of 8 x 8 16-bit numbers. Lane i gives the address of row i % 8 of matrix i / 8,
// 16 bytes, aligned; each lane gets numbers 2 (lane % 4) and the next of row lane / 4 of every matrix.
template <int kCount>
EVSAM_DEVICE void load_matrices(uint32_t (&r)[kCount], const void* row) {
  const uint32_t address = shared_address(row);
  if constexpr (kCount == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  } else if constexpr (kCount == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  }
}

// The same with each matrix transposed.
template <int kCount>
EVSAM_DEVICE void load_matrices_transposed(uint32_t (&r)[kCount], const void* row) {
  const uint32_t address = shared_address(row);
  if constexpr (kCount == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  } else if constexpr (kCount == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  }
}

// D += A B. Lane l, g = l / 4, t = l % 4, holds of D (16 x 8): rows g (d[0], d[1]) and g + 8 (d[2], d[3]), columns 2 t
// and 2 t + 1; of A (16 x 16): a[0] row g, a[1] row g + 8, columns 2 t and 2 t + 1, a[2] and a[3] the same 8 columns
// on; of B (16 x 8): b[0] rows 2 t and 2 t + 1, b[1] the same 8 rows on, column g.
EVSAM_DEVICE void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
EVSAM_DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// The same for TF32 (m16n8k8), D as above; of A (16 x 8): a[0] row g, a[1] row g + 8, column t, a[2] and a[3] column
// t + 4; of B (8 x 8): b[0] row t, b[1] row t + 4, column g.
EVSAM_DEVICE void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace evsam::cuda
