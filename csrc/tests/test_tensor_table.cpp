// Reading tensors of each dtype, folding batch norms, and the errors.
#include "engine/tensor_table.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "check.h"

namespace {

using namespace evsam;

template <typename T>
StoredTensor stored(DType dtype, const std::vector<std::int64_t>& shape, const std::vector<T>& values) {
  StoredTensor tensor;
  tensor.dtype = dtype;
  tensor.shape = shape;
  tensor.data = values.data();
  return tensor;
}

void test_dtypes() {
  const std::vector<float> singles = {1.5F, -2.0F};
  const std::vector<double> doubles = {0.1, -1e30};
  // 1, -2, largest, smallest normal, smallest subnormal, -0
  const std::vector<std::uint16_t> halves = {0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x8000};
  TensorTable table;
  table.add("singles", stored(DType::kFloat32, {2}, singles));
  table.add("doubles", stored(DType::kFloat64, {2}, doubles));
  table.add("halves", stored(DType::kFloat16, {2, 3}, halves));
  std::vector<float> values;
  CHECK(table.read("singles", {2}, &values).ok());
  CHECK(values == singles);
  CHECK(table.read("doubles", {2}, &values).ok());
  CHECK(values[0] == 0.1F && values[1] == -1e30F);
  CHECK(table.read("halves", {2, 3}, &values).ok());
  CHECK(values[0] == 1.0F && values[1] == -2.0F && values[2] == 65504.0F);
  CHECK(values[3] == std::ldexp(1.0F, -14) && values[4] == std::ldexp(1.0F, -24));
  CHECK(values[5] == 0.0F && std::signbit(values[5]));
}

// One bad value among good ones, at any place, in each dtype.
template <typename T>
void check_refused(DType dtype, T good, const std::vector<T>& bad_values) {
  for (const T bad : bad_values) {
    for (const std::size_t place : {0, 17, 36}) {
      std::vector<T> values(37, good);
      values[place] = bad;
      TensorTable table;
      table.add("layer", stored(dtype, {37}, values));
      std::vector<float> read;
      const Status status = table.read("layer", {37}, &read);
      CHECK_MSG(status.message() == "layer: expected finite numbers, got NaN or infinity", status.message());
    }
  }
}

void test_values_that_are_not_finite() {
  const float infinity = std::numeric_limits<float>::infinity();
  check_refused<float>(DType::kFloat32, 1.0F, {infinity, -infinity, std::nanf("1"), -std::nanf("")});
  // infinities, quiet and signalling NaN
  check_refused<std::uint16_t>(DType::kFloat16, 0x7BFF, {0x7C00, 0xFC00, 0x7E00, 0xFD01});
  check_refused<double>(DType::kFloat64, 3e38, {1e300, -1e39, std::nan("")});  // beyond float32 is infinite in it
}

void test_norms_that_are_not_finite() {
  const std::vector<float> weight = {1e30F};
  const auto folded = [&](float gain, float mean, float variance) {
    const std::vector<float> gains = {gain};
    const std::vector<float> zero = {0.0F};
    const std::vector<float> means = {mean};
    const std::vector<float> variances = {variance};
    TensorTable table;
    table.add("layer.conv.weight", stored(DType::kFloat32, {1, 1, 1, 1}, weight));
    table.add("layer.norm.weight", stored(DType::kFloat32, {1}, gains));
    table.add("layer.norm.bias", stored(DType::kFloat32, {1}, zero));
    table.add("layer.norm.running_mean", stored(DType::kFloat32, {1}, means));
    table.add("layer.norm.running_var", stored(DType::kFloat32, {1}, variances));
    LayerWeights layer;
    return table.read_conv_layer("layer", {1, 1, 1, 1}, &layer);
  };
  CHECK(folded(1.0F, 0.0F, 1.0F).ok());
  const std::string message = "layer.norm: expected a batch norm that folds into finite weights, got NaN or infinity";
  CHECK(folded(1.0F, 0.0F, -1.0F).message() == message);     // the root of a negative number
  CHECK(folded(1e30F, 0.0F, 1.0F).message() == message);     // the weight overflows
  CHECK(folded(1000.0F, 1e38F, 1.0F).message() == message);  // the bias does
}

void test_unaligned_data() {
  std::vector<char> bytes(1 + 2 * sizeof(float));
  const float pair[2] = {3.0F, 4.0F};
  std::copy(reinterpret_cast<const char*>(pair), reinterpret_cast<const char*>(pair) + sizeof(pair), bytes.data() + 1);
  StoredTensor tensor;
  tensor.dtype = DType::kFloat32;
  tensor.shape = {2};
  tensor.data = bytes.data() + 1;
  TensorTable table;
  table.add("x", tensor);
  std::vector<float> values;
  CHECK(table.read("x", {2}, &values).ok());
  CHECK(values[0] == 3.0F && values[1] == 4.0F);
}

void test_norm_is_folded() {
  const std::vector<float> weight = {1.0F, 2.0F, 3.0F, 4.0F};  // (2, 2, 1, 1)
  const std::vector<float> conv_bias = {0.5F, -0.5F};
  const std::vector<float> gain = {2.0F, 3.0F};
  const std::vector<float> shift = {0.25F, 0.75F};
  const std::vector<float> mean = {1.0F, -1.0F};
  const std::vector<float> variance = {4.0F, 0.0F};
  TensorTable table;
  table.add("layer.conv.weight", stored(DType::kFloat32, {2, 2, 1, 1}, weight));
  LayerWeights layer;
  const std::vector<float>& w = layer.weight;
  const std::vector<float>& b = layer.bias;
  CHECK(table.read_conv_layer("layer", {2, 2, 1, 1}, &layer).ok());
  CHECK(w == weight && b == std::vector<float>(2, 0.0F));

  table.add("layer.conv.bias", stored(DType::kFloat32, {2}, conv_bias));
  CHECK(table.read_conv_layer("layer", {2, 2, 1, 1}, &layer).ok());
  CHECK(w == weight && b == conv_bias);

  table.add("layer.norm.weight", stored(DType::kFloat32, {2}, gain));
  table.add("layer.norm.bias", stored(DType::kFloat32, {2}, shift));
  table.add("layer.norm.running_mean", stored(DType::kFloat32, {2}, mean));
  CHECK(!table.read_conv_layer("layer", {2, 2, 1, 1}, &layer).ok());  // no running_var
  table.add("layer.norm.running_var", stored(DType::kFloat32, {2}, variance));
  CHECK(table.read_conv_layer("layer", {2, 2, 1, 1}, &layer).ok());
  for (std::size_t c = 0; c < 2; ++c) {
    const double scale = gain[c] / std::sqrt(variance[c] + 1e-6);
    for (std::size_t k = 0; k < 2; ++k) CHECK(w[2 * c + k] == static_cast<float>(weight[2 * c + k] * scale));
    const double bias = (static_cast<double>(conv_bias[c]) - mean[c]) * scale + shift[c];
    CHECK(b[c] == static_cast<float>(bias));
  }
}

void test_messages() {
  const std::vector<float> singles = {1.5F, -2.0F};
  TensorTable table;
  table.add("x", stored(DType::kFloat32, {2}, singles));
  table.add("bits", stored(DType::kInt32, {2}, singles));
  std::vector<float> values;
  CHECK(table.read("y", {2}, &values).message() == "y: expected a tensor of shape (2,), got none");
  LayerWeights layer;
  table.add("wide.weight", stored(DType::kFloat32, {1, 2}, singles));
  table.add("wide.bias", stored(DType::kFloat32, {2}, singles));
  CHECK(table.read_layer("wide", {1, 2}, &layer, 1).ok() && layer.weight == singles && layer.bias == singles);
  CHECK(table.read_layer("wide", {1, 2}, &layer).message() == "wide.bias: expected a tensor of shape (1,), got (2,)");
  CHECK(table.read("x", {1, 2}, &values).message() == "x: expected a tensor of shape (1, 2), got (2,)");
  CHECK(table.read("bits", {2}, &values).message() == "bits: expected dtype float32, float16 or float64, got int32");
}

}  // namespace

int main() {
  test_dtypes();
  test_values_that_are_not_finite();
  test_norms_that_are_not_finite();
  test_unaligned_data();
  test_norm_is_folded();
  test_messages();
  return evsam::test::test_result();
}
