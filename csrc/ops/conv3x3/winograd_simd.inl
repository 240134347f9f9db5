// The stages of Winograd convolution in float32, once for all vector instruction sets: conv3x3 and fused_mbconv include
// it after isa/<isa>.h and build their kernels from it.
//
//   input   V[product] = B^T d B     a vector is channels of one tile; both 1-D passes run on registers
//   multiply M[product] = V[product] U[product], a matrix product over (tiles, channels, output channels)
//   output  Y = A^T M A              per tile and vector of output channels; the caller stores it
//
// The 1-D transforms are written out by hand. Nearly all have the form E +- p O for a pair of interpolation points +-p,
// where E and O take the even and odd samples.
#include "isa/activation.inl"
#include "isa/gemm.inl"
#include "ops/conv3x3/winograd_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

// a * b + c with a constant.
EVSAM_SIMD_INLINE F32::Reg fma_const(float a, F32::Reg b, F32::Reg c) { return F32::fma(F32::set(a), b, c); }

// F(2, 3) on the points 0, 1, -1, infinity.
struct WinogradF2 {
  static constexpr winograd::Geometry kGeometry = winograd::kF2;
  EVSAM_SIMD_INLINE void input(const F32::Reg (&d)[4], F32::Reg (&v)[4]) {
    v[0] = F32::sub(d[2], d[0]);
    v[1] = F32::add(d[2], d[1]);
    v[2] = F32::sub(d[2], d[1]);
    v[3] = F32::sub(d[3], d[1]);
  }
  EVSAM_SIMD_INLINE void output(const F32::Reg (&m)[4], F32::Reg (&y)[2]) {
    y[0] = F32::add(m[0], F32::add(m[1], m[2]));
    y[1] = F32::add(F32::sub(m[1], m[2]), m[3]);
  }
};

// F(4, 3) on the points 0, +-5/8, +-3/2, infinity: half the error of the usual 0, +-1, +-2, infinity, and every
// coefficient is exact in float32.
struct WinogradF4 {
  static constexpr winograd::Geometry kGeometry = winograd::kF4;
  static constexpr float a = 0.625F;
  static constexpr float b = 1.5F;
  EVSAM_SIMD_INLINE void input(const F32::Reg (&d)[6], F32::Reg (&v)[6]) {
    constexpr float sum = a * a + b * b;
    constexpr float product = a * a * b * b;
    v[0] = fma_const(product, d[0], fma_const(-sum, d[2], d[4]));
    const F32::Reg even_a = fma_const(-b * b, d[2], d[4]);
    const F32::Reg odd_a = fma_const(-b * b, d[1], d[3]);
    v[1] = fma_const(a, odd_a, even_a);
    v[2] = fma_const(-a, odd_a, even_a);
    const F32::Reg even_b = fma_const(-a * a, d[2], d[4]);
    const F32::Reg odd_b = fma_const(-a * a, d[1], d[3]);
    v[3] = fma_const(b, odd_b, even_b);
    v[4] = fma_const(-b, odd_b, even_b);
    v[5] = fma_const(product, d[1], fma_const(-sum, d[3], d[5]));
  }
  EVSAM_SIMD_INLINE void output(const F32::Reg (&m)[6], F32::Reg (&y)[4]) {
    const F32::Reg sum_a = F32::add(m[1], m[2]);
    const F32::Reg difference_a = F32::sub(m[1], m[2]);
    const F32::Reg sum_b = F32::add(m[3], m[4]);
    const F32::Reg difference_b = F32::sub(m[3], m[4]);
    y[0] = F32::add(m[0], F32::add(sum_a, sum_b));
    y[1] = fma_const(a, difference_a, F32::mul(F32::set(b), difference_b));
    y[2] = fma_const(a * a, sum_a, F32::mul(F32::set(b * b), sum_b));
    y[3] = fma_const(a * a * a, difference_a, fma_const(b * b * b, difference_b, m[5]));
  }
};

