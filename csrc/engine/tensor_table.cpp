#include "engine/tensor_table.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "core/finite.h"
#include "core/float16.h"
#include "core/hash.h"
#include "core/mapped_file.h"
#include "core/thread_pool.h"

namespace evsam {
namespace {

constexpr double kNormEps = 1e-6;  // every batch norm of the family

Status not_finite(const std::string& name, const std::string& expected) {
  return Status::invalid_argument(expected_got(name, expected, "NaN or infinity"));
}

std::size_t element_count(const std::vector<std::int64_t>& shape) {
  std::size_t count = 1;
  for (std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
  return count;
}

// Elements may lie at any address in a file.
template <typename T>
T load_element(const void* data, std::size_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + index * sizeof(T), sizeof(T));
  return value;
}

bool begins_with(const std::string& name, const std::string& prefix) {
  return name.compare(0, prefix.size(), prefix) == 0;
}

std::size_t bytes_of(const StoredTensor& tensor) { return element_count(tensor.shape) * dtype_size(tensor.dtype); }

}  // namespace

bool TensorTable::has_any(const std::string& prefix) const {
  return std::any_of(tensors_.begin(), tensors_.end(),
                     [&](const auto& entry) { return begins_with(entry.first, prefix); });
}

std::size_t TensorTable::bytes(const std::string& prefix) const {
  std::size_t sum = 0;
  for (const auto& [name, tensor] : tensors_) {
    if (begins_with(name, prefix)) sum += bytes_of(tensor);
  }
  return sum;
}

std::uint64_t TensorTable::digest(const std::string& prefix, int threads) const {
  std::vector<const std::pair<const std::string, StoredTensor>*> chosen;
  for (const auto& item : tensors_) {
    if (begins_with(item.first, prefix)) chosen.push_back(&item);
  }
  // The largest first, so that none of them is left for the end.
  std::sort(chosen.begin(), chosen.end(),
            [](const auto* a, const auto* b) { return bytes_of(a->second) > bytes_of(b->second); });
  std::atomic<std::uint64_t> sum{0};  // of what does not depend on the order
  default_pool().parallel_for(static_cast<std::int64_t>(chosen.size()), threads, [&](std::int64_t i, int) {
    const auto& [name, tensor] = *chosen[static_cast<std::size_t>(i)];
    std::uint64_t hash = hash_bytes(name.data(), name.size(), static_cast<std::uint64_t>(tensor.dtype));
    hash = hash_bytes(tensor.shape.data(), tensor.shape.size() * sizeof(std::int64_t), hash);
    sum += hash_bytes(tensor.data, bytes_of(tensor), hash);
    if (tensor.mapped) drop_file_pages(tensor.data, bytes_of(tensor));
  });
  return sum;
}

Status TensorTable::read(const std::string& name, const std::vector<std::int64_t>& shape,
                         std::vector<float>* values) const {
  const auto found = tensors_.find(name);
  const std::string expected = "a tensor of shape " + shape_string(shape.data(), static_cast<int>(shape.size()));
  if (found == tensors_.end()) return Status::invalid_argument(expected_got(name, expected, "none"));
  const StoredTensor& tensor = found->second;
  if (tensor.shape != shape) {
    return Status::invalid_argument(
        expected_got(name, expected, shape_string(tensor.shape.data(), static_cast<int>(tensor.shape.size()))));
  }
  const std::size_t count = element_count(shape);
  values->resize(count);
  if (count == 0) return {};  // there may be no memory to copy from or to
  switch (tensor.dtype) {
    case DType::kFloat32: std::memcpy(values->data(), tensor.data, count * sizeof(float)); break;
    case DType::kFloat16:
      for (std::size_t i = 0; i < count; ++i) {
        (*values)[i] = float_of_fp16(load_element<std::uint16_t>(tensor.data, i));
      }
      break;
    case DType::kFloat64:
      for (std::size_t i = 0; i < count; ++i) (*values)[i] = static_cast<float>(load_element<double>(tensor.data, i));
      break;
    default:
      return Status::invalid_type(expected_got(name, "dtype float32, float16 or float64", dtype_name(tensor.dtype)));
  }
  if (!all_finite(values->data(), count)) return not_finite(name, "finite numbers");
  if (tensor.mapped) drop_file_pages(tensor.data, count * dtype_size(tensor.dtype));
  return {};
}

Status TensorTable::read_layer(const std::string& name, const std::vector<std::int64_t>& shape, LayerWeights* layer,
                               std::size_t outputs) const {
  EVSAM_RETURN_IF_ERROR(read(name + ".weight", shape, &layer->weight));
  return read(name + ".bias", {shape[outputs]}, &layer->bias);
}

Status TensorTable::read_conv_layer(const std::string& name, const std::vector<std::int64_t>& shape,
                                    LayerWeights* layer) const {
  std::vector<float>& weight = layer->weight;
  std::vector<float>& bias = layer->bias;
  EVSAM_RETURN_IF_ERROR(read(name + ".conv.weight", shape, &weight));
  const std::int64_t channels = shape[0];
  bias.assign(static_cast<std::size_t>(channels), 0.0F);
  if (has(name + ".conv.bias")) EVSAM_RETURN_IF_ERROR(read(name + ".conv.bias", {channels}, &bias));
  if (!has(name + ".norm.weight")) return {};

  LayerWeights norm;
  std::vector<float> mean;
  std::vector<float> variance;
  EVSAM_RETURN_IF_ERROR(read_layer(name + ".norm", {channels}, &norm));
  EVSAM_RETURN_IF_ERROR(read(name + ".norm.running_mean", {channels}, &mean));
  EVSAM_RETURN_IF_ERROR(read(name + ".norm.running_var", {channels}, &variance));
  const std::size_t fan_in = weight.size() / static_cast<std::size_t>(channels);
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    const double scale = norm.weight[c] / std::sqrt(static_cast<double>(variance[c]) + kNormEps);
    for (std::size_t i = c * fan_in; i < (c + 1) * fan_in; ++i) {
      weight[i] = static_cast<float>(weight[i] * scale);
    }
    bias[c] = static_cast<float>((static_cast<double>(bias[c]) - mean[c]) * scale + norm.bias[c]);
  }
  if (!all_finite(weight.data(), weight.size()) ||
      !all_finite(bias.data(), bias.size())) {  // a negative variance, or values that are finite but huge
    return not_finite(name + ".norm", "a batch norm that folds into finite weights");
  }
  return {};
}

}  // namespace evsam
