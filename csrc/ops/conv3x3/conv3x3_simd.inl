// 3x3 convolution in float32, once for all vector instruction sets. An ISA file includes isa/<isa>.h, then this.
#include "isa/multiply_rows.h"
#include "ops/conv3x3/conv3x3_kernel.h"
#include "ops/conv3x3/winograd_simd.inl"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct Conv3x3 {
  static constexpr int L = F32::kLanes;

  template <typename S>
  static void winograd(const winograd::Tiles& block, const conv3x3::Output& output) {
    using W = Winograd<S>;
    constexpr std::int64_t kOutputs = W::kOutputs;
    W::input(block);
    const float* u = block.weights;
    for (std::int64_t c = 0; c < output.channels; c += block.columns) {
      const std::int64_t valid = output.channels - c < block.columns ? output.channels - c : block.columns;
      const std::int64_t columns = (valid + Gemm::kColumns - 1) / Gemm::kColumns * Gemm::kColumns;
      W::multiply(block, u, columns);
      u += W::kFilters * W::kFilters * columns * block.depth;
      for (std::int64_t t = 0; t < block.tiles; ++t) {
        const std::int64_t row = (block.first + t) / block.tiles_x * kOutputs;
        const std::int64_t column = (block.first + t) % block.tiles_x * kOutputs;
        const std::int64_t pixel = row * output.width + column;
        WinogradSink sink;
        sink.y = output.y + pixel * output.y_stride + c;
        sink.row_stride = output.width * output.y_stride;
        sink.pixel_stride = output.y_stride;
        sink.residual = output.residual == nullptr ? nullptr : output.residual + pixel * output.residual_stride + c;
        sink.residual_row_stride = output.width * output.residual_stride;
        sink.residual_pixel_stride = output.residual_stride;
        sink.rows = output.height - row < kOutputs ? output.height - row : kOutputs;
        sink.columns = output.width - column < kOutputs ? output.width - column : kOutputs;
        W::output(block, t, valid, output.bias + c, output.activation, sink);
      }
    }
  }

  static void run_winograd(winograd::Scheme scheme, const winograd::Tiles& block, const conv3x3::Output& output) {
    switch (scheme) {
      case winograd::Scheme::f2: return winograd<WinogradF2>(block, output);
      case winograd::Scheme::f4: return winograd<WinogradF4>(block, output);
      case winograd::Scheme::f6: return winograd<WinogradF6>(block, output);
      case winograd::Scheme::polyphase: return winograd<WinogradPolyphase>(block, output);
    }
  }

  // In whole vectors where there are `room` floats to read, and `to` is written in ascending order, so that what
  // reaches beyond `count` is overwritten by what follows.
  EVSAM_SIMD_INLINE void copy(const float* from, std::int64_t count, std::int64_t room, float* to) {
    std::int64_t i = 0;
    for (; i < count && i + L <= room; i += L) F32::store(to + i, F32::load(from + i));
    for (; i < count; ++i) to[i] = from[i];
  }

  static void clear(std::int64_t count, float* to) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = 0.0F;
  }

  // What output pixel (row, column) sees, tap by tap. Writes up to a vector beyond.
  EVSAM_SIMD_INLINE void gather(const conv3x3::DirectPixels& block, std::int64_t row, std::int64_t column, float* to) {
    const std::int64_t left = column * block.stride - 1;
    for (std::int64_t ky = 0; ky < 3; ++ky) {
      const std::int64_t y = row * block.stride + ky - 1;
      float* taps = to + ky * 3 * block.channels;
      if (y < 0 || y >= block.height) {
        clear(3 * block.channels, taps);
        continue;
      }
      const std::int64_t offset = (y * block.width + left) * block.x_stride;
      const float* x = block.x + offset;
      const std::int64_t room = (block.height * block.width - 1) * block.x_stride + block.channels - offset;
      if (left >= 0 && left + 3 <= block.width && block.x_stride == block.channels) {
        copy(x, 3 * block.channels, room, taps);
        continue;
      }
      for (std::int64_t kx = 0; kx < 3; ++kx) {
        if (left + kx < 0 || left + kx >= block.width) {
          clear(block.channels, taps + kx * block.channels);
        } else {
          copy(x + kx * block.x_stride, block.channels, room - kx * block.x_stride, taps + kx * block.channels);
        }
      }
    }
  }

  // Direct: gather a chunk of pixels that fits into the L1 or L2 cache, then the 1x1 convolution of 9 times as many
  // channels.
  static void run_direct(const conv3x3::DirectPixels& block, const conv3x3::Output& output) {
    const std::int64_t depth = 9 * block.channels;
    for (std::int64_t done = 0; done < block.pixels; done += block.chunk) {
      const std::int64_t first = block.first + done;
      const std::int64_t pixels = block.pixels - done < block.chunk ? block.pixels - done : block.chunk;
      std::int64_t row = first / output.width;
      std::int64_t column = first % output.width;
      for (std::int64_t p = 0; p < pixels; ++p) {
        gather(block, row, column, block.gathered + p * depth);
        if (++column == output.width) {
          column = 0;
          ++row;
        }
      }
      GemmRows product;
      product.parts[0] = {block.gathered, depth, depth};
      product.count = 1;
      product.added = output.residual == nullptr ? nullptr : output.residual + first * output.residual_stride;
      product.added_stride = output.residual_stride;
      product.y = output.y + first * output.y_stride;
      product.y_stride = output.y_stride;
      product.weights = block.weights;
      product.bias = output.bias;
      product.pixels = pixels;
      product.out_channels = output.channels;
      product.activation = output.activation;
      multiply_rows(product);
    }
  }
};

}  // namespace

extern const conv3x3::Kernel conv3x3_kernel = {&Conv3x3::run_winograd, &Conv3x3::run_direct, Gemm::kColumns,
                                               F32::kLanes};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
