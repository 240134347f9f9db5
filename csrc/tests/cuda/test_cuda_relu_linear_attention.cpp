// The ReLU linear attention kernels in emulation against float64: dtypes, layouts, token counts, shared and whole
// heads, extremes, NaN, messages.
#include "ops/relu_linear_attention/relu_linear_attention_cuda.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/arguments.h"
#include "device_memory.h"
#include "ops/relu_linear_attention/relu_linear_attention.h"
#include "test_data.h"
#include "tolerance.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::cuda::relu_linear_attention;

// How qkv and out lie in memory.
enum class Layout {
  dense,          // channel-major without gaps
  padded_rows,    // channel-major, rows, heads and images further apart, at an odd address
  dense_tokens,   // token-major, the heads of a token side by side
  padded_tokens,  // token-major in a wider map, aligned
  odd_tokens,     // the same at odd addresses
};

bool is_token_major(Layout layout) { return layout >= Layout::dense_tokens; }

struct Case {
  DType dtype = DType::kFloat16;
  std::int64_t batch = 1;
  std::int64_t heads = 1;
  std::int64_t dim = 32;
  std::int64_t tokens = 64;
  Layout layout = Layout::dense;
  op::Split split = op::Split::whole;

  std::string name() const {
    return std::string(dtype_name(dtype)) + " B=" + std::to_string(batch) + " H=" + std::to_string(heads) +
           " D=" + std::to_string(dim) + " N=" + std::to_string(tokens) + " layout " +
           std::to_string(static_cast<int>(layout)) + (split == op::Split::whole ? " whole" : " split");
  }
};

// (B, H, rows, N) in memory of its own, with gaps that hold NaN.
class Tensor {
 public:
  Tensor(const Case& c, std::int64_t rows) : memory_(c.dtype, elements(c, rows)) {
    const std::int64_t n = c.tokens;
    const bool odd = c.layout == Layout::padded_rows || c.layout == Layout::odd_tokens;
    if (is_token_major(c.layout)) {
      const std::int64_t token = c.heads * rows + gap(c.layout);
      view_ = memory_.view({c.batch, c.heads, rows, n}, {n * token, rows, 1, token});
    } else {
      const std::int64_t row = n + gap(c.layout);
      const std::int64_t head = rows * row + gap(c.layout);
      view_ = memory_.view({c.batch, c.heads, rows, n}, {c.heads * head, head, row, 1});
    }
    offset_ = odd ? 3 : 0;
    view_.data = static_cast<char*>(view_.data) + static_cast<std::size_t>(offset_) * dtype_size(c.dtype);
  }

  const TensorView& view() const { return view_; }

  // In C order.
  void set(const std::vector<double>& values) {
    std::size_t i = 0;
    for (const std::size_t index : indices()) memory_.set(index, values[i++]);
  }
  // Also checks that the gaps still hold NaN.
  std::vector<double> values() const {
    const std::vector<double> all = memory_.values();
    std::vector<char> is_gap(all.size(), 1);
    std::vector<double> result;
    for (const std::size_t index : indices()) {
      result.push_back(all[index]);
      is_gap[index] = 0;
    }
    bool clean = true;
    for (std::size_t i = 0; i < all.size(); ++i) clean = clean && (is_gap[i] == 0 || std::isnan(all[i]));
    CHECK_MSG(clean, "written between rows");
    return result;
  }

 private:
  static std::int64_t gap(Layout layout) {
    return layout == Layout::padded_rows || layout == Layout::odd_tokens ? 5 : layout == Layout::padded_tokens ? 24 : 0;
  }
  static std::int64_t elements(const Case& c, std::int64_t rows) {
    const std::int64_t g = gap(c.layout);
    if (is_token_major(c.layout)) return c.batch * c.tokens * (c.heads * rows + g) + 3;
    return c.batch * c.heads * (rows * (c.tokens + g) + g) + 3;
  }
  std::vector<std::size_t> indices() const {
    std::vector<std::size_t> result;
    for (std::int64_t b = 0; b < view_.shape[0]; ++b) {
      for (std::int64_t h = 0; h < view_.shape[1]; ++h) {
        for (std::int64_t r = 0; r < view_.shape[2]; ++r) {
          for (std::int64_t n = 0; n < view_.shape[3]; ++n) {
            result.push_back(static_cast<std::size_t>(offset_ + b * view_.strides[0] + h * view_.strides[1] +
                                                      r * view_.strides[2] + n * view_.strides[3]));
          }
        }
      }
    }
    return result;
  }

