// What tells an object from what is around it: a linear classifier on the cells of the embedding, learnt from the
// object's first frame and, by less, from those since. Ridge regression of the mask's cover:
//
//   A = sum_i u_i x_i x_i^T,  b = sum_i u_i y_i x_i      over the cells i of a window around the object
//   (s A_first + (1 - s) A_since + lambda I) w = s b_first + (1 - s) b_since
//   response_i = w . x_i                                 about 1 on the object, 0 beside it
//
// y is the part of a cell that the mask covers; u gives the object's cells and the others half of the weight each; x is
// the embedding's vector of the cell at length 1, and a constant. Nothing here allocates but constructors.
#pragma once

#include <cstdint>

#include "core/aligned_buffer.h"

namespace evsam::track {

// Cells [x0, x1) x [y0, y1) of a grid.
struct CellBox {
  std::int64_t x0 = 0;
  std::int64_t y0 = 0;
  std::int64_t x1 = 0;
  std::int64_t y1 = 0;

  bool has(std::int64_t x, std::int64_t y) const { return x >= x0 && x < x1 && y >= y0 && y < y1; }
};

// The cells of a frame, at most kMostCells along a side: finer embeddings are averaged.
class Cells {
 public:
  static constexpr std::int64_t kMostCells = 32;

  // Of embeddings (channels, side, side).
  Cells(std::int64_t channels, std::int64_t side);

  void read(const float* embedding);

  std::int64_t side() const { return side_; }
  std::int64_t count() const { return side_ * side_; }
  std::int64_t dim() const { return channels_ + 1; }
  const float* row(std::int64_t d) const { return values_.data() + d * count(); }  // number d of all cells

 private:
  std::int64_t channels_;
  std::int64_t factor_;  // cells of the embedding along a side of a cell
  std::int64_t side_;
  AlignedBuffer<float> values_;  // (dim, side, side)
  AlignedBuffer<float> length_;  // (side, side)
};

// A and b, beside one another: (dim, dim + 1). Of A only what is on and above the diagonal is kept.
class Moments {
 public:
  Moments() = default;
  explicit Moments(std::int64_t dim) : dim_(dim), values_(static_cast<std::size_t>(dim * (dim + 1))) {}

  std::int64_t dim() const { return dim_; }
  std::int64_t count() const { return dim_ * (dim_ + 1); }
  float* data() { return values_.data(); }
  const float* data() const { return values_.data(); }
  float* row(std::int64_t d) { return values_.data() + d * (dim_ + 1); }
  const float* row(std::int64_t d) const { return values_.data() + d * (dim_ + 1); }

 private:
  std::int64_t dim_ = 0;
  AlignedBuffer<float> values_;
};

// What learning works in; objects share it.
struct LearningMemory {
  explicit LearningMemory(const Cells& cells);

  AlignedBuffer<float> rows;  // (cells of a window, dim + 1): x and y of each
  Moments moments;
};

class Appearance {
 public:
  explicit Appearance(std::int64_t dim);

  // cover: of all cells. The first frame's is kept apart.
  // False where it is no classifier: of numbers that are not finite.
  bool learn_first(const Cells& cells, const CellBox& window, const float* cover, LearningMemory& memory);
  // The first frame seen in another way, which counts as much as what is learnt. False, and nothing is changed, where
  // there are numbers that are not finite.
  bool learn_first_again(const Cells& cells, const CellBox& window, const float* cover, LearningMemory& memory);
  void learn(const Cells& cells, const CellBox& window, const float* cover, LearningMemory& memory);

  // response: of all cells.
  void respond(const Cells& cells, float* response) const;

  // What there is to keep: first and since; solve() makes the classifier of it. False where it is none: of sums that no
  // cells have.
  Moments& first() { return first_; }
  Moments& since() { return since_; }
  bool solve(LearningMemory& memory);

 private:
  Moments first_;
  Moments since_;
  AlignedBuffer<float> weights_;
};

}  // namespace evsam::track
