// The multi-scale attention in emulation against float64: filter sizes, head dimensions, images of one tile and of
// many, odd sizes, batches, in place, extremes, NaN, messages.
#include "ops/lite_mla/lite_mla_cuda.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/arguments.h"
#include "cuda/emulation/launch_log.h"
#include "device_memory.h"
#include "ops/lite_mla/lite_mla.h"
#include "ops/relu_linear_attention/relu_linear_attention.h"
#include "test_data.h"
#include "tolerance.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::cuda::lite_mla;
using op::Split;

constexpr DType f16 = DType::kFloat16;

std::vector<double> random_f16(std::int64_t count, unsigned seed, double scale) {
  return rounded(f16, widen(random_floats(count, seed, scale)));
}

struct Case {
  std::int64_t channels;
  std::int64_t heads;
  std::int64_t dim;
  std::int64_t kernel;
  std::int64_t batch;
  std::int64_t height;
  std::int64_t width;
  Split split;
};

struct Problem {
  Case c;
  std::int64_t total;
  std::int64_t pixels;  // of an image
  std::vector<double> qkv, qkv_bias, depthwise, grouped, project, project_bias, x, residual;

  explicit Problem(const Case& of)
      : c(of),
        total(c.heads * c.dim),
        pixels(c.height * c.width),
        qkv(random_f16(3 * total * c.channels, 1, 1.0 / std::sqrt(static_cast<double>(c.channels)))),
        qkv_bias(widen(random_floats(3 * total, 2, 0.1))),
        depthwise(random_f16(3 * total * c.kernel * c.kernel, 3, 1.0 / static_cast<double>(c.kernel))),
        grouped(random_f16(3 * total * c.dim, 4, 1.0 / std::sqrt(static_cast<double>(c.dim)))),
        project(random_f16(c.channels * 2 * total, 5, 1.0 / std::sqrt(static_cast<double>(2 * total)))),
        project_bias(widen(random_floats(c.channels, 6))),
        x(random_f16(c.batch * pixels * c.channels, 7, 1.0)),
        residual(random_f16(c.batch * pixels * c.channels, 8, 1.0)) {}

  std::string name() const {
    return "C=" + std::to_string(c.channels) + " heads=" + std::to_string(c.heads) + " D=" + std::to_string(c.dim) +
           " k=" + std::to_string(c.kernel) + " B=" + std::to_string(c.batch) + " " + std::to_string(c.height) + "x" +
           std::to_string(c.width) + (c.split == Split::split ? " split" : " whole");
  }

  lite_mla::Params cpu_params() const {
    lite_mla::Params params;
    params.channels = c.channels;
    params.heads = c.heads;
    params.head_dim = c.dim;
    params.filter_size = c.kernel;
    return params;
  }

  std::vector<double> truth() const {
    const lite_mla::Weights64 weights = {qkv.data(),     qkv_bias.data(), depthwise.data(),
                                         grouped.data(), project.data(),  project_bias.data()};
    std::vector<double> y(x.size());
    for (std::int64_t b = 0; b < c.batch; ++b) {
      const std::int64_t at = b * pixels * c.channels;
      lite_mla::run_float64(cpu_params(), weights, x.data() + at, residual.data() + at, c.height, c.width,
                            y.data() + at);
    }
    return y;
  }

  // Op by op: each convolution and the attention leaves a float16 map.
  std::vector<double> eager() const {
    std::vector<double> y;
    for (std::int64_t b = 0; b < c.batch; ++b) {
      const double* in = x.data() + b * pixels * c.channels;
      std::vector<double> map(static_cast<std::size_t>(pixels * 3 * total));
      pointwise::run_float64({c.channels, 3 * total, Activation::none}, in, qkv.data(), qkv_bias.data(), nullptr,
                             pixels, map.data());
      map = rounded(f16, map);
      std::vector<double> filtered(map.size());
      depthwise_conv::run_float64({3 * total, c.kernel, 1, Activation::none}, map.data(), depthwise.data(), nullptr,
                                  c.height, c.width, filtered.data());
      const std::vector<double> attended = attend(map, rounded(f16, aggregate(rounded(f16, filtered))));
      std::vector<double> out(static_cast<std::size_t>(pixels * c.channels));
      pointwise::run_float64({2 * total, c.channels, Activation::none}, attended.data(), project.data(),
                             project_bias.data(), nullptr, pixels, out.data());
      out = rounded(f16, out);
      for (std::size_t i = 0; i < out.size(); ++i) {
        y.push_back(rounded(f16, out[i] + residual[static_cast<std::size_t>(b * pixels * c.channels) + i]));
      }
    }
    return y;
  }

