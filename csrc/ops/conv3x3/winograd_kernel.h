// Winograd's minimal filtering for 3x3 convolutions, as conv3x3 and fused_mbconv share it: which schemes there are, and
// what a kernel's stages are told. ISA files include this header, so it defines no function.
#pragma once

#include <cstdint>

namespace evsam::winograd {

// A scheme is a bilinear algorithm per axis: with matrices B, G, A it computes `outputs` samples of a 3-tap filter w
// from `side` samples d as A^T ((G w) * (B^T d)), with `products` products. In 2-D the same runs along both axes.
enum class Scheme : std::uint8_t { f2, f4, f6, polyphase };

struct Geometry {
  std::int64_t side;      // input samples per axis
  std::int64_t outputs;   // output samples per axis
  std::int64_t step;      // input samples from a tile to the next
  std::int64_t products;  // per axis
  std::int64_t filters;   // different values of G w per axis: the last one belongs to all products from there on
};

constexpr Geometry kF2 = {4, 2, 2, 4, 4};
constexpr Geometry kF4 = {6, 4, 4, 6, 6};
constexpr Geometry kF6 = {8, 6, 6, 8, 8};
// Stride 2, y[i] = w0 x[2i-1] + w1 x[2i] + w2 x[2i+1] for i in 0 .. 3. The odd samples pass a 2-tap filter, F(4, 2)
// with 5 products; each even sample is multiplied by w1. 9 products instead of 12 per axis, 81 instead of 144 per 4 x 4
// outputs.
constexpr Geometry kPolyphase = {9, 4, 8, 9, 6};
constexpr Geometry kGeometries[] = {kF2, kF4, kF6, kPolyphase};

// How the sums are cut. Packed weights depend on it, except on `tiles`.
struct Blocking {
  std::int64_t columns = 0;  // output channels that are multiplied before they are transformed back
  std::int64_t tiles = 0;    // upper limit of a task's tiles
};

// Consecutive tiles (row by row) of one convolution, and the scratch memory they go through. Strides count floats.
struct Tiles {
  const float* x;  // the whole input
  std::int64_t x_stride;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
  std::int64_t depth;    // channels, rounded up to whole vectors
  const float* zeros;    // depth zeros: pixels outside the image
  const float* weights;  // [block of columns][filter][panel][depth][panel columns]
  std::int64_t columns;  // of a block, whole panels
  std::int64_t tiles_x;  // tiles in a row of the image
  std::int64_t first;
  std::int64_t tiles;
  float* v;  // [product][tile][depth], products v_stride apart
  std::int64_t v_stride;
  float* m;  // [product][tile][columns], products m_stride apart
  std::int64_t m_stride;
};

}  // namespace evsam::winograd
