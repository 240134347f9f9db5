// "Device memory" of the emulated kernels: host memory of the exact size, aligned as CUDA's, holding any storage type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

#include "cuda/emulation/float16.h"
#include "evsam/tensor_view.h"

namespace evsam::test {

inline double eps_of(DType dtype) {
  return dtype == DType::kFloat16 ? 0x1p-10 : dtype == DType::kBFloat16 ? 0x1p-7 : 0x1p-23;
}

// `value` as the dtype stores it.
inline double rounded(DType dtype, double value) {
  using namespace cuda::emulation;
  const float single = static_cast<float>(value);
  if (dtype == DType::kFloat16) return static_cast<double>(f16_to_float(float_to_f16(single)));
  if (dtype == DType::kBFloat16) return static_cast<double>(float_of(float_to_bf16(single) << 16));
  return static_cast<double>(single);
}
inline std::vector<double> rounded(DType dtype, std::vector<double> values) {
  for (double& value : values) value = rounded(dtype, value);
  return values;
}

class DeviceMemory {
 public:
  // `count` numbers that are NaN.
  DeviceMemory(DType dtype, std::int64_t count) : dtype_(dtype), count_(static_cast<std::size_t>(count)) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 256, bytes()) != 0) std::abort();
    std::memset(memory, 0xff, bytes());
    data_.reset(memory);
  }
  DeviceMemory(DType dtype, const std::vector<double>& values)
      : DeviceMemory(dtype, static_cast<std::int64_t>(values.size())) {
    for (std::size_t i = 0; i < count_; ++i) set(i, values[i]);
  }

  void* data() const { return data_.get(); }
  std::size_t bytes() const { return count_ * dtype_size(dtype_); }
  DType dtype() const { return dtype_; }

  void set(std::size_t index, double value) {
    using namespace cuda::emulation;
    const float single = static_cast<float>(value);
    char* to = static_cast<char*>(data()) + index * dtype_size(dtype_);
    if (dtype_ == DType::kFloat32) {
      std::memcpy(to, &single, sizeof single);
    } else {
      const auto bits =
          static_cast<std::uint16_t>(dtype_ == DType::kFloat16 ? float_to_f16(single) : float_to_bf16(single));
      std::memcpy(to, &bits, sizeof bits);
    }
  }

  std::vector<double> values() const {
    using namespace cuda::emulation;
    std::vector<double> result(count_);
    for (std::size_t i = 0; i < count_; ++i) {
      const char* from = static_cast<const char*>(data()) + i * dtype_size(dtype_);
      float single = 0.0F;
      std::uint16_t bits = 0;
      if (dtype_ == DType::kFloat32) {
        std::memcpy(&single, from, sizeof single);
      } else {
        std::memcpy(&bits, from, sizeof bits);
        single = dtype_ == DType::kFloat16 ? f16_to_float(bits) : float_of(static_cast<std::uint32_t>(bits) << 16);
      }
      result[i] = static_cast<double>(single);
    }
    return result;
  }

  // Strides in elements.
  TensorView view(std::initializer_list<std::int64_t> shape, std::initializer_list<std::int64_t> strides) const {
    TensorView result;
    result.data = data();
    result.dtype = dtype_;
    result.ndim = static_cast<int>(shape.size());
    std::size_t i = 0;
    for (const std::int64_t extent : shape) result.shape[i++] = extent;
    i = 0;
    for (const std::int64_t stride : strides) result.strides[i++] = stride;
    return result;
  }

  // (B, C, H, W), channels last or first in memory.
  TensorView map(std::int64_t batch, std::int64_t channels, std::int64_t height, std::int64_t width,
                 bool channels_last = true) const {
    const std::int64_t pixels = height * width;
    if (channels_last) {
      return view({batch, channels, height, width}, {pixels * channels, 1, width * channels, channels});
    }
    return view({batch, channels, height, width}, {pixels * channels, pixels, width, 1});
  }

  TensorView vector() const {
    const auto length = static_cast<std::int64_t>(count_);
    return view({length}, {1});
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  DType dtype_;
  std::size_t count_;
  std::unique_ptr<void, Free> data_;
};

}  // namespace evsam::test