  std::vector<double> aggregate(const std::vector<double>& filtered) const {
    std::vector<double> result(filtered.size());
    for (std::int64_t i = 0; i < pixels * 3 * total; ++i) {
      const std::int64_t channel = i % (3 * total);
      const double* group = filtered.data() + i / (3 * total) * (3 * total) + channel / c.dim * c.dim;
      double sum = 0.0;
      for (std::int64_t k = 0; k < c.dim; ++k) {
        sum += group[k] * grouped[static_cast<std::size_t>(channel * c.dim + k)];
      }
      result[static_cast<std::size_t>(i)] = sum;
    }
    return result;
  }

  // (pixels, 2 T) from two maps (pixels, 3 T).
  std::vector<double> attend(const std::vector<double>& own, const std::vector<double>& aggregated) const {
    std::vector<double> result(static_cast<std::size_t>(pixels * 2 * total));
    for (std::int64_t set = 0; set < 2; ++set) {
      const std::vector<double>& map = set == 0 ? own : aggregated;
      std::vector<double> rows(map.size());
      std::vector<double> out(static_cast<std::size_t>(pixels * total));
      for (std::int64_t i = 0; i < 3 * total * pixels; ++i) {
        rows[static_cast<std::size_t>(i)] = map[static_cast<std::size_t>(i % pixels * 3 * total + i / pixels)];
      }
      relu_linear_attention::run_float64(rows.data(), out.data(), c.heads, c.dim, pixels, static_cast<double>(1e-15F));
      for (std::int64_t i = 0; i < total * pixels; ++i) {
        result[static_cast<std::size_t>(i % pixels * 2 * total + set * total + i / pixels)] =
            rounded(f16, out[static_cast<std::size_t>(i)]);
      }
    }
    return result;
  }

  enum class Out { apart, x, residual };

  std::vector<double> run(Out where = Out::apart, bool with_extras = true, float eps = 1e-15F) const {
    const std::int64_t channels = c.channels;
    const DeviceMemory inputs[] = {{f16, x}, {f16, residual}, {f16, static_cast<std::int64_t>(x.size())}};
    const DeviceMemory weights[] = {{f16, qkv}, {f16, depthwise}, {f16, grouped}, {f16, project}};
    const DeviceMemory biases[] = {{DType::kFloat32, qkv_bias}, {DType::kFloat32, project_bias}};
    op::Params params;
    params.x = cuda::as_const(inputs[0].map(c.batch, channels, c.height, c.width));
    params.qkv_weight = cuda::as_const(weights[0].view({3 * total, channels}, {channels, 1}));
    const std::int64_t taps = c.kernel * c.kernel;
    params.depthwise = cuda::as_const(weights[1].view({3 * total, 1, c.kernel, c.kernel}, {taps, taps, c.kernel, 1}));
    params.grouped = cuda::as_const(weights[2].view({3 * total, c.dim}, {c.dim, 1}));
    params.project_weight = cuda::as_const(weights[3].view({channels, 2 * total}, {2 * total, 1}));
    if (with_extras) {
      params.qkv_bias = cuda::as_const(biases[0].vector());
      params.project_bias = cuda::as_const(biases[1].vector());
      params.residual = cuda::as_const(inputs[1].map(c.batch, channels, c.height, c.width));
    }
    const DeviceMemory& out = inputs[where == Out::apart ? 2 : where == Out::x ? 0 : 1];
    params.out = out.map(c.batch, channels, c.height, c.width);
    params.eps = eps;
    params.split = c.split;
    cuda::Device device;
    CHECK(cuda::current_device(&device).ok());
    const std::size_t bytes = op::workspace_bytes(params, device);
    const DeviceMemory workspace(DType::kFloat32, static_cast<std::int64_t>(bytes / sizeof(float)));
    const Status status = op::run(params, workspace.data(), bytes, 0);
    CHECK_MSG(status.ok(), name() + ": " + status.message());
    return out.values();
  }
};

void check_case(const Case& c) {
  const Problem problem(c);
  const std::vector<double> got = problem.run();
  check_as_good_as_eager(got, problem.eager(), problem.truth(), f16, problem.name());
  CHECK(got == problem.run(Problem::Out::residual));
}

void test_numbers() {
  for (const std::int64_t dim : {16, 32}) {
    for (const std::int64_t kernel : {3, 5}) {
      check_case({24, 2, dim, kernel, 1, 16, 16, Split::whole});
      check_case({16, 1, dim, kernel, 2, 5, 7, Split::whole});
      check_case({16, 1, dim, kernel, 1, 1, 1, Split::whole});
      check_case({16, 2, dim, kernel, 1, 9, 19, Split::split});
      check_case({8, 1, dim, kernel, 2, 5, 33, Split::split});
    }
  }
  check_case({8, 1, 32, 5, 1, 16, 3, Split::whole});
  check_case({8, 1, 32, 3, 1, 1, 16, Split::whole});
  check_case({8, 1, 32, 5, 1, 16, 16, Split::split});
  check_case({8, 1, 32, 3, 1, 1, 17, Split::split});
  check_case({8, 1, 32, 3, 1, 17, 1, Split::whole});  // more than one tile: as split
}

