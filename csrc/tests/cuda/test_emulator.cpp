// Known answers of what kernels are written with: warp operations by NVIDIA's register layouts, copies, conversions.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/device.h"
#include "cuda/emulation/launch_log.h"
#include "cuda/runtime.h"

namespace evsam::cuda {
namespace {

constexpr unsigned kThreads = 64;

struct Args {
  const std::uint32_t* in;
  std::uint32_t* out;
};

unsigned global_thread() { return block_index_x() * kThreads + thread_index(); }

}  // namespace

EVSAM_CUDA_ENTRY(shuffles, Args, kThreads, 1) {
  const uint32_t value = args.in[global_thread()];
  args.out[global_thread()] = shuffle_xor(value, 5) * 1000 + shuffle_from(value, (lane_index() + 1) % kWarpSize);
}

// The second half of the block's numbers arrives through copies of every size, the first as it is.
EVSAM_CUDA_ENTRY(copies, Args, kThreads, 1) {
  auto* words = reinterpret_cast<uint32_t*>(shared_memory());
  const unsigned t = thread_index();
  if (t < 8) {
    copy_async<16>(words + 4 * t, args.in + 4 * t);
  } else if (t < 16) {
    copy_async<8>(words + 32 + 2 * (t - 8), args.in + 32 + 2 * (t - 8));
  } else if (t < 32) {
    copy_async<4>(words + 48 + (t - 16), args.in + 48 + (t - 16), t != 31);  // the last is not valid
  }
  commit_copies();
  wait_copies<0>();
  sync_block();
  args.out[t] = words[63 - t];
}

EVSAM_CUDA_ENTRY(matrices, Args, kThreads, 1) {
  auto* halves = reinterpret_cast<uint16_t*>(shared_memory());
  for (unsigned i = thread_index(); i < 256; i += kThreads) halves[i] = static_cast<uint16_t>(i);
  sync_block();
  uint32_t plain[4];
  uint32_t transposed[4];
  load_matrices<4>(plain, halves + 8 * lane_index());
  load_matrices_transposed<4>(transposed, halves + 8 * lane_index());
  if (warp_index() > 0) return;
  for (unsigned i = 0; i < 4; ++i) {
    args.out[8 * lane_index() + i] = plain[i];
    args.out[8 * lane_index() + 4 + i] = transposed[i];
  }
}

// Rows in[0] numbers apart.
EVSAM_CUDA_ENTRY(spread_matrices, Args, 32, 1) {
  auto* halves = reinterpret_cast<uint16_t*>(shared_memory());
  for (unsigned i = lane_index(); i < 2048; i += 32) halves[i] = 0;
  sync_warp();
  uint32_t r[4];
  load_matrices<4>(r, halves + args.in[0] * lane_index());
  args.out[lane_index()] = r[0];
}

EVSAM_CUDA_ENTRY(order_of_writes, Args, kThreads, 1) {
  auto* values = reinterpret_cast<uint32_t*>(shared_memory());
  for (unsigned round = 0; round < 8; ++round) {
    values[thread_index()] = round * kThreads + thread_index();
    sync_block();
    args.out[round * kThreads + thread_index()] = values[kThreads - 1 - thread_index()];
    sync_block();
  }
}

// out[16][8] = a[16][16] b[16][8], with numbers laid out by the fragments' definition: `in` holds a, then b, as floats.
template <typename T>
void product_16(const Args& args) {
  const auto number = [&](unsigned index) { return float_from_bits(args.in[index]); };
  const unsigned group = lane_index() / 4;
  const unsigned pair = lane_index() % 4 * 2;
  uint32_t a[4];
  uint32_t b[2];
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned at = (group + i % 2 * 8) * 16 + pair + i / 2 * 8;
    a[i] = pack<T>(number(at), number(at + 1));
  }
  for (unsigned i = 0; i < 2; ++i) {
    const unsigned at = 256 + (pair + i * 8) * 8 + group;
    b[i] = pack<T>(number(at), number(at + 8));
  }
  float d[4] = {1.0F, 1.0F, 1.0F, 1.0F};
  mma<T>(d, a, b);
  for (unsigned i = 0; i < 4; ++i) args.out[(group + i / 2 * 8) * 8 + pair + i % 2] = bits_from_float(d[i]);
}
EVSAM_CUDA_ENTRY(product_f16, Args, 32, 1) { product_16<f16>(args); }
EVSAM_CUDA_ENTRY(product_bf16, Args, 32, 1) { product_16<bf16>(args); }
EVSAM_CUDA_ENTRY(product_tf32, Args, 32, 1) {
  const unsigned group = lane_index() / 4;
  const unsigned column = lane_index() % 4;
  uint32_t a[4];
  uint32_t b[2];
  for (unsigned i = 0; i < 4; ++i) a[i] = args.in[(group + i % 2 * 8) * 16 + column + i / 2 * 4];
  for (unsigned i = 0; i < 2; ++i) b[i] = args.in[256 + (column + i * 4) * 8 + group];
  float d[4] = {1.0F, 1.0F, 1.0F, 1.0F};
  mma_tf32(d, a, b);
  for (unsigned i = 0; i < 4; ++i) {
    args.out[(group + i / 2 * 8) * 8 + column * 2 + i % 2] = bits_from_float(d[i]);
  }
}

}  // namespace evsam::cuda

