#include "ops/relu_linear_attention/relu_linear_attention.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "check.h"
#include "ops/lite_mla/lite_mla_kernel.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::relu_linear_attention;

constexpr float kGuard = 12345.0F;

// Rows of tokens with gaps behind each row, each head and each image, so that no stride is what a contiguous array
// would have.
class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : batch(row.number("batch")),
        heads(row.number("heads")),
        dim(row.number("head_dim")),
        tokens(row.number("tokens")) {
    inputs = {input(batch * heads, 3 * dim, tokens, static_cast<unsigned>(tokens))};
    outputs = {output(batch * heads, dim, tokens)};
    outputs[0].gaps = false;
  }

  Expected expected() const override {
    Expected e;
    e.values.resize(size(batch * heads * dim * tokens));
    op::run_float64(widen(inputs[0].values).data(), e.values.data(), batch * heads, dim, tokens,
                    static_cast<double>(params.eps));
    // out is an average of v with weights >= 0, so rounding is relative to max |v| < 6. It grows with the additions in
    // a row: kTokenBlock, the number of blocks, D.
    e.sizes = {6.0};
    e.roundings = static_cast<double>(lite_mla::kTokenBlock + tokens / lite_mla::kTokenBlock + dim + 4);
    return e;
  }

  Status pack(const Kernels& kernels) override {
    kernels_ = &kernels;
    return {};
  }
  std::size_t workspace_bytes(int threads) const override { return op::workspace_bytes(*kernels_, params, threads); }

  void prepare() override {
    strided_qkv_.assign(lay_out_view(&params.qkv, 3 * dim), kNan);
    strided_out_.assign(lay_out_view(&params.out, dim), kGuard);
    params.qkv.data = strided_qkv_.data();
    params.out.data = strided_out_.data();
    for_each(params.qkv, [this](std::size_t at, std::size_t i) { strided_qkv_[at] = inputs[0].values[i]; });
  }
  Status validate() override { return op::validate(params); }
  void run(const RunContext& context) override { op::run(*kernels_, context, params); }
  void finish() override {
    std::vector<float> values(size(batch * heads * dim * tokens));
    for_each(params.out, [&](std::size_t at, std::size_t i) { values[i] = std::exchange(strided_out_[at], kGuard); });
    CHECK_MSG(std::all_of(strided_out_.begin(), strided_out_.end(), [](float x) { return x == kGuard; }),
              "relu_linear_attention: written outside out");
    outputs[0].fill(values);
  }

  // Of the middle head: a query spoils its token, a value its channel, a key all; at the first and the last token.
  std::vector<Spoiler> spoilers() const override {
    std::vector<Spoiler> all;
    const std::int64_t head = batch * heads / 2;
    for (const std::int64_t token : {std::int64_t{0}, tokens - 1}) {
      const auto spoil = [&](std::int64_t row, auto reached) {
        all.push_back({0, (head * 3 * dim + row) * tokens + token, [this, head, reached](std::size_t, std::int64_t at) {
                         const bool same_head = at / (dim * tokens) == head;
                         return same_head && reached(at / tokens % dim, at % tokens) ? Reach::yes : Reach::no;
                       }});
      };
      spoil(dim - 1, [token](std::int64_t, std::int64_t at) { return at == token; });
      spoil(dim, [](std::int64_t, std::int64_t) { return true; });
      spoil(2 * dim + 1, [](std::int64_t channel, std::int64_t) { return channel == 1; });
    }
    return all;
  }

  std::int64_t batch, heads, dim, tokens;
  op::Params params;

 private:
  // Returns the numbers in the buffer.
  template <typename View>
  std::size_t lay_out_view(View* view, std::int64_t rows) const {
    const std::int64_t row = tokens + gap();
    const std::int64_t head = rows * row + gap();
    const std::int64_t image = heads * head + gap();
    const std::int64_t shape[] = {batch, heads, rows, tokens};
    const std::int64_t strides[] = {image, head, row, 1};
    view->dtype = DType::kFloat32;
    view->ndim = 4;
    std::copy_n(shape, 4, view->shape);
    std::copy_n(strides, 4, view->strides);
    return size(batch * image);
  }

  // f(offset in the buffer, index in C order) for each element.
  template <typename View, typename F>
  static void for_each(const View& view, F f) {
    std::size_t index = 0;
    for (std::int64_t b = 0; b < view.shape[0]; ++b) {
      for (std::int64_t h = 0; h < view.shape[1]; ++h) {
        for (std::int64_t r = 0; r < view.shape[2]; ++r) {
          for (std::int64_t n = 0; n < view.shape[3]; ++n, ++index) {
            f(size(b * view.strides[0] + h * view.strides[1] + r * view.strides[2] + n), index);
          }
        }
      }
    }
  }

  const Kernels* kernels_ = nullptr;
  std::vector<float> strided_qkv_, strided_out_;
};