cuda::Device device_of(int multiprocessors) { return {0, multiprocessors, 80, 99 * 1024}; }

// Fewer multiprocessors, larger tiles.
void test_tile_heights() {
  for (const int multiprocessors : {1, 4, 7}) {
    cuda::emulation::set_device(device_of(multiprocessors));
    check_case({8, 1, 32, 5, 1, 32, 20, Split::split});
    check_case({8, 1, 32, 3, 1, 31, 16, Split::split});
  }
  cuda::emulation::set_device(device_of(108));
}

void test_launches() {
  const auto names = [](const Case& c, int multiprocessors) {
    cuda::emulation::set_device(device_of(multiprocessors));
    cuda::emulation::start_launch_log();
    Problem(c).run();
    std::string result;
    for (const cuda::emulation::LaunchRecord& record : cuda::emulation::take_launch_log()) {
      if (std::strstr(record.name.c_str(), "lite_mla") == nullptr) continue;
      result += record.name + " " + std::to_string(record.grid.x) + "; ";
    }
    cuda::emulation::set_device(device_of(108));
    return result;
  };
  Case c{8, 2, 32, 5, 1, 16, 16, Split::automatic};
  CHECK(names(c, 4) == "f16_lite_mla_k5_d32_whole__sm80 2; ");
  CHECK(names(c, 5) == "f16_lite_mla_k5_d32_state__sm80 4; f16_lite_mla_k5_d32_apply__sm80 4; ");
  c.height = 17;
  CHECK(names(c, 4) == "f16_lite_mla_k5_d32_state__sm80 4; f16_lite_mla_k5_d32_apply__sm80 4; ");
}

void test_in_place() {
  const Problem problem({16, 1, 32, 3, 2, 6, 20, Split::split});
  CHECK(problem.run() == problem.run(Problem::Out::x));
}

// Attention sees the whole image, and nothing of the others: a NaN in the second of two reaches all of that.
void test_nan() {
  for (const Split split : {Split::whole, Split::split}) {
    Problem problem({8, 2, 16, 3, 2, 5, 9, split});
    problem.x[45 * 8 + 100] = std::nan("");
    const std::vector<double> got = problem.run();
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::isnan(got[i]) == (i >= 45 * 8));
  }
}

// ReLU leaves nothing of the queries, in either set: zero over eps, and only the bias and the residual are left.
void test_no_queries() {
  for (const Split split : {Split::whole, Split::split}) {
    Problem problem({24, 2, 16, 3, 1, 5, 9, split});
    for (std::int64_t row = 0; row < 3 * problem.total; ++row) {
      if (row / 16 % 3 != 0) continue;
      for (std::int64_t i = 0; i < 24; ++i) problem.qkv[static_cast<std::size_t>(row * 24 + i)] = 0.0;
      problem.qkv_bias[static_cast<std::size_t>(row)] = -1.0;
      for (std::int64_t i = 0; i < 9; ++i) problem.depthwise[static_cast<std::size_t>(row * 9 + i)] = 1.0;
      for (std::int64_t i = 0; i < 16; ++i) problem.grouped[static_cast<std::size_t>(row * 16 + i)] = 1.0;
    }
    const std::vector<double> got = problem.run();
    for (std::size_t i = 0; i < got.size(); ++i) {
      const float sum = static_cast<float>(problem.project_bias[i % 24]) + static_cast<float>(problem.residual[i]);
      CHECK(got[i] == rounded(f16, static_cast<double>(sum)));
    }
    for (const double value : problem.run(Problem::Out::apart, true, 0.0F)) CHECK(std::isnan(value));  // 0 / 0
  }
}

// q, k and v near the end of float16 in both maps: sums over tokens are far beyond it.
void test_extremes() {
  for (const Split split : {Split::whole, Split::split}) {
    Problem problem({8, 1, 32, 5, 1, 16, 16, split});
    std::fill(problem.qkv.begin(), problem.qkv.end(), 0.25);
    std::fill(problem.qkv_bias.begin(), problem.qkv_bias.end(), 0.0);
    std::fill(problem.depthwise.begin(), problem.depthwise.end(), 0.0);
    for (std::size_t i = 12; i < problem.depthwise.size(); i += 25) problem.depthwise[i] = 1.0;
    std::fill(problem.grouped.begin(), problem.grouped.end(), 1.0 / 32);
    std::fill(problem.project.begin(), problem.project.end(), 1.0 / 64);
    std::fill(problem.x.begin(), problem.x.end(), 32000.0);  // q = k = v = 64000
    for (const double value : problem.run(Problem::Out::apart, false)) CHECK(value == 64000.0);
  }
}