namespace {

using namespace evsam;
using namespace evsam::cuda;

std::vector<std::uint32_t> run(const char* name, void (*function)(Args), unsigned threads, unsigned blocks,
                               std::size_t shared_bytes, const std::vector<std::uint32_t>& in, std::size_t out_count) {
  std::vector<std::uint32_t> out(out_count, 0xdeadbeefU);
  const Kernel<Args> kernel{name, threads, function};
  CHECK(launch(kernel, {blocks, 1, 1}, shared_bytes, 0, Args{in.data(), out.data()}).ok());
  return out;
}

std::vector<std::uint32_t> counting(std::uint32_t count) {
  std::vector<std::uint32_t> values(count);
  for (std::uint32_t i = 0; i < count; ++i) values[i] = i;
  return values;
}

void test_shuffles() {
  const auto out = run("shuffles", shuffles, kThreads, 3, 0, counting(192), 192);
  for (std::uint32_t i = 0; i < 192; ++i) {
    const std::uint32_t warp = i / 32 * 32;
    CHECK(out[i] == (warp + ((i % 32) ^ 5U)) * 1000 + warp + (i % 32 + 1) % 32);
  }
}

void test_copies() {
  const auto out = run("copies", copies, kThreads, 1, 256, counting(64), 64);
  for (std::uint32_t i = 0; i < 64; ++i) CHECK(out[i] == (i == 0 ? 0U : 63 - i));
}

void test_matrices() {
  const auto out = run("matrices", matrices, kThreads, 1, 512, {}, 256);
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    for (std::uint32_t m = 0; m < 4; ++m) {
      const std::uint32_t row = lane / 4;
      const std::uint32_t column = lane % 4 * 2;
      const auto at = [m](std::uint32_t r, std::uint32_t c) { return m * 64 + r * 8 + c; };
      CHECK(out[8 * lane + m] == (at(row, column) | at(row, column + 1) << 16));
      CHECK(out[8 * lane + 4 + m] == (at(column, row) | at(column + 1, row) << 16));
    }
  }
}

// 128 bytes are all banks: rows that lie together, or all at one place, meet none twice.
void test_matrix_conflicts() {
  struct Spread {
    std::uint32_t numbers;  // of 16 bits, from row to row
    unsigned long lost;     // by four matrices
  };
  for (const Spread spread :
       {Spread{8, 0}, Spread{0, 0}, Spread{16, 4}, Spread{24, 0}, Spread{32, 12}, Spread{64, 28}}) {
    emulation::start_launch_log();
    run("spread_matrices", spread_matrices, 32, 1, 4096, {spread.numbers}, 32);
    const auto log = emulation::take_launch_log();
    CHECK_MSG(log.size() == 1 && log[0].matrix_conflicts == spread.lost, std::to_string(spread.numbers));
  }
}

void test_barriers() {
  const auto out = run("order_of_writes", order_of_writes, kThreads, 1, kThreads * 4, {}, 8 * kThreads);
  for (std::uint32_t i = 0; i < out.size(); ++i) CHECK(out[i] == i / kThreads * kThreads + 63 - i % kThreads);
}

// Small whole numbers are exact in every format, so that every sum is.
void test_products() {
  std::vector<std::uint32_t> in(256 + 128);
  for (std::uint32_t i = 0; i < in.size(); ++i) in[i] = bits_from_float(static_cast<float>(i * 7 % 15) - 7.0F);
  const auto value = [&in](std::uint32_t i) { return float_from_bits(in[i]); };
  struct Product {
    const char* name;
    void (*function)(Args);
    std::uint32_t depth;
  };
  for (const Product& p : {Product{"product_f16", product_f16, 16}, Product{"product_bf16", product_bf16, 16},
                           Product{"product_tf32", product_tf32, 8}}) {
    const auto out = run(p.name, p.function, 32, 1, 0, in, 128);
    for (std::uint32_t i = 0; i < 16; ++i) {
      for (std::uint32_t j = 0; j < 8; ++j) {
        float sum = 1.0F;
        for (std::uint32_t k = 0; k < p.depth; ++k) sum += value(i * 16 + k) * value(256 + k * 8 + j);
        CHECK_MSG(float_from_bits(out[i * 8 + j]) == sum, p.name);
      }
    }
  }
}

