// The transformer against its definition, written out directly in float64 on a small configuration.
#include "engine/two_way_transformer.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "check.h"
#include "core/kernels.h"
#include "core/scratch.h"
#include "core/workspace.h"
#include "ops/two_way_attention/two_way_attention.h"

namespace {

using namespace evsam;

constexpr std::int64_t kDim = 32;
constexpr int kDepth = 2;
constexpr int kHeads = 4;
constexpr std::int64_t kHidden = 48;
constexpr std::int64_t kTokens = 7;
constexpr std::int64_t kCells = 67;  // a few panels, the last not full
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

using Matrix = std::vector<double>;  // rows of kDim, or of what the function says

std::vector<float> random_floats(std::int64_t count, unsigned seed, float scale, float mean = 0.0F) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size(count));
  for (float& x : values) x = mean + scale * normal(random);
  return values;
}

struct Weights {
  std::unordered_map<std::string, std::vector<float>> values;
  TensorTable table;

  void add(const std::string& name, const std::vector<std::int64_t>& shape, float scale, float mean = 0.0F) {
    std::int64_t count = 1;
    for (std::int64_t extent : shape) count *= extent;
    std::vector<float>& of = values[name];
    of = random_floats(count, static_cast<unsigned>(values.size()), scale, mean);
    table.add(name, {DType::kFloat32, shape, of.data()});
  }
  void add_linear(const std::string& name, std::int64_t in, std::int64_t out) {
    add(name + ".weight", {out, in}, 1.0F / std::sqrt(static_cast<float>(in)));
    add(name + ".bias", {out}, 0.2F);
  }
  void add_attention(const std::string& name, std::int64_t inner) {
    for (const char* part : {".q_proj", ".k_proj", ".v_proj"}) add_linear(name + part, kDim, inner);
    add_linear(name + ".out_proj", inner, kDim);
  }
  void add_norm(const std::string& name) {
    add(name + ".weight", {kDim}, 0.1F, 1.0F);
    add(name + ".bias", {kDim}, 0.1F);
  }

  Weights() {
    for (int i = 0; i < kDepth; ++i) {
      const std::string layer = "t.layers." + std::to_string(i);
      add_attention(layer + ".self_attn", kDim);
      add_attention(layer + ".cross_attn_token_to_image", kDim / 2);
      add_attention(layer + ".cross_attn_image_to_token", kDim / 2);
      add_linear(layer + ".mlp.lin1", kDim, kHidden);
      add_linear(layer + ".mlp.lin2", kHidden, kDim);
      for (int n = 1; n <= 4; ++n) add_norm(layer + ".norm" + std::to_string(n));
    }
    add_attention("t.final_attn_token_to_image", kDim / 2);
    add_norm("t.norm_final_attn");
  }

  double at(const std::string& name, std::int64_t i) const { return static_cast<double>(values.at(name)[size(i)]); }
  std::int64_t count(const std::string& name) const { return static_cast<std::int64_t>(values.at(name).size()); }

  Matrix linear(const std::string& name, const Matrix& x) const {
    const std::int64_t out = count(name + ".bias");
    const std::int64_t in = count(name + ".weight") / out;
    const std::int64_t rows = static_cast<std::int64_t>(x.size()) / in;
    Matrix y(size(rows * out));
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t o = 0; o < out; ++o) {
        double sum = at(name + ".bias", o);
        for (std::int64_t i = 0; i < in; ++i) sum += at(name + ".weight", o * in + i) * x[size(r * in + i)];
        y[size(r * out + o)] = sum;
      }
    }
    return y;
  }

  Matrix norm(const std::string& name, Matrix x) const {
    for (std::size_t row = 0; row < x.size(); row += kDim) {
      double mean = 0.0;
      double variance = 0.0;
      for (std::size_t c = 0; c < kDim; ++c) mean += x[row + c] / kDim;
      for (std::size_t c = 0; c < kDim; ++c) variance += (x[row + c] - mean) * (x[row + c] - mean) / kDim;
      for (std::size_t c = 0; c < kDim; ++c) {
        const auto channel = static_cast<std::int64_t>(c);
        x[row + c] = (x[row + c] - mean) / std::sqrt(variance + 1e-6) * at(name + ".weight", channel) +
                     at(name + ".bias", channel);
      }
    }
    return x;
  }

  Matrix attention(const std::string& name, const Matrix& queries, const Matrix& keys, const Matrix& values_of) const {
    const Matrix q = linear(name + ".q_proj", queries);
    const Matrix k = linear(name + ".k_proj", keys);
    const Matrix v = linear(name + ".v_proj", values_of);
    const auto inner = size(count(name + ".q_proj.bias"));
    const std::size_t width = inner / kHeads;
    Matrix out(q.size());
    for (std::size_t row = 0; row < q.size(); row += inner) {
      for (std::size_t head = 0; head < inner; head += width) {
        std::vector<double> weights;
        for (std::size_t other = 0; other < k.size(); other += inner) {
          double sum = 0.0;
          for (std::size_t d = head; d < head + width; ++d) sum += q[row + d] * k[other + d];
          weights.push_back(std::exp(sum / std::sqrt(static_cast<double>(width))));
        }
        double total = 0.0;
        for (double weight : weights) total += weight;
        for (std::size_t i = 0; i < weights.size(); ++i) {
          for (std::size_t d = head; d < head + width; ++d) out[row + d] += weights[i] / total * v[i * inner + d];
        }
      }
    }
    return linear(name + ".out_proj", out);
  }
};