// Aggregated queries are never stored in float16, so those beyond it do no harm.
void test_large_aggregated_queries() {
  Problem problem({8, 1, 16, 3, 1, 4, 4, Split::whole});
  const Problem same = problem;
  for (std::int64_t i = 0; i < 16 * 16; ++i) problem.grouped[static_cast<std::size_t>(i)] *= 60000.0;
  problem.grouped = rounded(f16, problem.grouped);
  const std::vector<double> got = problem.run();
  const std::vector<double> expected = same.run();  // the quotient does not depend on the size of the queries
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - expected[i]) < 0.02);
}

void check_message(const op::Params& params, const std::string& message, std::size_t workspace_bytes = 1 << 20,
                   std::size_t offset = 0) {
  const DeviceMemory memory(f16, 16);
  const Status status = op::run(params, static_cast<char*>(memory.data()) + offset, workspace_bytes, 0);
  CHECK_MSG(status.message() == message, "expected: " + message + "\n     got: " + status.message());
}

void test_messages() {
  const DeviceMemory memory(f16, 8192);
  const DeviceMemory numbers(DType::kFloat32, 96);
  op::Params good;
  good.x = cuda::as_const(memory.map(1, 8, 2, 2));
  good.out = memory.map(1, 8, 2, 2);
  good.qkv_weight = cuda::as_const(memory.view({96, 8}, {8, 1}));
  good.qkv_bias = cuda::as_const(numbers.view({96}, {1}));
  good.depthwise = cuda::as_const(memory.view({96, 1, 3, 3}, {9, 9, 3, 1}));
  good.grouped = cuda::as_const(memory.view({96, 32}, {32, 1}));
  good.project_weight = cuda::as_const(memory.view({8, 64}, {64, 1}));
  good.project_bias = cuda::as_const(numbers.view({8}, {1}));
  CHECK(op::validate(good).ok());

  op::Params p = good;
  p.x.dtype = DType::kFloat32;
  check_message(p, "x: expected dtype float16, got float32");
  p = good;
  p.grouped.shape[1] = 24;
  check_message(p, "grouped: expected shape (3 * T, D) with D = 16 or 32, got (96, 24)");
  p = good;
  p.grouped.shape[0] = 64;
  check_message(p, "grouped: expected 3 * D rows for each head, got (64, 32)");
  p = good;
  p.grouped.strides[0] = 64;
  check_message(p, "grouped: expected strides (32, 1), got (64, 1)");
  p = good;
  p.depthwise.shape[3] = 7;
  check_message(p, "depthwise: expected shape (3 * T, 1, k, k) with k = 3 or 5, got (96, 1, 3, 7)");
  p = good;
  p.depthwise.shape[0] = 48;
  check_message(p, "depthwise: expected shape (96, 1, 3, 3), got (48, 1, 3, 3)");
  p = good;
  p.qkv_weight.shape[0] = 48;
  check_message(p, "qkv_weight: expected shape (96, 8), got (48, 8)");
  p = good;
  p.qkv_bias.shape[0] = 48;
  check_message(p, "qkv_bias: expected shape (96,), got (48,)");
  p = good;
  p.project_weight.shape[1] = 32;
  check_message(p, "project_weight: expected shape (8, 64), got (8, 32)");
  p = good;
  p.project_bias.dtype = f16;
  check_message(p, "project_bias: expected dtype float32, got float16");
  p = good;
  p.residual = cuda::as_const(memory.map(1, 8, 2, 1));
  check_message(p, "residual: expected shape (1, 8, 2, 2), got (1, 8, 2, 1)");
  p = good;
  p.out = memory.map(1, 16, 2, 2);
  check_message(p, "out: expected shape (1, 8, 2, 2), got (1, 16, 2, 2)");
  p = good;
  p.eps = -1.0F;
  check_message(p, "eps: expected a finite number >= 0, got -1.000000");
  p = good;
  p.split = Split::whole;  // 4 pixels of 96 and of 64 channels
  check_message(p, "workspace: expected at least 1280 bytes, got 1279", 1279);
  check_message(p, "workspace: expected an address that is a multiple of 16 bytes, got one that is 8 off", 1 << 20, 8);
}

}  // namespace

int main() {
  test_numbers();
  test_tile_heights();
  test_launches();
  test_in_place();
  test_nan();
  test_no_queries();
  test_extremes();
  test_large_aggregated_queries();
  test_messages();
  return test_result();
}