// F(6, 3) on the points 0, +-1, +-2, +-1/2, infinity.
struct WinogradF6 {
  static constexpr winograd::Geometry kGeometry = winograd::kF6;
  EVSAM_SIMD_INLINE void input(const F32::Reg (&d)[8], F32::Reg (&v)[8]) {
    v[0] = fma_const(5.25F, F32::sub(d[2], d[4]), F32::sub(d[6], d[0]));
    const F32::Reg even_1 = fma_const(-4.25F, d[4], F32::add(d[2], d[6]));
    const F32::Reg odd_1 = fma_const(-4.25F, d[3], F32::add(d[1], d[5]));
    v[1] = F32::add(even_1, odd_1);
    v[2] = F32::sub(even_1, odd_1);
    const F32::Reg even_2 = fma_const(0.25F, d[2], fma_const(-1.25F, d[4], d[6]));
    const F32::Reg odd_2 = fma_const(0.25F, d[1], fma_const(-1.25F, d[3], d[5]));
    v[3] = fma_const(2.0F, odd_2, even_2);
    v[4] = fma_const(-2.0F, odd_2, even_2);
    const F32::Reg even_3 = fma_const(4.0F, d[2], fma_const(-5.0F, d[4], d[6]));
    const F32::Reg odd_3 = fma_const(4.0F, d[1], fma_const(-5.0F, d[3], d[5]));
    v[5] = fma_const(0.5F, odd_3, even_3);
    v[6] = fma_const(-0.5F, odd_3, even_3);
    v[7] = fma_const(5.25F, F32::sub(d[3], d[5]), F32::sub(d[7], d[1]));
  }
  EVSAM_SIMD_INLINE void output(const F32::Reg (&m)[8], F32::Reg (&y)[6]) {
    const F32::Reg sum_1 = F32::add(m[1], m[2]);
    const F32::Reg difference_1 = F32::sub(m[1], m[2]);
    const F32::Reg sum_2 = F32::add(m[3], m[4]);
    const F32::Reg difference_2 = F32::sub(m[3], m[4]);
    const F32::Reg sum_3 = F32::add(m[5], m[6]);
    const F32::Reg difference_3 = F32::sub(m[5], m[6]);
    y[0] = F32::add(F32::add(m[0], sum_1), F32::add(sum_2, sum_3));
    y[1] = fma_const(2.0F, difference_2, fma_const(0.5F, difference_3, difference_1));
    y[2] = fma_const(4.0F, sum_2, fma_const(0.25F, sum_3, sum_1));
    y[3] = fma_const(8.0F, difference_2, fma_const(0.125F, difference_3, difference_1));
    y[4] = fma_const(16.0F, sum_2, fma_const(0.0625F, sum_3, sum_1));
    y[5] = fma_const(32.0F, difference_2, fma_const(0.03125F, difference_3, F32::add(difference_1, m[7])));
  }
};

// Stride 2: F(4, 2) on the points +-1/2, +-5/4, infinity for the odd samples (d[0], d[2], ...), the even ones as they
// are.
struct WinogradPolyphase {
  static constexpr winograd::Geometry kGeometry = winograd::kPolyphase;
  static constexpr float a = 0.5F;
  static constexpr float b = 1.25F;
  EVSAM_SIMD_INLINE void input(const F32::Reg (&d)[9], F32::Reg (&v)[9]) {
    const F32::Reg even_a = fma_const(-b * b, d[2], d[6]);
    const F32::Reg odd_a = fma_const(-b * b, d[0], d[4]);
    v[0] = fma_const(a, odd_a, even_a);
    v[1] = fma_const(-a, odd_a, even_a);
    const F32::Reg even_b = fma_const(-a * a, d[2], d[6]);
    const F32::Reg odd_b = fma_const(-a * a, d[0], d[4]);
    v[2] = fma_const(b, odd_b, even_b);
    v[3] = fma_const(-b, odd_b, even_b);
    v[4] = fma_const(a * a * b * b, d[0], fma_const(-(a * a + b * b), d[4], d[8]));
    for (int i = 0; i < 4; ++i) v[5 + i] = d[1 + 2 * i];
  }
  EVSAM_SIMD_INLINE void output(const F32::Reg (&m)[9], F32::Reg (&y)[4]) {
    const F32::Reg sum_a = F32::add(m[0], m[1]);
    const F32::Reg difference_a = F32::sub(m[0], m[1]);
    const F32::Reg sum_b = F32::add(m[2], m[3]);
    const F32::Reg difference_b = F32::sub(m[2], m[3]);
    y[0] = F32::add(m[5], F32::add(sum_a, sum_b));
    y[1] = fma_const(a, difference_a, fma_const(b, difference_b, m[6]));
    y[2] = fma_const(a * a, sum_a, fma_const(b * b, sum_b, m[7]));
    y[3] = fma_const(a * a * a, difference_a, fma_const(b * b * b, difference_b, F32::add(m[4], m[8])));
  }
};

