// A panel of cells as the right operand of products with narrow numbers, where cells lie in lanes: rows of one channel
// each, as the ops around the two-way transformer keep them. Include isa/<isa>.h first.
#pragma once

#include "narrow/kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct NarrowColumns {
  const narrow::Kernel* kernel;
  std::int64_t count;
  float* scale = nullptr;
  float* offset = nullptr;
  float* bias = nullptr;  // zeros: a bias belongs to rows
  std::uint8_t* values = nullptr;

  // kernel: nullptr where products are float32. memory: narrow::column_bytes().
  NarrowColumns(const narrow::Kernel* by, std::int64_t columns, std::uint8_t* memory) : kernel(by), count(columns) {
    if (kernel == nullptr) return;
    const std::int64_t padded = (count + kernel->panel - 1) / kernel->panel * kernel->panel;
    scale = reinterpret_cast<float*>(memory);
    offset = scale + padded;
    bias = offset + padded;
    values = reinterpret_cast<std::uint8_t*>(bias + padded);
    for (std::int64_t i = 0; i < 3 * padded; ++i) scale[i] = 0.0F;
  }

  // Rows x[channel][cell] become the operand of the products that follow, with matrices of this depth.
  void convert(const float* x, std::int64_t x_stride, std::int64_t channels, std::int64_t depth) const {
    kernel->convert_columns({x, x_stride, values, count, channels, depth, scale, offset});
  }

  // y[row][cell] = added[row][cell] + the products; added: nullptr for none.
  void multiply(const narrow::Matrix& matrix, std::int64_t rows, const float* added, std::int64_t added_stride,
                float* y, std::int64_t y_stride) const {
    narrow::Rows products = {};
    products.parts[0] = {matrix.rows, matrix.stride};
    products.count = 1;
    products.depth = matrix.depth;
    products.scale = matrix.scale;
    products.zero = matrix.zero;
    products.scale_stride = 1;
    products.weights = values;
    products.weight_scale = scale;
    products.offset = offset;
    products.bias = bias;
    products.added = added;
    products.added_stride = added_stride;
    products.y = y;
    products.y_stride = y_stride;
    products.pixels = rows;
    products.out_channels = count;
    products.activation = Activation::none;
    kernel->run(products);
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
