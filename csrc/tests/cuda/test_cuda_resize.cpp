// The resize kernels in emulation against float64: modes, dtypes, one and two sources, odd sizes, batches, in place,
// NaN, messages.
#include "ops/resize/resize_cuda.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/arguments.h"
#include "device_memory.h"
#include "ops/resize/resize.h"
#include "test_data.h"
#include "tolerance.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::cuda::resize;

struct Size {
  std::int64_t height;
  std::int64_t width;
};

struct Case {
  DType dtype;
  op::Mode mode;
  std::int64_t batch;
  std::int64_t channels;
  Size x;
  Size x2;  // height 0: none
  Size out;
  bool residual;
  bool in_place;
};

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

std::vector<double> random_map(const Case& c, Size size, unsigned seed) {
  return rounded(c.dtype, widen(random_floats(c.batch * size.height * size.width * c.channels, seed)));
}

std::vector<double> resampled(const Case& c, Size size, const std::vector<double>& x) {
  resize::Params cpu;
  cpu.mode = c.mode == op::Mode::bicubic ? resize::Mode::bicubic : resize::Mode::bilinear;
  cpu.in_height = size.height;
  cpu.in_width = size.width;
  cpu.out_height = c.out.height;
  cpu.out_width = c.out.width;
  cpu.channels = c.channels;
  const std::int64_t in = size.height * size.width * c.channels;
  const std::int64_t out = c.out.height * c.out.width * c.channels;
  std::vector<double> result(index(c.batch * out));
  for (std::int64_t b = 0; b < c.batch; ++b) {
    resize::run_float64(cpu, x.data() + b * in, nullptr, result.data() + b * out);
  }
  return result;
}

std::vector<double> sum(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result = a;
  for (std::size_t i = 0; i < a.size(); ++i) result[i] += b[i];
  return result;
}

void test_case(const Case& c) {
  const std::vector<double> x = random_map(c, c.x, 1);
  const std::vector<double> x2 = random_map(c, c.x2, 2);
  const std::vector<double> residual = random_map(c, c.out, 3);
  std::vector<double> truth = resampled(c, c.x, x);
  std::vector<double> eager = rounded(c.dtype, truth);
  if (c.x2.height > 0) {
    const std::vector<double> second = resampled(c, c.x2, x2);
    truth = sum(truth, second);
    eager = rounded(c.dtype, sum(eager, rounded(c.dtype, second)));
  }
  if (c.residual) {
    truth = sum(truth, residual);
    eager = rounded(c.dtype, sum(eager, residual));
  }

  const DeviceMemory x_memory(c.dtype, x);
  const DeviceMemory x2_memory(c.dtype, x2);
  const DeviceMemory residual_memory(c.dtype, residual);
  const DeviceMemory separate(c.dtype, static_cast<std::int64_t>(residual.size()));
  const DeviceMemory& out = c.in_place ? residual_memory : separate;
  op::Params params;
  params.mode = c.mode;
  params.x = cuda::as_const(x_memory.map(c.batch, c.channels, c.x.height, c.x.width));
  if (c.x2.height > 0) params.x2 = cuda::as_const(x2_memory.map(c.batch, c.channels, c.x2.height, c.x2.width));
  if (c.residual) {
    params.residual = cuda::as_const(residual_memory.map(c.batch, c.channels, c.out.height, c.out.width));
  }
  params.out = out.map(c.batch, c.channels, c.out.height, c.out.width);
  const Status status = op::run(params, 0);
  CHECK_MSG(status.ok(), status.message());
  check_as_good_as_eager(out.values(), eager, truth, c.dtype,
                         std::string(dtype_name(c.dtype)) + (c.mode == op::Mode::bicubic ? " bicubic " : " bilinear ") +
                             std::to_string(c.x.height) + " x " + std::to_string(c.x.width) + " to " +
                             std::to_string(c.out.height) + " x " + std::to_string(c.out.width));
}

