#include "track/appearance.h"

#include <algorithm>
#include <cmath>

#include "core/finite.h"

namespace evsam::track {
namespace {

// Chosen on the development half of DAVIS 2016's validation sequences: docs/live.md.
constexpr float kRidge = 0.008F;     // lambda: the weights u come to 1 in all
constexpr float kConstant = 0.265F;  // the number behind each cell's vector
constexpr float kFirst = 0.8F;       // s
constexpr float kRate = 0.1F;        // by which a frame moves A_since and b_since

// Of a vector that counts as nothing.
constexpr float kShortest = 1e-6F;

// Sums `count` rows at a time into the moments, so that those are read and written less often.
constexpr std::int64_t kRowsAtOnce = 8;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// The moments of the cells in the window, into memory.moments.
void sum_moments(const Cells& cells, const CellBox& window, const float* cover, LearningMemory& memory) {
  const std::int64_t dim = cells.dim();
  std::int64_t inside[2] = {0, 0};  // cells that are not the object's, and those that are
  for (std::int64_t y = window.y0; y < window.y1; ++y) {
    for (std::int64_t x = window.x0; x < window.x1; ++x) ++inside[cover[y * cells.side() + x] > 0.5F ? 1 : 0];
  }
  // Rows times the roots of their weights.
  std::int64_t count = 0;
  for (std::int64_t y = window.y0; y < window.y1; ++y) {
    for (std::int64_t x = window.x0; x < window.x1; ++x, ++count) {
      const std::int64_t cell = y * cells.side() + x;
      const std::int64_t alike = inside[cover[cell] > 0.5F ? 1 : 0];
      const float root = std::sqrt(0.5F / static_cast<float>(alike));
      float* const row = memory.rows.data() + count * (dim + 1);
      for (std::int64_t d = 0; d < dim; ++d) row[d] = root * cells.row(d)[cell];
      row[dim] = root * cover[cell];
    }
  }
  for (; count % kRowsAtOnce != 0; ++count) {
    std::fill_n(memory.rows.data() + count * (dim + 1), dim + 1, 0.0F);
  }
  std::fill_n(memory.moments.data(), memory.moments.count(), 0.0F);
  for (std::int64_t begin = 0; begin < count; begin += kRowsAtOnce) {
    const float* const rows = memory.rows.data() + begin * (dim + 1);
    for (std::int64_t d = 0; d < dim; ++d) {
      float* const to = memory.moments.row(d);
      float factors[kRowsAtOnce];
      for (std::int64_t r = 0; r < kRowsAtOnce; ++r) factors[r] = rows[r * (dim + 1) + d];
      for (std::int64_t e = d; e <= dim; ++e) {
        float sum = to[e];
        for (std::int64_t r = 0; r < kRowsAtOnce; ++r) sum += factors[r] * rows[r * (dim + 1) + e];
        to[e] = sum;
      }
    }
  }
}

}  // namespace

Cells::Cells(std::int64_t channels, std::int64_t side)
    : channels_(channels),
      factor_(side > kMostCells && side % kMostCells == 0 ? side / kMostCells : 1),
      side_(side / factor_),
      values_(size((channels + 1) * side_ * side_)),
      length_(size(side_ * side_)) {
  std::fill_n(values_.data() + channels * count(), count(), kConstant);
}

void Cells::read(const float* embedding) {
  const std::int64_t wide = side_ * factor_;
  std::fill_n(length_.data(), count(), 0.0F);
  for (std::int64_t c = 0; c < channels_; ++c, embedding += wide * wide) {
    float* const to = values_.data() + c * count();
    if (factor_ == 1) {
      std::copy_n(embedding, count(), to);
    } else {  // sums: lengths become 1 anyway
      std::fill_n(to, count(), 0.0F);
      for (std::int64_t y = 0; y < wide; ++y) {
        float* const row = to + y / factor_ * side_;
        for (std::int64_t x = 0; x < side_; ++x) {
          for (std::int64_t i = 0; i < factor_; ++i) row[x] += embedding[y * wide + x * factor_ + i];
        }
      }
    }
    for (std::int64_t i = 0; i < count(); ++i) length_[size(i)] += to[i] * to[i];
  }
  for (std::int64_t i = 0; i < count(); ++i) length_[size(i)] = 1.0F / std::max(std::sqrt(length_[size(i)]), kShortest);
  for (std::int64_t c = 0; c < channels_; ++c) {
    float* const to = values_.data() + c * count();
    for (std::int64_t i = 0; i < count(); ++i) to[i] *= length_[size(i)];
  }
}

LearningMemory::LearningMemory(const Cells& cells)
    : rows(size((cells.count() + kRowsAtOnce) * (cells.dim() + 1))), moments(cells.dim()) {}

Appearance::Appearance(std::int64_t dim) : first_(dim), since_(dim), weights_(size(dim)) {}

bool Appearance::learn_first(const Cells& cells, const CellBox& window, const float* cover, LearningMemory& memory) {
  sum_moments(cells, window, cover, memory);
  std::copy_n(memory.moments.data(), first_.count(), first_.data());
  std::copy_n(memory.moments.data(), since_.count(), since_.data());
  return solve(memory);
}

bool Appearance::learn_first_again(const Cells& cells, const CellBox& window, const float* cover,
                                   LearningMemory& memory) {
  sum_moments(cells, window, cover, memory);
  const float* const now = memory.moments.data();
  if (!all_finite(now, size(first_.count()))) return false;
  for (std::int64_t i = 0; i < first_.count(); ++i) first_.data()[i] = 0.5F * (first_.data()[i] + now[i]);
  std::copy_n(first_.data(), first_.count(), since_.data());
  return solve(memory);
}

void Appearance::learn(const Cells& cells, const CellBox& window, const float* cover, LearningMemory& memory) {
  sum_moments(cells, window, cover, memory);
  const float* const now = memory.moments.data();
  for (std::int64_t i = 0; i < since_.count(); ++i) {
    since_.data()[i] = (1.0F - kRate) * since_.data()[i] + kRate * now[i];
  }
  solve(memory);
}

void Appearance::respond(const Cells& cells, float* response) const {
  std::fill_n(response, cells.count(), 0.0F);
  for (std::int64_t d = 0; d < cells.dim(); ++d) {
    const float weight = weights_[size(d)];
    const float* const row = cells.row(d);
    for (std::int64_t i = 0; i < cells.count(); ++i) response[i] += weight * row[i];
  }
}

// By Cholesky's decomposition A = U^T U, row by row of U; b is a further column, of which U^-T b comes.
bool Appearance::solve(LearningMemory& memory) {
  const std::int64_t dim = first_.dim();
  Moments& u = memory.moments;
  for (std::int64_t i = 0; i < u.count(); ++i) {
    u.data()[i] = kFirst * first_.data()[i] + (1.0F - kFirst) * since_.data()[i];
  }
  for (std::int64_t d = 0; d < dim; ++d) u.row(d)[d] += kRidge;
  for (std::int64_t k = 0; k < dim; ++k) {
    float* const pivot = u.row(k);
    const float factor = 1.0F / std::sqrt(pivot[k]);
    for (std::int64_t e = k; e <= dim; ++e) pivot[e] *= factor;
    for (std::int64_t d = k + 1; d < dim; ++d) {
      float* const row = u.row(d);
      const float share = pivot[d];
      for (std::int64_t e = d; e <= dim; ++e) row[e] -= share * pivot[e];
    }
  }
  for (std::int64_t d = dim - 1; d >= 0; --d) {
    const float* const row = u.row(d);
    float value = row[dim];
    for (std::int64_t e = d + 1; e < dim; ++e) value -= row[e] * weights_[size(e)];
    weights_[size(d)] = value / row[d];
  }
  return all_finite(weights_.data(), size(dim));
}

}  // namespace evsam::track
