// Prompts as tokens, positions of cells, and what is read from processed tokens, against the definition in float64.
#include "engine/tokens.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "core/aligned_buffer.h"

namespace {

using evsam::PromptTokens;

constexpr std::int64_t kDim = 12;

// Tensors with made-up values, and the table that points to them.
struct Weights {
  std::vector<std::vector<float>> values;
  std::vector<std::string> names;
  std::vector<std::vector<std::int64_t>> shapes;

  const std::vector<float>& of(const std::string& name) const {
    return values[static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin())];
  }

  void add_vector(const std::string& name, std::int64_t count) {
    add(name, 1, count);
    shapes.back() = {count};
  }

  void add(const std::string& name, std::int64_t rows, std::int64_t columns) {
    std::vector<float> tensor(static_cast<std::size_t>(rows * columns));
    for (std::size_t i = 0; i < tensor.size(); ++i) {
      tensor[i] = std::sin(static_cast<float>(i * 7 + values.size() * 13 + 1));
    }
    values.push_back(std::move(tensor));
    names.push_back(name);
    shapes.push_back({rows, columns});
  }

  evsam::TensorTable table() const {
    evsam::TensorTable result;
    for (std::size_t i = 0; i < names.size(); ++i) {
      result.add(names[i], {evsam::DType::kFloat32, shapes[i], values[i].data()});
    }
    return result;
  }
};

