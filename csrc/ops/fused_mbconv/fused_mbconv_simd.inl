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

    // y (+)= the buffer's `depth` channels times their weights.
    void project(const float* weights, std::int64_t depth, bool resume) const {
      for_strips(*this, [&](const Strip& strip) {
        for (std::int64_t r = 0; r < strip.rows; ++r) {
          const std::int64_t pixel = (strip.row + r) * tail.width + strip.column;
          GemmRows product;
          product.parts[0] = {strip.buffer + r * strip.width * tail.hidden_block, tail.hidden_block, depth};
          product.count = 1;
          product.y = tail.y + pixel * tail.y_stride;
          product.y_stride = tail.y_stride;
          product.added = resume                     ? product.y
                          : tail.residual == nullptr ? nullptr
                                                     : tail.residual + pixel * tail.residual_stride;
          product.added_stride = resume ? tail.y_stride : tail.residual_stride;
          product.weights = weights;
          product.bias = resume ? tail.no_bias : tail.bias;
          product.pixels = strip.columns;
          product.out_channels = tail.channels;
          product.activation = Activation::none;
          multiply_rows(product);
        }
      });
    }

    void all() const {
      W::input(block);
      const float* u = block.weights;
      const float* point_weights = tail.point_weights;
      const std::int64_t panels = (tail.channels + Gemm::kColumns - 1) / Gemm::kColumns;
      for (std::int64_t h = 0; h < tail.hidden; h += tail.hidden_block) {
        const std::int64_t depth = tail.hidden - h < tail.hidden_block ? tail.hidden - h : tail.hidden_block;
        for (std::int64_t c = h; c < h + depth; c += block.columns) {
          const std::int64_t valid = tail.hidden - c < block.columns ? tail.hidden - c : block.columns;
          const std::int64_t columns = (valid + Gemm::kColumns - 1) / Gemm::kColumns * Gemm::kColumns;
          W::multiply(block, u, columns);
          u += W::kFilters * W::kFilters * columns * block.depth;
          transform_back(c, valid);
        }
        project(point_weights, depth, h > 0);
        point_weights += panels * depth * Gemm::kColumns;
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