void test_numbers() {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    for (const op::Mode mode : {op::Mode::bicubic, op::Mode::bilinear}) {
      test_case({dtype, mode, 1, 16, {4, 4}, {8, 8}, {16, 16}, true, false});   // the neck's factors
      test_case({dtype, mode, 2, 8, {5, 3}, {0, 0}, {13, 11}, true, true});     // primes, in place
      test_case({dtype, mode, 1, 24, {7, 9}, {3, 23}, {7, 9}, false, false});   // same size; narrower and wider
      test_case({dtype, mode, 1, 8, {31, 29}, {1, 1}, {3, 5}, true, false});    // much smaller; a single pixel
      test_case({dtype, mode, 1, 1032, {1, 2}, {0, 0}, {1, 3}, false, false});  // more channels than threads of a block
    }
  }
}

// Only where a tap of the input's NaN is.
void test_nan_stays_among_its_neighbours() {
  const Case c{DType::kFloat16, op::Mode::bilinear, 1, 8, {4, 8}, {0, 0}, {8, 16}, false, false};
  std::vector<double> x = random_map(c, c.x, 1);
  x[(1 * 8 + 3) * 8 + 5] = std::nan("");
  const DeviceMemory input(c.dtype, x);
  const DeviceMemory output(c.dtype, 8 * 16 * 8);
  op::Params params;
  params.mode = c.mode;
  params.x = cuda::as_const(input.map(1, 8, 4, 8));
  params.out = output.map(1, 8, 8, 16);
  CHECK(op::run(params, 0).ok());
  const std::vector<double> got = output.values();
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::size_t row = i / 8 / 16;
    const std::size_t column = i / 8 % 16;
    const bool near = row >= 1 && row <= 4 && column >= 5 && column <= 8;
    CHECK(std::isnan(got[i]) == (near && i % 8 == 5));
  }
}

void check_message(const op::Params& params, const std::string& message) {
  const Status status = op::run(params, 0);
  CHECK_MSG(status.message() == message, "expected: " + message + "\n     got: " + status.message());
}

void test_messages() {
  const DeviceMemory memory(DType::kFloat16, 4096);
  op::Params good;
  good.x = good.x2 = cuda::as_const(memory.map(1, 8, 2, 2));
  good.residual = cuda::as_const(memory.map(1, 8, 4, 4));
  good.out = memory.map(1, 8, 4, 4);
  CHECK(op::validate(good).ok());

  op::Params p = good;
  p.out.dtype = DType::kInt8;
  check_message(p, "out: expected dtype float16, bfloat16 or float32, got int8");
  p = good;
  p.out.ndim = 2;
  check_message(p, "out: expected shape (B, C, H, W), got (1, 8)");
  p = good;
  p.out = memory.map(1, 12, 4, 4);
  check_message(p, "out: expected a multiple of 8 channels, got 12");
  p = good;
  p.out = memory.map(65536, 8, 4, 4);
  check_message(p, "out: expected a batch of at most 65535, got 65536");
  p = good;
  p.out = memory.map(1, 8, 40000, 4);
  check_message(p, "out: expected at most 32767 pixels a side, got (1, 8, 40000, 4)");
  p = good;
  p.out.data = static_cast<char*>(p.out.data) + 2;
  check_message(p, "out: expected an address that is a multiple of 16 bytes, got one that is 2 off");
  p = good;
  p.x.dtype = DType::kFloat32;
  check_message(p, "x: expected dtype float16, got float32");
  p = good;
  p.x = cuda::as_const(memory.map(1, 8, 2, 2, false));
  check_message(p,
                "x: expected a map without gaps, channels last in memory, got shape (1, 8, 2, 2), strides "
                "(32, 4, 2, 1)");
  p = good;
  p.x2 = cuda::as_const(memory.map(2, 8, 2, 2));
  check_message(p, "x2: expected batch 1 and 8 channels, as out, got (2, 8, 2, 2)");
  p = good;
  p.x2 = cuda::as_const(memory.map(1, 16, 2, 2));
  check_message(p, "x2: expected batch 1 and 8 channels, as out, got (1, 16, 2, 2)");
  p = good;
  p.residual = cuda::as_const(memory.map(1, 8, 4, 5));
  check_message(p, "residual: expected shape (1, 8, 4, 4), got (1, 8, 4, 5)");
  p = good;
  p.residual.data = static_cast<const char*>(p.residual.data) + 8;
  check_message(p, "residual: expected an address that is a multiple of 16 bytes, got one that is 8 off");
}

}  // namespace

int main() {
  test_numbers();
  test_nan_stays_among_its_neighbours();
  test_messages();
  return test_result();
}