void test_conversions() {
  CHECK(pack_f16(1.0F, -2.0F) == 0xc0003c00U);
  CHECK(pack_f16(65519.0F, 65520.0F) == 0x7c007bffU);         // the last that rounds down; infinity
  CHECK(pack_f16(0x1p-25F, 0x1.8p-25F) == 0x00010000U);       // half the smallest: to even; above it
  CHECK(pack_bf16(1.00390625F, 1.01171875F) == 0x3f823f80U);  // ties to even
  CHECK((pack_bf16(NAN, 0.0F) & 0xffffU) == 0x7fffU);
  CHECK(unpack_f16(0x7bff0001U).first == 0x1p-24F && unpack_f16(0x7bff0001U).second == 65504.0F);
  CHECK(to_tf32(1.0F + 0x1p-11F) == bits_from_float(1.0F + 0x1p-10F));  // a tie, away from zero
  CHECK(to_tf32(-1.0F - 0x1p-11F) == bits_from_float(-1.0F - 0x1p-10F));
  CHECK(to_tf32(1.0F + 0x1.fp-12F) == bits_from_float(1.0F));
  CHECK(relu_pair_f16(pack_f16(-1.0F, 2.0F)) == pack_f16(0.0F, 2.0F));
  CHECK(std::isnan(unpack_f16(relu_pair_f16(pack_f16(NAN, -1.0F))).first));
  CHECK(std::isnan(max_nan(NAN, 0.0F)) && std::isnan(min_nan(1.0F, NAN)) && max_nan(-1.0F, 0.0F) == 0.0F);
  double worst = 0.0;  // relative; below -5 the definition itself cancels in float64
  for (float x = -5.0F; x < 9.0F; x += 0x1p-7F) {
    const double expected = activate_float64(Activation::gelu_tanh, static_cast<double>(x));
    const double plain = static_cast<double>(gelu(x, 1.0F));
    const double scaled = 4.0 * static_cast<double>(gelu(x / 4.0F, 4.0F));  // of x stored as x / 4
    const double allowance = 1e-30;
    worst = std::fmax(
        worst, std::fmax(std::abs(plain - expected), std::abs(scaled - expected)) / (std::abs(expected) + allowance));
  }
  // exp(-2 u) with |2 u| < 19 passes on the rounding of u 19 times as large
  CHECK_MSG(worst <= 32 * 0x1p-23, std::to_string(worst));
  CHECK(gelu(-1e4F, 1.0F) == 0.0F && gelu(1e4F, 1.0F) == 1e4F && std::isnan(gelu(NAN, 1.0F)));
}

void test_launches() {
  const Kernel<Args> kernel{"shuffles", kThreads, shuffles};
  const std::vector<std::uint32_t> in = counting(192);
  std::vector<std::uint32_t> out(192);
  const Args args{in.data(), out.data()};
  emulation::start_launch_log();
  CHECK(launch(kernel, {2, 1, 1}, 128, 0, args).ok());
  const auto log = emulation::take_launch_log();
  CHECK(log.size() == 1 && log[0].name == "shuffles" && log[0].grid.x == 2 && log[0].threads == kThreads);
  CHECK(log[0].shared_bytes == 128 && log[0].args.size() == sizeof args);
  CHECK(std::memcmp(log[0].args.data(), &args, sizeof args) == 0);
  CHECK(launch(kernel, {1, 1, 1}, 0, 0, args).ok());
  CHECK(emulation::take_launch_log().empty());

  CHECK(launch(kernel, {1, 1, 1}, 1 << 20, 0, args).message() ==
        "shuffles: expected at most 101376 bytes of shared memory, got 1048576");
  CHECK(launch(kernel, {1, 0, 1}, 0, 0, args).message() ==
        "shuffles: expected a grid within CUDA's limits, got 1 x 0 x 1");
  CHECK(launch(kernel, {1, 70000, 1}, 0, 0, args).message() ==
        "shuffles: expected a grid within CUDA's limits, got 1 x 70000 x 1");
  emulation::set_device({0, 16, 87, 163 * 1024});
  Device device;
  CHECK(current_device(&device).ok() && device.multiprocessors == 16 && device.compute_capability == 87);
}

}  // namespace

int main() {
  test_shuffles();
  test_copies();
  test_matrices();
  test_matrix_conflicts();
  test_barriers();
  test_products();
  test_conversions();
  test_launches();
  return test::test_result();
}