  DeviceMemory memory_;
  TensorView view_;
  std::int64_t offset_ = 0;
};

std::vector<double> run(const Case& c, const std::vector<double>& qkv, float eps = 1e-15F) {
  Tensor in(c, 3 * c.dim);
  const Tensor out(c, c.dim);
  in.set(qkv);
  op::Params params;
  params.qkv = cuda::as_const(in.view());
  params.out = out.view();
  params.eps = eps;
  params.split = c.split;
  cuda::Device device;
  CHECK(cuda::current_device(&device).ok());
  const std::size_t bytes = op::workspace_bytes(params, device);
  CHECK_MSG((bytes > 0) == (c.split == op::Split::split && c.tokens > 64), c.name() + ": workspace");
  const DeviceMemory workspace(DType::kFloat32, static_cast<std::int64_t>(bytes / sizeof(float)));
  const Status status = op::run(params, workspace.data(), bytes, 0);
  CHECK_MSG(status.ok(), c.name() + ": " + status.message());
  return out.values();
}

std::vector<double> truth_of(const Case& c, const std::vector<double>& qkv, double eps = static_cast<double>(1e-15F)) {
  std::vector<double> result(static_cast<std::size_t>(c.batch * c.heads * c.dim * c.tokens));
  relu_linear_attention::run_float64(qkv.data(), result.data(), c.batch * c.heads, c.dim, c.tokens, eps);
  return result;
}

// In the network the attention of a 16-bit map is float32 between the two casts, so only float32 has roundings of its
// own inside.
std::vector<double> eager_of(const Case& c, const std::vector<double>& qkv, const std::vector<double>& truth) {
  if (c.dtype != DType::kFloat32) return rounded(c.dtype, truth);
  std::vector<double> result;
  const auto at = [&](std::int64_t head, std::int64_t row, std::int64_t token) {
    return static_cast<float>(qkv[static_cast<std::size_t>((head * 3 * c.dim + row) * c.tokens + token)]);
  };
  for (std::int64_t head = 0; head < c.batch * c.heads; ++head) {
    std::vector<float> out(static_cast<std::size_t>((c.dim + 1) * c.tokens));
    for (std::int64_t d = 0; d <= c.dim; ++d) {
      for (std::int64_t e = 0; e < c.dim; ++e) {
        float state = 0.0F;
        for (std::int64_t n = 0; n < c.tokens; ++n) {
          state += std::max(at(head, c.dim + e, n), 0.0F) * (d == c.dim ? 1.0F : at(head, 2 * c.dim + d, n));
        }
        for (std::int64_t n = 0; n < c.tokens; ++n) {
          out[static_cast<std::size_t>(d * c.tokens + n)] += state * std::max(at(head, e, n), 0.0F);
        }
      }
    }
    for (std::int64_t d = 0; d < c.dim; ++d) {
      for (std::int64_t n = 0; n < c.tokens; ++n) {
        const float sum = out[static_cast<std::size_t>(c.dim * c.tokens + n)] + 1e-15F;
        result.push_back(static_cast<double>(out[static_cast<std::size_t>(d * c.tokens + n)] / sum));
      }
    }
  }
  return result;
}

std::vector<double> random_qkv(const Case& c, double scale = 1.0) {
  const std::int64_t count = c.batch * c.heads * 3 * c.dim * c.tokens;
  return rounded(c.dtype, widen(random_floats(count, static_cast<unsigned>(c.tokens + c.dim), scale)));
}

void check_case(const Case& c) {
  const std::vector<double> qkv = random_qkv(c);
  const std::vector<double> truth = truth_of(c, qkv);
  check_as_good_as_eager(run(c, qkv), eager_of(c, qkv, truth), truth, c.dtype, c.name());
}