Matrix add(const Matrix& a, const Matrix& b) {
  Matrix sum(a);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += b[i];
  return sum;
}

struct State {
  Matrix tokens, image;
};

State oracle(const Weights& weights, const std::vector<float>& token_input, const std::vector<float>& image_input,
             const std::vector<float>& position_input) {
  const Matrix origin(token_input.begin(), token_input.end());
  const Matrix position(position_input.begin(), position_input.end());
  Matrix tokens = origin;
  Matrix image(image_input.begin(), image_input.end());
  for (int i = 0; i < kDepth; ++i) {
    const std::string layer = "t.layers." + std::to_string(i);
    if (i == 0) {
      tokens = weights.attention(layer + ".self_attn", tokens, tokens, tokens);
    } else {
      const Matrix q = add(tokens, origin);
      tokens = add(tokens, weights.attention(layer + ".self_attn", q, q, tokens));
    }
    tokens = weights.norm(layer + ".norm1", tokens);
    const Matrix keys = add(image, position);
    tokens = add(tokens, weights.attention(layer + ".cross_attn_token_to_image", add(tokens, origin), keys, image));
    tokens = weights.norm(layer + ".norm2", tokens);
    Matrix hidden = weights.linear(layer + ".mlp.lin1", tokens);
    for (double& x : hidden) x = std::max(x, 0.0);
    tokens = weights.norm(layer + ".norm3", add(tokens, weights.linear(layer + ".mlp.lin2", hidden)));
    image = add(image, weights.attention(layer + ".cross_attn_image_to_token", keys, add(tokens, origin), tokens));
    image = weights.norm(layer + ".norm4", image);
  }
  tokens =
      add(tokens, weights.attention("t.final_attn_token_to_image", add(tokens, origin), add(image, position), image));
  return {weights.norm("t.norm_final_attn", tokens), image};
}

// All numbers are of size one, and about ten layers follow each other, each with sums of up to a hundred products.
constexpr double kTolerance = 256.0 * 1.2e-7;

bool close(const float* got, const Matrix& expected, double tolerance = kTolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!(std::abs(static_cast<double>(got[i]) - expected[i]) < tolerance)) return false;
  }
  return true;
}

RunContext poisoned(Workspace& memory, std::size_t bytes, int threads) {
  RunContext context;
  context.threads = threads;
  context.workspace = memory.reserve(bytes);
  context.workspace_bytes = bytes;
  std::fill_n(static_cast<float*>(context.workspace), bytes / sizeof(float), kNaN);
  return context;
}