// Where a tile's outputs go, and what happens to them on the way.
struct WinogradSink {
  float* y;  // the tile's first pixel, channel 0
  std::int64_t row_stride;
  std::int64_t pixel_stride;
  const float* residual;  // nullptr: none
  std::int64_t residual_row_stride;
  std::int64_t residual_pixel_stride;
  std::int64_t rows;  // of the tile inside the image
  std::int64_t columns;
};

template <typename S>
struct Winograd {
  using Reg = F32::Reg;
  static constexpr int L = F32::kLanes;
  static constexpr int kSide = static_cast<int>(S::kGeometry.side);
  static constexpr int kOutputs = static_cast<int>(S::kGeometry.outputs);
  static constexpr int kProducts = static_cast<int>(S::kGeometry.products);
  static constexpr int kFilters = static_cast<int>(S::kGeometry.filters);
  static constexpr std::int64_t kStep = S::kGeometry.step;
  // Input channels whose panel slice (16 KiB on AVX2) stays in the L1 cache while all tiles pass.
  static constexpr std::int64_t kDepth = 256;
  // V is written to, and M read from, as many places at once as there are products, too many for the hardware to look
  // ahead. So many floats ahead of the stores and loads the cache lines are asked for.
  static constexpr std::int64_t kAheadV = 48;
  static constexpr std::int64_t kAheadM = 32;

  // One tile, one vector of channels: pixels[i] + c are the samples.
  EVSAM_SIMD_INLINE void input_vector(const float* const (&pixels)[kSide * kSide], std::int64_t c, float* v,
                                      std::int64_t v_stride) {
    float columns[kProducts * kSide * L];
    for (int j = 0; j < kSide; ++j) {
      Reg d[kSide];
      Reg t[kProducts];
      for (int i = 0; i < kSide; ++i) d[i] = F32::load(pixels[i * kSide + j] + c);
      S::input(d, t);
      for (int i = 0; i < kProducts; ++i) F32::store(columns + (i * kSide + j) * L, t[i]);
    }
    for (int i = 0; i < kProducts; ++i) {
      Reg d[kSide];
      Reg t[kProducts];
      for (int j = 0; j < kSide; ++j) d[j] = F32::load(columns + (i * kSide + j) * L);
      S::input(d, t);
      for (int j = 0; j < kProducts; ++j) {
        float* to = v + (i * kProducts + j) * v_stride + c;
        F32::store(to, t[j]);
        __builtin_prefetch(to + kAheadV, 1);
      }
    }
  }

  static void input(const winograd::Tiles& block) {
    const std::int64_t whole = block.channels / L * L;
    for (std::int64_t t = 0; t < block.tiles; ++t) {
      const std::int64_t top = (block.first + t) / block.tiles_x * kStep - 1;
      const std::int64_t left = (block.first + t) % block.tiles_x * kStep - 1;
      const float* pixels[kSide * kSide];
      for (int i = 0; i < kSide; ++i) {
        const std::int64_t row = top + i;
        for (int j = 0; j < kSide; ++j) {
          const std::int64_t column = left + j;
          const bool inside = row >= 0 && row < block.height && column >= 0 && column < block.width;
          pixels[i * kSide + j] = inside ? block.x + (row * block.width + column) * block.x_stride : block.zeros;
        }
      }
      float* v = block.v + t * block.depth;
      for (std::int64_t c = 0; c < whole; c += L) input_vector(pixels, c, v, block.v_stride);
      if (whole < block.channels) {
        // The last vector reaches beyond the channels: it works on a copy, so that nothing foreign (a NaN) gets in.
        float copy[kSide * kSide * L] = {};
        for (int i = 0; i < kSide * kSide; ++i) {
          for (std::int64_t c = whole; c < block.channels; ++c) copy[i * L + (c - whole)] = pixels[i][c];
          pixels[i] = copy + i * L;
        }
        input_vector(pixels, 0, v + whole, block.v_stride);
      }
    }
  }