Case make(std::int64_t batch, std::int64_t heads, std::int64_t dim, std::int64_t tokens) {
  return Case(Row({{"batch", std::to_string(batch)},
                   {"heads", std::to_string(heads)},
                   {"head_dim", std::to_string(dim)},
                   {"tokens", std::to_string(tokens)}}));
}

// ReLU leaves nothing of the queries: zero over eps.
void check_no_queries(const Kernels& kernels) {
  for (const std::int64_t dim : {16, 32, 5}) {
    Case c = make(1, 1, dim, 75);
    std::fill_n(c.inputs[0].values.begin(), dim * c.tokens, -1.0F);
    CHECK(c.pack(kernels).ok());
    for (const float value : run_once(c, 1, 0, 0, "relu_linear_attention without queries")) CHECK(value == 0.0F);
    c.params.eps = 0.0F;  // zero over zero
    for (const float value : run_once(c, 1, 0, 0, "relu_linear_attention without eps")) CHECK(std::isnan(value));
  }
}

void check_messages() {
  Case c = make(2, 3, 4, 5);
  c.lay_out(0, 0);
  c.prepare();
  const op::Params& good = c.params;
  CHECK(op::validate(good).ok());
  const auto status_with = [&](auto change) {
    op::Params p = good;
    change(p);
    return op::validate(p);
  };
  const auto type_message = [](const Status& status) {
    return status.code() == StatusCode::kInvalidType ? status.message() : "of another kind: " + status.message();
  };
  CHECK(type_message(status_with([](op::Params& p) { p.qkv.dtype = DType::kFloat64; })) ==
        "qkv: expected dtype float32, got float64");
  CHECK(type_message(status_with([](op::Params& p) { p.out.dtype = DType::kFloat16; })) ==
        "out: expected dtype float32, got float16");
  EXPECT_MESSAGE(status_with([](op::Params& p) { p.qkv.ndim = 3; }),
                 "qkv: expected shape (B, H, 3 * D, N), got (2, 3, 12)");
  EXPECT_MESSAGE(status_with([](op::Params& p) { p.qkv.shape[0] = 0; }),
                 "qkv: expected no empty axis, got (0, 3, 12, 5)");
  EXPECT_MESSAGE(status_with([](op::Params& p) { p.qkv.shape[2] = 13; }),
                 "qkv: expected a third axis of 3 * D rows (q, k, v), got (2, 3, 13, 5)");
  EXPECT_MESSAGE(status_with([](op::Params& p) { p.out.shape[2] = 5; }),
                 "out: expected shape (2, 3, 4, 5), got (2, 3, 5, 5)");
  EXPECT_MESSAGE(status_with([](op::Params& p) { p.qkv.strides[3] = 2; }), "qkv: expected a token stride of 1, got 2");
  EXPECT_MESSAGE(status_with([](op::Params& p) { p.out.strides[3] = -1; }),
                 "out: expected a token stride of 1, got -1");
  EXPECT_MESSAGE(status_with([](op::Params& p) { p.out.strides[1] = 0; }),
                 "out: expected rows that do not overlap, got strides (60, 0, 5, 1)");
  const float* last = static_cast<const float*>(good.qkv.data) + 2 * 3 * 12 * 5 - 1;
  EXPECT_MESSAGE(status_with([last](op::Params& p) { p.out.data = const_cast<float*>(last); }),
                 "out: expected memory apart from qkv, got an overlapping view");
  EXPECT_MESSAGE(status_with([](op::Params& p) { p.eps = -1.0F; }),
                 "eps: expected a finite number >= 0, got -1.000000");
  EXPECT_MESSAGE(status_with([](op::Params& p) { p.eps = std::numeric_limits<float>::infinity(); }),
                 "eps: expected a finite number >= 0, got inf");
}

const OpTest kTest("relu_linear_attention", make_case<Case>, check_no_queries, check_messages);

}  // namespace
