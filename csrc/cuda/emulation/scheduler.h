// One block of threads at a time on the CPU: who runs, who waits, and what the threads of a warp exchange. device.h
// wraps it for kernels. Every misuse ends the process with a message that says which threads wait where.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/runtime.h"

namespace evsam::cuda::emulation {

// Of the thread that runs now.
unsigned thread_index();
Dim3 block_index();
Dim3 grid_size();
unsigned char* shared_memory();

void sync_block(const char* file, int line);
void sync_warp();

// What a lane gives to and gets from an operation of its warp.
struct Lane {
  std::uint32_t in[10];
  std::uint32_t out[4];
};

// Computes all 32 lanes' results.
using Combine = void (*)(Lane* lanes, unsigned parameter);

// All 32 lanes call it with the same operation, or the process ends. The last to come runs `combine`. It orders no
// memory: like __shfl_sync, unlike __syncwarp.
void exchange(const char* operation, const std::uint32_t* in, unsigned in_words, std::uint32_t* out, unsigned out_words,
              Combine combine, unsigned parameter);

// warp_operations.cpp
void combine_shuffle_xor(Lane* lanes, unsigned lane_mask);
void combine_shuffle_from(Lane* lanes, unsigned);         // in: value, source lane
void combine_load_matrices(Lane* lanes, unsigned count);  // in: 16 bytes (4), the low half of their address
void combine_load_matrices_transposed(Lane* lanes, unsigned count);
void combine_mma_f16(Lane* lanes, unsigned);  // in: a (4), b (2), d (4); out: d
void combine_mma_bf16(Lane* lanes, unsigned);
void combine_mma_tf32(Lane* lanes, unsigned);

// Cycles that the matrices loaded since the last call took beyond one each, because rows lie in the same banks.
unsigned long take_matrix_conflicts();

// async_copies.cpp: copies of the calling thread.
void start_copy(void* shared, const void* global, unsigned bytes, bool valid);
void commit_copies();
void wait_copies(unsigned pending);
bool has_copies_under_way();

// "CUDA emulation: <message>", the block, and where its threads wait; then abort().
[[noreturn]] void fail(const char* message);

// Runs all blocks of a grid, one after the other.
struct Grid {
  Dim3 blocks;
  unsigned threads = 0;
  std::size_t shared_bytes = 0;
  void (*call)(const void* function, const void* args) = nullptr;
  const void* function = nullptr;
  const void* args = nullptr;
  unsigned seed = 0;  // 0: threads run in order; else another order for each block
};
void run_grid(const Grid& grid);

}  // namespace evsam::cuda::emulation