  // One panel of one product. Its rows are cut into tiles as equal as can be, because a tile of few rows takes as long
  // as a full one: 61 rows are 6 x 6 and 5 x 5, not 10 x 6 and 1.
  struct Panel {
    const float* v;
    std::int64_t v_stride;
    const float* u;
    std::int64_t depth;
    float* m;
    std::int64_t m_stride;
    bool resumes;         // what earlier slices of depth left in m
    bool cold;            // V may be outside of the L2 cache
    const float* next_v;  // the rows of V and M behind the last tile's; V nullptr if they are in L2
    const float* next_m;
    Gemm::Ahead ahead;  // how much, and the next part of the following panel

    template <int R>
    void tiles(std::int64_t count, std::int64_t first, bool last) const {
      Gemm::Ahead next = ahead;
      for (std::int64_t i = 0; i < count; ++i, first += R) {
        const bool end = last && i + 1 == count;
        next.a = end ? next_v : cold ? v + (first + R) * v_stride : nullptr;
        next.c = end ? next_m : m + (first + R) * m_stride;
        rows<R>(first, next);
        next.b += next.b_lines * depth;
      }
    }

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first, const Gemm::Ahead& next) const {
      Reg acc[R][Gemm::kVectors];
      float* to = m + first * m_stride;
      for (int r = 0; r < R; ++r) {
        for (int c = 0; c < Gemm::kVectors; ++c) {
          acc[r][c] = resumes ? F32::load(to + r * m_stride + c * L) : F32::zero();
        }
      }
      Gemm::accumulate(v + first * v_stride, v_stride, u, depth, acc, next);
      for (int r = 0; r < R; ++r) {
        for (int c = 0; c < Gemm::kVectors; ++c) F32::store(to + r * m_stride + c * L, acc[r][c]);
      }
    }