void test_numbers() {
  const Layout layouts[] = {Layout::dense, Layout::padded_rows, Layout::dense_tokens, Layout::padded_tokens,
                            Layout::odd_tokens};
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    for (const std::int64_t dim : {16, 32}) {
      for (const Layout layout : layouts) {
        check_case({dtype, 2, 3, dim, 40, layout, op::Split::whole});
        check_case({dtype, 2, 1, dim, 200, layout, op::Split::split});
      }
    }
  }
  // Around tiles and warps; 1 and 7 leave most of a tile empty.
  for (const std::int64_t tokens : {1, 7, 16, 17, 63, 64, 65, 255, 256, 257}) {
    for (const Layout layout : {Layout::dense, Layout::dense_tokens}) {
      for (const op::Split split : {op::Split::whole, op::Split::split}) {
        check_case({DType::kFloat16, 1, 1, 32, tokens, layout, split});
      }
      check_case({DType::kFloat32, 1, 1, 16, tokens, layout, op::Split::whole});
    }
  }
  // The real token counts.
  for (const std::int64_t tokens : {1000, 1024, 4096}) {
    check_case({DType::kFloat16, 1, 1, 32, tokens, Layout::dense, op::Split::whole});
    check_case({DType::kFloat16, 1, 1, 32, tokens, Layout::padded_tokens, op::Split::split});
    check_case({DType::kBFloat16, 1, 1, 32, tokens, Layout::dense_tokens, op::Split::whole});
    check_case({DType::kFloat32, 1, 1, 32, tokens, Layout::dense, op::Split::split});
  }
}

// The sums exceed float16 by far; the outputs are averages of v.
void test_extremes() {
  const double largest = 65504.0;
  const double smallest = 0x1p-24;
  for (const std::int64_t tokens : {64, 4096}) {
    for (const Layout layout : {Layout::dense, Layout::dense_tokens}) {
      for (const op::Split split : {op::Split::whole, op::Split::split}) {
        const Case c{DType::kFloat16, 1, 1, 32, tokens, layout, split};
        const std::size_t count = static_cast<std::size_t>(96 * tokens);
        for (const double out : run(c, std::vector<double>(count, largest))) CHECK(out == largest);
        // ReLU leaves nothing: 0 / (0 + eps).
        for (const double out : run(c, std::vector<double>(count, -largest))) CHECK(out == 0.0);

        std::vector<double> mixed(count);
        const std::vector<float> random = random_floats(static_cast<std::int64_t>(count), 9);
        const double kinds[] = {largest, -largest, smallest, -smallest, 1.0, 0.0, 2 * smallest};
        for (std::size_t i = 0; i < count; ++i)
          mixed[i] = kinds[static_cast<std::size_t>(std::abs(random[i]) * 1e4F) % 7];
        std::vector<double> truth = truth_of(c, mixed);
        check_as_good_as_eager(run(c, mixed), rounded(c.dtype, truth), truth, c.dtype, c.name() + " mixed");

        // Subnormal keys and queries, whose products are larger than eps only just: v is what is averaged.
        for (std::size_t i = 0; i < count; ++i)
          mixed[i] = (i / static_cast<std::size_t>(32 * tokens) < 2 ? 100 * smallest : 1.0);
        truth = truth_of(c, mixed);
        check_as_good_as_eager(run(c, mixed), rounded(c.dtype, truth), truth, c.dtype, c.name() + " subnormal");
      }
    }
  }
}

// Half of the heads have no positive key, half of the tokens no positive query.
void test_all_negative() {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    const Case c{dtype, 1, 2, 16, 33, Layout::dense, op::Split::whole};
    std::vector<double> qkv = random_qkv(c);
    for (std::size_t r = 0; r < 16; ++r) {
      for (std::size_t n = 0; n < 33; ++n) {
        double& key = qkv[(16 + r) * 33 + n];
        key = -std::abs(key);
        double& query = qkv[(48 + r) * 33 + n];
        if (n % 2 == 0) query = -std::abs(query);
      }
    }
    const std::vector<double> got = run(c, qkv);
    const std::vector<double> without_eps = run(c, qkv, 0.0F);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const bool empty = i < 16 * 33 || i % 33 % 2 == 0;
      CHECK((got[i] == 0.0) == empty);
      CHECK(std::isnan(without_eps[i]) == empty);
    }
  }
}

void test_nan() {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    for (const Layout layout : {Layout::dense, Layout::dense_tokens}) {
      for (const op::Split split : {op::Split::whole, op::Split::split}) {
        const Case c{dtype, 1, 3, 16, 70, layout, split};
        std::vector<double> qkv = random_qkv(c);
        const auto at = [&](std::size_t head, std::size_t row, std::size_t token) -> double& {
          return qkv[(head * 48 + row) * 70 + token];
        };
        at(0, 5, 66) = std::nan("");       // q: token 66
        at(1, 32 + 7, 3) = std::nan("");   // v: channel 7
        at(2, 16 + 9, 69) = std::nan("");  // k: the head
        const std::vector<double> got = run(c, qkv);
        for (std::size_t i = 0; i < got.size(); ++i) {
          const std::size_t head = i / (16 * 70);
          const bool spoilt = head == 2 || (head == 1 ? i / 70 % 16 == 7 : i % 70 == 66);
          CHECK_MSG(std::isnan(got[i]) == spoilt, c.name() + ": NaN at the wrong place");
        }
      }
    }
  }
}