// Several prompts on one image, with and without what they share, with 1 to 4 threads.
void test_run(const TwoWayTransformer& transformer, const Weights& weights, std::int64_t prompts, std::int64_t count,
              double tolerance = kTolerance) {
  const two_way_attention::Kernel& kernel = transformer.kernel();
  const std::vector<float> position = random_floats(kCells * kDim, 1, 0.7F);
  const std::vector<float> image = random_floats(kCells * kDim, 2, 1.0F);
  const std::vector<float> tokens = random_floats(prompts * count * kDim, 3, 1.0F);
  const AlignedBuffer<float> image_panels = transformer.to_panels(image);
  const AlignedBuffer<float> position_panels = transformer.to_panels(position);
  std::vector<State> expected;
  for (std::int64_t p = 0; p < prompts; ++p) {
    const auto first = tokens.begin() + p * count * kDim;
    expected.push_back(oracle(weights, {first, first + count * kDim}, image, position));
  }

  for (const bool shared : {false, true}) {
    std::vector<float> first_tokens;
    std::vector<std::vector<float>> first_images;
    for (int threads = 1; threads <= 4; ++threads) {
      const std::string name = std::to_string(prompts) + " prompts, " + std::to_string(count) + " tokens, " +
                               std::to_string(threads) + " threads" + (shared ? ", shared" : "");
      std::vector<std::vector<float>> out(size(prompts), std::vector<float>(image_panels.size(), kNaN));
      std::vector<const float*> image_in(size(prompts), image_panels.data());
      std::vector<float*> image_out;
      for (std::vector<float>& panels : out) image_out.push_back(panels.data());
      std::vector<float> t = tokens;
      std::vector<float> projected(size(transformer.projected_floats(kCells)), kNaN);
      Workspace memory;
      if (shared) {
        const RunContext context = poisoned(memory, transformer.project_workspace_bytes(threads), threads);
        transformer.project(context, image_panels.data(), position_panels.data(), kCells, projected.data());
      }
      TwoWayTransformer::Group group;
      group.prompts = prompts;
      group.token_count = count;
      group.cells = kCells;
      group.tokens = t.data();
      group.image_in = image_in.data();
      group.image_out = image_out.data();
      group.position = position_panels.data();
      group.projected = shared ? projected.data() : nullptr;
      transformer.run(poisoned(memory, transformer.workspace_bytes(prompts, count, kCells, threads), threads), group);
      if (threads == 1) {
        first_tokens = t;
        first_images = out;
        for (std::int64_t p = 0; p < prompts; ++p) {
          std::vector<float> x(size(kCells * kDim));
          two_way_attention::from_panels(kernel, RunContext(), out[size(p)].data(), kCells, kDim, x.data());
          CHECK_MSG(close(t.data() + p * count * kDim, expected[size(p)].tokens, tolerance), name);
          CHECK_MSG(close(x.data(), expected[size(p)].image, tolerance), name + ": image");
        }
      }
      bool same = t == first_tokens;
      for (std::size_t p = 0; p < out.size(); ++p) {
        same = same && std::memcmp(out[p].data(), first_images[p].data(), out[p].size() * sizeof(float)) == 0;
      }
      CHECK_MSG(same, name + ": other bits");
    }
  }
}

// Its definition, written out.
std::vector<float> cells_of(const two_way_attention::FactoredOutput& output, std::int64_t cells, std::int64_t panel) {
  std::vector<float> x;
  for (std::int64_t cell = 0; cell < cells; ++cell) {
    const std::int64_t first = cell / panel * panel;
    const float* const weights = output.weights + first * output.weight_rows + cell % panel;
    for (std::int64_t c = 0; c < kDim; ++c) {
      float sum = output.common[first * output.common_rows + c * panel + cell % panel];
      for (std::int64_t m = 0; m < output.count; ++m) {
        sum += output.matrix.data[c * output.matrix.stride + m] * weights[m * panel];
      }
      x.push_back(output.bias[c] + sum * weights[output.inverse * panel]);
    }
  }
  return x;
}

// The same by cells in factors: with memory for more prompts than there are.
void test_factored(const TwoWayTransformer& transformer, const Weights& weights, std::int64_t prompts,
                   std::int64_t count, std::int64_t cells, double tolerance = kTolerance) {
  const std::vector<float> position = random_floats(cells * kDim, 1, 0.7F);
  const std::vector<float> image = random_floats(cells * kDim, 2, 1.0F);
  const std::vector<float> tokens = random_floats(prompts * count * kDim, 3, 1.0F);
  const AlignedBuffer<float> image_panels = transformer.to_panels(image);
  const AlignedBuffer<float> position_panels = transformer.to_panels(position);
  std::vector<float> first_tokens;
  std::vector<std::vector<float>> first_cells(size(prompts));
  for (int threads = 1; threads <= 4; ++threads) {
    const std::string name = std::to_string(prompts) + " prompts in factors, " + std::to_string(count) + " tokens, " +
                             std::to_string(cells) + " cells, " + std::to_string(threads) + " threads";
    Workspace memory;
    std::vector<float> shared(size(transformer.shared_floats(cells)), kNaN);
    transformer.prepare(poisoned(memory, transformer.prepare_workspace_bytes(threads), threads), image_panels.data(),
                        position_panels.data(), cells, shared.data());
    Scratch counted;
    transformer.carve_factored(counted, prompts + 1, count, cells, threads);
    Workspace of_group;
    Scratch scratch(poisoned(of_group, counted.bytes(), threads).workspace);
    FactoredCells::Group group = transformer.carve_factored(scratch, prompts + 1, count, cells, threads);
    group.prompts = prompts;
    group.shared = shared.data();
    std::vector<float> t = tokens;
    const RunContext context = poisoned(memory, transformer.factored_workspace_bytes(prompts, count, threads), threads);
    transformer.run_factored(context, group, t.data());
    if (threads == 1) first_tokens = t;
    CHECK_MSG(t == first_tokens, name + ": other bits");
    for (std::int64_t p = 0; p < prompts; ++p) {
      Scratch counted_output;
      transformer.carve_output(counted_output, count);
      Workspace of_output;
      Scratch output_scratch(poisoned(of_output, counted_output.bytes(), threads).workspace);
      const FactoredCells::OutputMemory output = transformer.carve_output(output_scratch, count);
      const std::vector<float> x =
          cells_of(transformer.factored_output(context, group, p, output), cells, transformer.kernel().panel);
      if (threads == 1) {
        first_cells[size(p)] = x;
        const auto first = tokens.begin() + p * count * kDim;
        const State expected = oracle(weights, {first, first + count * kDim}, image, position);
        CHECK_MSG(close(t.data() + p * count * kDim, expected.tokens, tolerance), name);
        CHECK_MSG(close(x.data(), expected.image, tolerance), name + ": image");
      }
      CHECK_MSG(x == first_cells[size(p)], name + ": other bits of the image");
    }
  }
}