    // `count` tiles of `size` rows; `last`: none follow.
    template <int R = Gemm::kRows>
    void tiles_of(std::int64_t size, std::int64_t count, std::int64_t first, bool last) const {
      if constexpr (R > 0) {
        if (size != R) return tiles_of<R - 1>(size, count, first, last);
        tiles<R>(count, first, last);
      }
    }
  };

  // M for the block of columns that starts at packed weights `u`: [filter][panel][depth][panel columns].
  static void multiply(const winograd::Tiles& block, const float* u, std::int64_t columns) {
    const std::int64_t row_tiles = (block.tiles + Gemm::kRows - 1) / Gemm::kRows;
    const std::int64_t size = block.tiles / row_tiles;
    const std::int64_t larger = block.tiles % row_tiles;  // tiles of size + 1 rows; they come first
    for (int fi = 0; fi < kFilters; ++fi) {
      for (int fj = 0; fj < kFilters; ++fj) {
        // The products that share the filter.
        const int end_i = fi + 1 < kFilters ? fi + 1 : kProducts;
        const int end_j = fj + 1 < kFilters ? fj + 1 : kProducts;
        for (std::int64_t column = 0; column < columns; column += Gemm::kColumns) {
          for (std::int64_t k = 0; k < block.depth; k += kDepth) {
            Panel panel;
            panel.v_stride = block.depth;
            panel.u = u + k * Gemm::kColumns;
            panel.depth = block.depth - k < kDepth ? block.depth - k : kDepth;
            panel.m_stride = block.columns;
            panel.resumes = k > 0;
            const bool deep = panel.depth >= Gemm::kRowsAheadDepth;
            const bool last_panel = column + Gemm::kColumns >= columns && k + kDepth >= block.depth;
            panel.cold = deep && column == 0;
            panel.ahead = Gemm::Ahead::of(panel.depth, row_tiles);
            panel.ahead.a_stride = panel.v_stride;
            panel.ahead.c_stride = panel.m_stride;
            for (int i = fi; i < end_i; ++i) {
              for (int j = fj; j < end_j; ++j) {
                const std::int64_t product = i * kProducts + j;
                const bool more = j + 1 < end_j || i + 1 < end_i;  // with this panel
                std::int64_t next = j + 1 < end_j ? product + 1 : (i + 1) * kProducts + fj;
                if (!more)
                  next = !last_panel ? fi * kProducts + fj : fj + 1 < kFilters ? product + 1 : (fi + 1) * kProducts;
                const bool next_cold = deep && (more ? panel.cold : last_panel);
                panel.v = block.v + product * block.v_stride + k;
                panel.m = block.m + product * block.m_stride + column;
                panel.next_v = next_cold ? block.v + next * block.v_stride + (more ? k : 0) : nullptr;
                panel.next_m = block.m + next * block.m_stride + (last_panel && !more ? 0 : column);
                panel.ahead.b = panel.u + panel.depth * Gemm::kColumns;
                if (larger > 0) panel.tiles_of(size + 1, larger, 0, larger == row_tiles);
                panel.ahead.b += larger * panel.ahead.b_lines * panel.depth;
                panel.tiles_of(size, row_tiles - larger, larger * (size + 1), true);
              }
            }
          }
          u += block.depth * Gemm::kColumns;
        }
      }
    }
  }

  // One tile, output channels [0, columns) of the block of columns whose M was made last. bias: whole vectors.
  static void output(const winograd::Tiles& block, std::int64_t tile, std::int64_t columns, const float* bias,
                     Activation activation, const WinogradSink& sink) {
    const Limits limits = Limits::of(activation);
    for (std::int64_t c = 0; c < columns; c += L) {
      const float* m = block.m + tile * block.columns + c;
      float half[kOutputs * kProducts * L];
      for (int j = 0; j < kProducts; ++j) {
        Reg d[kProducts];
        Reg t[kOutputs];
        for (int i = 0; i < kProducts; ++i) {
          const float* from = m + (i * kProducts + j) * block.m_stride;
          d[i] = F32::load(from);
          __builtin_prefetch(from + kAheadM);
        }
        S::output(d, t);
        for (int i = 0; i < kOutputs; ++i) F32::store(half + (i * kProducts + j) * L, t[i]);
      }
      const Reg shift = F32::load(bias + c);
      const bool vector = c + L <= columns;
      for (int i = 0; i < kOutputs; ++i) {
        if (i >= sink.rows) break;
        Reg d[kProducts];
        Reg o[kOutputs];
        for (int j = 0; j < kProducts; ++j) d[j] = F32::load(half + (i * kProducts + j) * L);
        S::output(d, o);
        for (int j = 0; j < kOutputs; ++j) o[j] = Limits::apply(limits, F32::add(o[j], shift));
        float* y = sink.y + i * sink.row_stride + c;
        const float* residual = sink.residual == nullptr ? nullptr : sink.residual + i * sink.residual_row_stride + c;
        for (int j = 0; j < kOutputs; ++j) {
          if (j >= sink.columns) break;
          float* to = y + j * sink.pixel_stride;
          const float* from = residual == nullptr ? nullptr : residual + j * sink.residual_pixel_stride;
          if (vector) {
            F32::store(to, from == nullptr ? o[j] : F32::add(o[j], F32::load(from)));
          } else {
            float last[L];
            F32::store(last, o[j]);
            for (std::int64_t l = 0; l < columns - c; ++l) to[l] = from == nullptr ? last[l] : last[l] + from[l];
          }
        }
      }
    }
    for (std::int64_t i = 0; i < sink.rows; ++i) {
      activate_stored(activation, sink.y + i * sink.row_stride, sink.pixel_stride, sink.columns, columns);
    }
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
