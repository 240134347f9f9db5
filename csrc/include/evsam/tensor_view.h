// A typed pointer with shape and strides: what every op takes and gives. It owns nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace evsam {

enum class DType : std::uint8_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat64,
  kInt8,
  kUInt8,
  kInt32,
  kInt64,
  kBool,
  kOther,
};

// "float32", as NumPy spells it.
const char* dtype_name(DType dtype);
std::size_t dtype_size(DType dtype);  // bytes per element, 0 for kOther

// Strides count elements, not bytes, and may be negative or zero.
template <typename Pointer>
struct BasicTensorView {
  static constexpr int kMaxDims = 6;

  Pointer data = nullptr;
  DType dtype = DType::kOther;
  int ndim = 0;
  std::int64_t shape[kMaxDims] = {};
  std::int64_t strides[kMaxDims] = {};
};

using TensorView = BasicTensorView<void*>;
using ConstTensorView = BasicTensorView<const void*>;

}  // namespace evsam
