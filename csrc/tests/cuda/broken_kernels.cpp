// A correct kernel and the same with one fault each: the tools that check kernels must find every one. Prints "right"
// or "wrong result" where nothing else stopped it.
//
// C (16 x 16) = A (16 x 64) B^T (16 x 64): two warps of 16 x 8 each, chunks of 16 columns through two buffers of shared
// memory by asynchronous copies, as the real kernels have it.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "cuda/device.h"
#include "cuda/runtime.h"

namespace evsam::cuda {
namespace {

constexpr unsigned kThreads = 64;
constexpr unsigned kDepth = 64;
constexpr unsigned kChunk = 16;
constexpr unsigned kBufferHalves = 2 * 16 * kChunk;  // A's rows, then B's

enum class Fault : std::uint8_t {
  none,
  missing_barrier,       // before others' copies are read
  missing_last_barrier,  // before the buffer is overwritten
  missing_wait,          // for the copies of the chunk
  shared_out_of_bounds,  // one copy behind the end
  global_out_of_bounds,  // one number behind the end of C
  swapped_operands,      // two registers of A
  divergent_barrier,     // half of the block at another one
  early_exit,            // one warp leaves before a barrier
  divergent_warp,        // half of a warp at another operation
  misaligned_copy,
};

struct Args {
  const std::uint16_t* a;
  const std::uint16_t* b;
  float* c;
  Fault fault;
};

void load_chunk(const Args& args, std::uint16_t* shared, unsigned chunk) {
  // 32 copies of 16 bytes for each operand
  const unsigned t = thread_index() % 32;
  const bool is_b = thread_index() >= 32;
  const std::uint16_t* from = (is_b ? args.b : args.a) + t / 2 * kDepth + chunk * kChunk + t % 2 * 8;
  std::uint16_t* to = shared + chunk % 2 * kBufferHalves + (is_b ? 16 * kChunk : 0) + t * 8;
  if (args.fault == Fault::shared_out_of_bounds && chunk % 2 == 1 && thread_index() == 63) to += 8;
  if (args.fault == Fault::misaligned_copy) to += 1;
  copy_async<16>(to, from);
  commit_copies();
}

}  // namespace

EVSAM_CUDA_ENTRY(small_product, Args, kThreads, 1) {
  auto* shared = reinterpret_cast<std::uint16_t*>(shared_memory());
  float sums[4] = {};
  load_chunk(args, shared, 0);
  for (unsigned chunk = 0; chunk < kDepth / kChunk; ++chunk) {
    const bool more = chunk + 1 < kDepth / kChunk;
    if (more) load_chunk(args, shared, chunk + 1);
    if (args.fault == Fault::missing_wait && chunk == 1) {
      wait_copies<2>();
    } else if (more) {
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    if (args.fault == Fault::early_exit && warp_index() == 1 && chunk == 3) return;
    if (args.fault == Fault::divergent_barrier && warp_index() == 1) {
      sync_block();
    } else if (args.fault != Fault::missing_barrier) {
      sync_block();
    }
    const std::uint16_t* buffer = shared + chunk % 2 * kBufferHalves;
    uint32_t a[4];
    uint32_t b[2];
    if (args.fault == Fault::divergent_warp && lane_index() >= 16) {
      load_matrices<2>(b, buffer);
    }
    load_matrices<4>(a, buffer + lane_index() % 16 * kChunk + lane_index() / 16 * 8);
    load_matrices<2>(b,
                     buffer + 16 * kChunk + (warp_index() * 8 + lane_index() % 8) * kChunk + lane_index() / 8 % 2 * 8);
    if (args.fault == Fault::swapped_operands) {
      const uint32_t second = a[1];
      a[1] = a[2];
      a[2] = second;
    }
    mma_f16(sums, a, b);
    if (args.fault != Fault::missing_last_barrier) sync_block();
  }
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = lane_index() / 4 + i / 2 * 8;
    unsigned at = row * 16 + warp_index() * 8 + lane_index() % 4 * 2 + i % 2;
    if (args.fault == Fault::global_out_of_bounds && at == 255) ++at;
    args.c[at] = sums[i];
  }
}

}  // namespace evsam::cuda

namespace {

using namespace evsam;
using namespace evsam::cuda;

struct Name {
  const char* text;
  Fault fault;
};
constexpr Name kNames[] = {
    {"none", Fault::none},
    {"missing_barrier", Fault::missing_barrier},
    {"missing_last_barrier", Fault::missing_last_barrier},
    {"missing_wait", Fault::missing_wait},
    {"shared_out_of_bounds", Fault::shared_out_of_bounds},
    {"global_out_of_bounds", Fault::global_out_of_bounds},
    {"swapped_operands", Fault::swapped_operands},
    {"divergent_barrier", Fault::divergent_barrier},
    {"early_exit", Fault::early_exit},
    {"divergent_warp", Fault::divergent_warp},
    {"misaligned_copy", Fault::misaligned_copy},
};

}  // namespace

int main(int argc, char** argv) {
  Fault fault = Fault::none;
  for (const Name& name : kNames) {
    if (argc > 1 && std::strcmp(argv[1], name.text) == 0) fault = name.fault;
  }
  // Whole numbers, so that every sum is exact.
  std::vector<float> numbers(2 * 16 * kDepth);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i * i * 13 % 17) - 8.0F;
  struct alignas(16) Row {
    std::uint16_t halves[8];
  };
  std::vector<Row> a(16 * kDepth / 8);
  std::vector<Row> b(16 * kDepth / 8);
  for (std::size_t i = 0; i < 16 * kDepth; ++i) {
    a[i / 8].halves[i % 8] = static_cast<std::uint16_t>(pack_f16(numbers[i], 0.0F));
    b[i / 8].halves[i % 8] = static_cast<std::uint16_t>(pack_f16(numbers[16 * kDepth + i], 0.0F));
  }
  const std::unique_ptr<float[]> c(new float[256]);
  const Kernel<Args> kernel{"small_product", kThreads, small_product};
  const Status status =
      launch(kernel, {}, 2 * kBufferHalves * sizeof(std::uint16_t), 0, Args{a[0].halves, b[0].halves, c.get(), fault});
  bool right = status.ok();
  for (unsigned i = 0; i < 16; ++i) {
    for (unsigned j = 0; j < 16; ++j) {
      float sum = 0.0F;
      for (unsigned k = 0; k < kDepth; ++k) sum += numbers[i * kDepth + k] * numbers[(16 + j) * kDepth + k];
      right = right && c[i * 16 + j] == sum;
    }
  }
  std::puts(right ? "right" : "wrong result");
  return right ? 0 : 1;
}