// A prompt may have its cells replaced in place.
void test_in_place(const TwoWayTransformer& transformer, const Weights& weights) {
  const std::vector<float> position = random_floats(kCells * kDim, 1, 0.7F);
  const std::vector<float> image = random_floats(kCells * kDim, 2, 1.0F);
  std::vector<float> tokens = random_floats(kTokens * kDim, 3, 1.0F);
  const State expected = oracle(weights, tokens, image, position);
  AlignedBuffer<float> panels = transformer.to_panels(image);
  const AlignedBuffer<float> position_panels = transformer.to_panels(position);
  float* const cells = panels.data();
  TwoWayTransformer::Group group;
  group.prompts = 1;
  group.token_count = kTokens;
  group.cells = kCells;
  group.tokens = tokens.data();
  group.image_in = &cells;
  group.image_out = &cells;
  group.position = position_panels.data();
  Workspace memory;
  transformer.run(poisoned(memory, transformer.workspace_bytes(1, kTokens, kCells, 2), 2), group);
  std::vector<float> x(size(kCells * kDim));
  two_way_attention::from_panels(transformer.kernel(), RunContext(), cells, kCells, kDim, x.data());
  CHECK(close(tokens.data(), expected.tokens));
  CHECK(close(x.data(), expected.image));
}

}  // namespace

int main() {
  // For a run of each instruction set: those that this machine lacks are skipped.
  if (const char* isa = std::getenv("EVSAM_ISA")) {
    const std::vector<const Kernels*> all = runnable_kernels();
    constexpr int kSkipped = 77;
    if (std::none_of(all.begin(), all.end(), [&](const Kernels* k) { return isa == std::string(isa_name(k->isa)); })) {
      return kSkipped;
    }
  }
  const Weights weights;
  const DecoderConfig config = {false, kDim, kDepth, kHeads, kHidden, {}};
  TwoWayTransformer transformer;
  const Status status = transformer.load(config, weights.table, "t");
  CHECK_MSG(status.ok(), status.message());
  for (const std::int64_t count : {std::int64_t{1}, kTokens, std::int64_t{20}}) {
    test_run(transformer, weights, 1, count);
  }
  test_run(transformer, weights, 3, kTokens);
  test_in_place(transformer, weights);
  // As they are: multiplied with the unit matrix.
  std::vector<float> unit(size(kDim * kDim));
  for (std::int64_t c = 0; c < kDim; ++c) unit[size(c * kDim + c)] = 1.0F;
  const std::vector<float> no_bias(size(kDim));
  CHECK(transformer.load_factored(weights.table, "t", {{unit.data(), kDim}, no_bias.data(), kDim}).ok());
  for (const std::int64_t count : {std::int64_t{1}, std::int64_t{5}, kTokens, std::int64_t{20}}) {
    test_factored(transformer, weights, 1, count, kCells);
  }
  test_factored(transformer, weights, 9, kTokens, kCells);
  test_factored(transformer, weights, 2, kTokens, 16 * 64 + kCells);  // tasks of more than one strip
  // Narrow numbers: the errors of each layer's operands, halves of 2^-8 or of a 127th, add up over ten layers.
  for (const auto& [precision, tolerance] :
       {std::pair{Precision::bf16, 0.06}, std::pair{Precision::fp16, 0.01}, std::pair{Precision::int8, 0.15}}) {
    TwoWayTransformer narrow;
    CHECK(narrow.load(config, weights.table, "t", precision).ok());
    CHECK(narrow.load_factored(weights.table, "t", {{unit.data(), kDim}, no_bias.data(), kDim}).ok());
    test_run(narrow, weights, 3, kTokens, tolerance);
    test_factored(narrow, weights, 9, kTokens, kCells, tolerance);
  }
  TwoWayTransformer other;
  CHECK(other.load(config, weights.table, "u").message() ==
        "u.layers.0.self_attn.q_proj.weight: expected a tensor of shape (32, 32), got none");
  return evsam::test::test_result();
}
