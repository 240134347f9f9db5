// The tensors of a model by name, wherever they are kept: a mapped safetensors file, or arrays of the Python side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam {

struct StoredTensor {
  DType dtype = DType::kOther;  // float32, float16 or float64
  std::vector<std::int64_t> shape;
  const void* data = nullptr;  // C order, any alignment; owned by somebody who outlives the table
  // The data are a read-only mapping of a file. Each page is dropped once it was read, so that loading a model does not
  // hold the file's pages and the packed weights at the same time.
  bool mapped = false;
};

// What one layer has.
struct LayerWeights {
  std::vector<float> weight;
  std::vector<float> bias;
};

class TensorTable {
 public:
  void add(std::string name, StoredTensor tensor) { tensors_[std::move(name)] = std::move(tensor); }
  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  std::size_t size() const { return tensors_.size(); }

  // Whether there is any tensor whose name begins with `prefix`.
  bool has_any(const std::string& prefix) const;

  // Bytes of the tensors whose names begin with `prefix`.
  std::size_t bytes(const std::string& prefix) const;

  // 64 bits of these tensors' names, dtypes, shapes and bytes, in whatever order they were added: to tell weights apart
  // that are different by accident, not by intent. Threads read side by side.
  std::uint64_t digest(const std::string& prefix, int threads) const;

  // The tensor's values as float32. Fails where there is no such tensor, its shape is another one, or a value is not
  // finite as float32: one NaN in the weights would be a NaN in every answer.
  Status read(const std::string& name, const std::vector<std::int64_t>& shape, std::vector<float>* values) const;

  // `<name>.weight` of that shape and `<name>.bias` with a value for each index of the weight's axis `outputs`.
  Status read_layer(const std::string& name, const std::vector<std::int64_t>& shape, LayerWeights* layer,
                    std::size_t outputs = 0) const;

  // A convolution `<name>.conv.weight` (and .bias) of shape (out, in / groups, size, size) with the batch norm
  // `<name>.norm.*`, where there is one, folded into it (eps 1e-6, in float64). The bias is always filled. Fails where
  // what comes of the folding is not finite.
  Status read_conv_layer(const std::string& name, const std::vector<std::int64_t>& shape, LayerWeights* layer) const;

 private:
  std::unordered_map<std::string, StoredTensor> tensors_;
};

}  // namespace evsam