// The launcher shares heads between blocks where they are too few for the device, and only there.
void test_automatic_split() {
  const DeviceMemory memory(DType::kFloat16, 1);
  op::Params params;
  const cuda::Device device{0, 108, 80, 99 * 1024};
  const auto bytes = [&](std::int64_t heads, std::int64_t tokens) {
    params.qkv = cuda::as_const(memory.view({1, heads, 96, tokens}, {96 * heads * tokens, 96 * tokens, tokens, 1}));
    return op::workspace_bytes(params, device);
  };
  CHECK(bytes(32, 256) == 0);
  CHECK(bytes(32, 1024) == 32 * 4 * 32 * 33 * sizeof(float));
  CHECK(bytes(108, 4096) == 0);
  CHECK(bytes(1, 65536) == 16 * 32 * 33 * sizeof(float));
}

void check_message(const op::Params& params, const std::string& message, std::size_t workspace_bytes = 1 << 20) {
  const Status status = op::run(params, nullptr, workspace_bytes, 0);
  CHECK_MSG(status.message() == message, "expected: " + message + "\n     got: " + status.message());
}

void test_messages() {
  const DeviceMemory memory(DType::kFloat16, 48 * 128);
  const DeviceMemory result(DType::kFloat16, 16 * 128);
  op::Params good;
  good.qkv = cuda::as_const(memory.view({1, 1, 48, 128}, {0, 0, 128, 1}));
  good.out = result.view({1, 1, 16, 128}, {0, 0, 128, 1});
  CHECK(op::validate(good).ok());

  op::Params p = good;
  p.qkv.dtype = DType::kInt8;
  check_message(p, "qkv: expected dtype float16, bfloat16 or float32, got int8");
  p = good;
  p.out.dtype = DType::kFloat32;
  check_message(p, "out: expected dtype float16, got float32");
  p = good;
  p.qkv.ndim = 3;
  check_message(p, "qkv: expected shape (B, H, 3 * D, N), got (1, 1, 48)");
  p = good;
  p.qkv.shape[3] = 0;
  check_message(p, "qkv: expected no empty axis, got (1, 1, 48, 0)");
  p = good;
  p.qkv.shape[2] = 24;
  check_message(p, "qkv: expected a third axis of 3 * D rows (q, k, v) with D = 16 or 32, got (1, 1, 24, 128)");
  p = good;
  p.qkv.shape[0] = p.qkv.shape[1] = 1 << 16;
  check_message(p, "qkv: expected fewer than 2^31 heads of all images, got (65536, 65536, 48, 128)");
  p = good;
  p.out.shape[3] = 64;
  check_message(p, "out: expected shape (1, 1, 16, 128), got (1, 1, 16, 64)");
  p = good;
  p.qkv.strides[3] = 2;
  check_message(p, "qkv: expected a row or token stride of 1, got strides (0, 0, 128, 2)");
  p = good;
  p.out = result.view({1, 1, 16, 128}, {0, 0, 1, 16});
  check_message(p, "out: expected a token stride of 1, as qkv has, got strides (0, 0, 1, 16)");
  p = good;
  p.qkv = cuda::as_const(memory.view({1, 1, 48, 128}, {0, 0, 1, 48}));
  check_message(p, "out: expected a row stride of 1, as qkv has, got strides (0, 0, 128, 1)");
  p = good;
  p.out.strides[2] = 127;
  check_message(p, "out: expected rows that do not overlap, got strides (0, 0, 127, 1)");
  p = good;
  p.out.data = memory.data();
  check_message(p, "out: expected memory apart from qkv, got an overlapping view");
  p = good;
  p.eps = -1.0F;
  check_message(p, "eps: expected a finite number >= 0, got -1.000000");
  p = good;
  p.split = op::Split::split;
  check_message(p, "workspace: expected at least 2176 bytes, got 2175", 2175);
}

}  // namespace

int main() {
  test_numbers();
  test_extremes();
  test_all_negative();
  test_nan();
  test_automatic_split();
  test_messages();
  return test_result();
}
