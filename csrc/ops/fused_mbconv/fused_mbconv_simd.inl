// Fused MBConv in float32, once for all vector instruction sets. An ISA file includes isa/<isa>.h, then this.
//
// For each block of hidden channels: the Winograd stages of conv3x3, activation included, into a buffer that stays in
// the cache, then its product with the 1x1 weights, added to what the earlier blocks left in y. The first block brings
// bias and residual.
#include "isa/multiply_rows.h"
#include "ops/conv3x3/winograd_simd.inl"
#include "ops/fused_mbconv/fused_mbconv_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct FusedMbconv {
  template <typename S>
  struct Run {
    using W = Winograd<S>;
    static constexpr std::int64_t kOutputs = W::kOutputs;

    const winograd::Tiles& block;
    const fused_mbconv::Tail& tail;

    // Tiles of the block side by side in one row of tiles. Their pixels lie in the buffer row by row.
    struct Strip {
      std::int64_t first;  // tile of the block
      std::int64_t tiles;
      std::int64_t row;  // of the image
      std::int64_t column;
      std::int64_t rows;  // inside the image
      std::int64_t columns;
      std::int64_t width;  // pixels from a row to the next in the buffer
      float* buffer;
    };

    template <typename F>
    EVSAM_SIMD_INLINE void for_strips(const Run& run, const F& f) {
      const winograd::Tiles& block = run.block;
      for (std::int64_t t = 0; t < block.tiles;) {
        const std::int64_t tile_x = (block.first + t) % block.tiles_x;
        const std::int64_t in_row = block.tiles_x - tile_x;
        Strip strip;
        strip.first = t;
        strip.tiles = in_row < block.tiles - t ? in_row : block.tiles - t;
        strip.row = (block.first + t) / block.tiles_x * kOutputs;
        strip.column = tile_x * kOutputs;
        strip.rows = run.tail.height - strip.row < kOutputs ? run.tail.height - strip.row : kOutputs;
        strip.width = strip.tiles * kOutputs;
        strip.columns = run.tail.width - strip.column < strip.width ? run.tail.width - strip.column : strip.width;
        strip.buffer = run.tail.buffer + t * kOutputs * kOutputs * run.tail.hidden_block;
        f(strip);
        t += strip.tiles;
      }
    }

    // Hidden channels [first, first + columns), one block of columns, of all tiles.
    void transform_back(std::int64_t first, std::int64_t columns) const {
      const std::int64_t stride = tail.hidden_block;
      for_strips(*this, [&](const Strip& strip) {
        for (std::int64_t t = 0; t < strip.tiles; ++t) {
          WinogradSink sink;
          sink.y = strip.buffer + t * kOutputs * stride + first % stride;
          sink.row_stride = strip.width * stride;
          sink.pixel_stride = stride;
          sink.residual = nullptr;
          sink.residual_row_stride = 0;
          sink.residual_pixel_stride = 0;
          sink.rows = strip.rows;
          const std::int64_t right = strip.columns - t * kOutputs;
          sink.columns = right < kOutputs ? right : kOutputs;
          W::output(block, strip.first + t, columns, tail.hidden_bias + first, tail.activation, sink);
        }
      });
    }

    // Pixels side by side in one row of a strip.
    struct Pixels {
      const float* hidden;
      const float* added;
      std::int64_t added_stride;
      float* y;
      std::int64_t count;
    };

    // y (+)= the buffer's `depth` channels, which begin with `first`, times their weights.
    void project(std::int64_t first, std::int64_t depth) const {
      const bool resume = first > 0;
      for_strips(*this, [&](const Strip& strip) {
        for (std::int64_t r = 0; r < strip.rows; ++r) {
          const std::int64_t pixel = (strip.row + r) * tail.width + strip.column;
          Pixels pixels;
          pixels.hidden = strip.buffer + r * strip.width * tail.hidden_block;
          pixels.y = tail.y + pixel * tail.y_stride;
          pixels.added = resume                     ? pixels.y
                         : tail.residual == nullptr ? nullptr
                                                    : tail.residual + pixel * tail.residual_stride;
          pixels.added_stride = resume ? tail.y_stride : tail.residual_stride;
          pixels.count = strip.columns;
          if (tail.narrow == nullptr) {
            multiply(pixels, first, depth);
          } else {
            multiply_narrow(pixels, first, depth);
          }
        }
      });
    }

    void multiply(const Pixels& pixels, std::int64_t first, std::int64_t depth) const {
      const std::int64_t panels = (tail.channels + Gemm::kColumns - 1) / Gemm::kColumns;
      GemmRows product;
      product.parts[0] = {pixels.hidden, tail.hidden_block, depth};
      product.count = 1;
      product.y = pixels.y;
      product.y_stride = tail.y_stride;
      product.added = pixels.added;
      product.added_stride = pixels.added_stride;
      product.weights = tail.point_weights + first * panels * Gemm::kColumns;
      product.bias = first > 0 ? tail.no_bias : tail.bias;
      product.pixels = pixels.count;
      product.out_channels = tail.channels;
      product.activation = Activation::none;
      multiply_rows(product);
    }

    void multiply_narrow(const Pixels& pixels, std::int64_t first, std::int64_t depth) const {
      const fused_mbconv::NarrowPoint& point = *tail.narrow;
      narrow::Rows product = point.blocks[first / tail.hidden_block];
      const std::int64_t bytes = product.depth * point.kernel->element;
      point.kernel->convert({pixels.hidden, tail.hidden_block, point.converted, bytes, pixels.count, depth,
                             product.depth, nullptr, point.scale, point.zero});
      product.parts[0] = {point.converted, bytes};
      product.scale = point.scale;
      product.zero = point.zero;
      product.scale_stride = 1;
      product.added = pixels.added;
      product.added_stride = pixels.added_stride;
      product.y = pixels.y;
      product.y_stride = tail.y_stride;
      product.pixels = pixels.count;
      product.activation = Activation::none;
      point.kernel->run(product);
    }

    void all() const {
      W::input(block);
      const float* u = block.weights;
      for (std::int64_t h = 0; h < tail.hidden; h += tail.hidden_block) {
        const std::int64_t depth = tail.hidden - h < tail.hidden_block ? tail.hidden - h : tail.hidden_block;
        for (std::int64_t c = h; c < h + depth; c += block.columns) {
          const std::int64_t valid = tail.hidden - c < block.columns ? tail.hidden - c : block.columns;
          const std::int64_t columns = (valid + Gemm::kColumns - 1) / Gemm::kColumns * Gemm::kColumns;
          W::multiply(block, u, columns);
          u += W::kFilters * W::kFilters * columns * block.depth;
          transform_back(c, valid);
        }
        project(h, depth);
      }
    }
  };

  static void run(winograd::Scheme scheme, const winograd::Tiles& block, const fused_mbconv::Tail& tail) {
    switch (scheme) {
      case winograd::Scheme::f2: return Run<WinogradF2>{block, tail}.all();
      case winograd::Scheme::f4: return Run<WinogradF4>{block, tail}.all();
      case winograd::Scheme::f6: return Run<WinogradF6>{block, tail}.all();
      case winograd::Scheme::polyphase: return Run<WinogradPolyphase>{block, tail}.all();
    }
  }
};

}  // namespace

extern const fused_mbconv::Kernel fused_mbconv_kernel = {&FusedMbconv::run, Gemm::kColumns, F32::kLanes};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
