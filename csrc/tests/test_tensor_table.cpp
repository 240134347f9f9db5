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
  const std::vector<double> doubles = {0.1, 1e300};
  // 1, -2, largest, smallest normal, smallest subnormal, -0, infinity, NaN
  const std::vector<std::uint16_t> halves = {0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x8000, 0x7C00, 0x7E00};
  TensorTable table;
  table.add("singles", stored(DType::kFloat32, {2}, singles));
  table.add("doubles", stored(DType::kFloat64, {2}, doubles));
  table.add("halves", stored(DType::kFloat16, {2, 4}, halves));
  std::vector<float> values;
  CHECK(table.read("singles", {2}, &values).ok());
  CHECK(values == singles);
  CHECK(table.read("doubles", {2}, &values).ok());
  CHECK(values[0] == 0.1F && std::isinf(values[1]));
  CHECK(table.read("halves", {2, 4}, &values).ok());
  CHECK(values[0] == 1.0F && values[1] == -2.0F && values[2] == 65504.0F);
  CHECK(values[3] == std::ldexp(1.0F, -14) && values[4] == std::ldexp(1.0F, -24));
  CHECK(values[5] == 0.0F && std::signbit(values[5]));
  CHECK(std::isinf(values[6]) && std::isnan(values[7]));
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
  test_unaligned_data();
  test_norm_is_folded();
  test_messages();
  return evsam::test::test_result();
}