Weights make_weights() {
  Weights weights;
  weights.add("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 2, kDim / 2);
  weights.add("prompt_encoder.not_a_point_embed.weight", 1, kDim);
  for (int i = 0; i < 4; ++i) weights.add("prompt_encoder.point_embeddings." + std::to_string(i) + ".weight", 1, kDim);
  weights.add("mask_decoder.iou_token.weight", 1, kDim);
  weights.add("mask_decoder.mask_tokens.weight", 4, kDim);
  return weights;
}

// Channel c of the encoding of (x, y).
double encoding(const Weights& weights, double x, double y, std::int64_t c) {
  const std::int64_t half = kDim / 2;
  const auto i = static_cast<std::size_t>(c % half);
  const double angle = 2.0 * 3.14159265358979323846 *
                       ((2.0 * x / 1024.0 - 1.0) * static_cast<double>(weights.values[0][i]) +
                        (2.0 * y / 1024.0 - 1.0) * static_cast<double>(weights.values[0][i + half]));
  return c < half ? std::sin(angle) : std::cos(angle);
}

bool close(float got, double expected) { return std::abs(static_cast<double>(got) - expected) < 1e-6; }

void test_tokens(const PromptTokens& tokens, const Weights& weights) {
  const std::vector<float> xy = {1.0F, 2.0F, 3.0F, 4.0F, 5.0F,    6.0F,  10.25F, 20.5F,  1000.0F, 7.0F,
                                 0.0F, 0.0F, 1.5F, 9.0F, 1023.5F, 12.0F, 512.0F, 511.0F, 31.0F,   77.0F};
  const std::vector<std::int32_t> labels = {0, 0, 0, 0, 0, -1, 0, 1, 2, 3};
  const evsam::Prompts prompts{2, 5, xy.data(), labels.data(), nullptr};
  std::vector<float> out((PromptTokens::kOutputTokens + 5) * kDim, std::nanf(""));
  tokens.write(prompts, 1, out.data());
  bool output_tokens = true;
  bool points = true;
  for (std::size_t c = 0; c < kDim; ++c) {
    output_tokens = output_tokens && out[c] == weights.values[6][c];
    for (std::size_t t = 0; t < 4; ++t) {
      output_tokens = output_tokens && out[(1 + t) * kDim + c] == weights.values[7][t * kDim + c];
    }
    for (std::size_t t = 0; t < 5; ++t) {
      const std::int32_t label = labels[5 + t];
      double expected = static_cast<double>(weights.values[static_cast<std::size_t>(2 + label)][c]);
      if (label >= 0) {
        expected += encoding(weights, static_cast<double>(xy[10 + 2 * t]) + 0.5,
                             static_cast<double>(xy[11 + 2 * t]) + 0.5, static_cast<std::int64_t>(c));
      }
      points = points && close(out[(5 + t) * kDim + c], expected);
    }
  }
  CHECK(output_tokens);
  CHECK(points);
}

void test_cell_positions(const PromptTokens& tokens, const Weights& weights) {
  constexpr std::int64_t kRows = 5;
  constexpr std::int64_t kColumns = 3;
  std::vector<float> out(kRows * kColumns * kDim, std::nanf(""));
  tokens.cell_positions(kRows, kColumns, 16.0, out.data());
  bool equal = true;
  for (std::int64_t y = 0; y < kRows; ++y) {
    for (std::int64_t x = 0; x < kColumns; ++x) {
      for (std::int64_t c = 0; c < kDim; ++c) {
        const double expected =
            encoding(weights, (static_cast<double>(x) + 0.5) * 16.0, (static_cast<double>(y) + 0.5) * 16.0, c);
        equal = equal && close(out[static_cast<std::size_t>((y * kColumns + x) * kDim + c)], expected);
      }
    }
  }
  CHECK(equal);
}

// Three layers with ReLU between them, on a token of kDim values.
std::vector<double> network(const Weights& weights, const std::string& name, const float* token) {
  std::vector<double> x(token, token + kDim);
  for (int l = 0; l < 3; ++l) {
    const std::string layer = name + ".layers." + std::to_string(l);
    const std::vector<float>& weight = weights.of(layer + ".weight");
    const std::vector<float>& bias = weights.of(layer + ".bias");
    std::vector<double> y(bias.begin(), bias.end());
    for (std::size_t o = 0; o < y.size(); ++o) {
      for (std::size_t i = 0; i < x.size(); ++i) y[o] += static_cast<double>(weight[o * x.size() + i]) * x[i];
      if (l < 2) y[o] = std::max(y[o], 0.0);
    }
    x = y;
  }
  return x;
}

void test_heads() {
  constexpr std::int64_t kMaskDim = 5;
  constexpr std::int64_t kIouHidden = 17;
  constexpr std::int64_t kTokens = 8;  // of a prompt: of the output, and three points
  const std::string prefix = "mask_decoder.";
  const auto name_of = [&](std::size_t n) {
    return prefix +
           (n == 0 ? std::string("iou_prediction_head") : "output_hypernetworks_mlps." + std::to_string(n - 1));
  };
  Weights weights;
  for (std::size_t n = 0; n <= 4; ++n) {
    const std::int64_t hidden = n == 0 ? kIouHidden : kDim;
    const std::int64_t widths[4] = {kDim, hidden, hidden, n == 0 ? 4 : kMaskDim};
    for (int l = 0; l < 3; ++l) {
      weights.add(name_of(n) + ".layers." + std::to_string(l) + ".weight", widths[l + 1], widths[l]);
      weights.add_vector(name_of(n) + ".layers." + std::to_string(l) + ".bias", widths[l + 1]);
    }
  }
  evsam::TokenHeads heads;
  const evsam::Status status = heads.load(kDim, kMaskDim, kIouHidden, weights.table());
  CHECK_MSG(status.ok(), status.message());
  for (std::size_t prompts = 1; prompts <= 3; ++prompts) {
    std::vector<float> tokens(prompts * kTokens * kDim);
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = std::cos(static_cast<float>(i * 5 + 2));
    std::vector<float> first;
    for (int threads = 1; threads <= 4; ++threads) {
      const auto count = static_cast<std::int64_t>(prompts);
      evsam::AlignedBuffer<float> workspace(heads.workspace_bytes(count) / sizeof(float));
      for (std::size_t i = 0; i < workspace.size(); ++i) workspace[i] = std::nanf("");
      std::vector<float> out(prompts * 4 * (kMaskDim + 1), std::nanf(""));
      float* const iou = out.data() + prompts * 4 * kMaskDim;
      heads.run({nullptr, threads, workspace.data(), workspace.bytes()}, tokens.data(), count, kTokens, {}, out.data(),
                iou);
      bool equal = true;
      for (std::size_t p = 0; p < prompts; ++p) {
        for (std::size_t n = 0; n <= 4; ++n) {
          const std::vector<double> expected = network(weights, name_of(n), tokens.data() + (p * kTokens + n) * kDim);
          const float* got = n == 0 ? iou + p * 4 : out.data() + (p * 4 + n - 1) * kMaskDim;
          for (std::size_t i = 0; i < expected.size(); ++i) {
            equal = equal && std::abs(static_cast<double>(got[i]) - expected[i]) < 1e-4;
          }
        }
      }
      CHECK_MSG(equal, std::to_string(prompts) + " prompts");
      if (threads == 1) first = out;
      CHECK_MSG(out == first, "other bits with " + std::to_string(threads) + " threads");
    }
  }
}

}  // namespace

int main() {
  test_heads();
  const Weights weights = make_weights();
  PromptTokens tokens;
  const evsam::Status status = tokens.load(kDim, weights.table());
  CHECK_MSG(status.ok(), status.message());
  test_tokens(tokens, weights);
  test_cell_positions(tokens, weights);
  const evsam::Status missing = tokens.load(kDim + 2, weights.table());
  CHECK_MSG(missing.message() ==
                "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix: expected a tensor of shape (2, 7), got "
                "(2, 6)",
            missing.message());
  return evsam::test::test_result();
}
