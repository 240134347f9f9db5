// The oracle.
#include "ops/preprocess/preprocess.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace evsam::preprocess {
namespace {

// One row or column of `in` values, `in_step` bytes apart, to `out` values.
void resize_line(const std::uint8_t* x, std::int64_t in, std::int64_t in_step, std::uint8_t* y, std::int64_t out,
                 std::int64_t out_step) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double reach = std::max(scale, 1.0);
  std::vector<double> weights(static_cast<std::size_t>(in));
  for (std::int64_t i = 0; i < out; ++i) {
    // The triangle's value at the centre of each input pixel that lies (rounded to whole pixels) under it.
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const double low = std::max(std::floor(centre - reach + 0.5), 0.0);
    const double high = std::min(std::floor(centre + reach + 0.5), static_cast<double>(in));
    double total = 0.0;
    for (std::size_t j = static_cast<std::size_t>(low); j < static_cast<std::size_t>(high); ++j) {
      weights[j] = std::max(0.0, 1.0 - std::abs(static_cast<double>(j) + 0.5 - centre) / reach);
      total += weights[j];
    }
    double sum = 0.0;  // of whole numbers below 2^31: exact
    for (std::size_t j = static_cast<std::size_t>(low); j < static_cast<std::size_t>(high); ++j) {
      const double rounded = std::floor(weights[j] / total * (1 << kFractionBits) + 0.5);
      sum += rounded * x[static_cast<std::int64_t>(j) * in_step];
    }
    const double value = std::floor(sum / (1 << kFractionBits) + 0.5);
    y[i * out_step] = static_cast<std::uint8_t>(std::min(value, 255.0));
  }
}

}  // namespace

void resize_by_definition(const Photo& photo, std::int64_t side, std::uint8_t* bytes) {
  const Size size = fitted_size(photo.height, photo.width, side);
  const std::int64_t in_row = photo.width * 3;
  const std::int64_t out_row = size.width * 3;
  if (rows_first(photo.height, photo.width, size)) {
    std::vector<std::uint8_t> low(static_cast<std::size_t>(size.height * in_row));
    for (std::int64_t i = 0; i < in_row; ++i) {
      resize_line(photo.data + i, photo.height, photo.row_bytes, low.data() + i, size.height, in_row);
    }
    for (std::int64_t i = 0; i < size.height * 3; ++i) {
      resize_line(low.data() + i / 3 * in_row + i % 3, photo.width, 3, bytes + i / 3 * out_row + i % 3, size.width, 3);
    }
    return;
  }
  std::vector<std::uint8_t> narrow(static_cast<std::size_t>(photo.height * out_row));
  for (std::int64_t i = 0; i < photo.height * 3; ++i) {
    resize_line(photo.data + i / 3 * photo.row_bytes + i % 3, photo.width, 3, narrow.data() + i / 3 * out_row + i % 3,
                size.width, 3);
  }
  for (std::int64_t i = 0; i < out_row; ++i) {
    resize_line(narrow.data() + i, photo.height, out_row, bytes + i, size.height, out_row);
  }
}

}  // namespace evsam::preprocess
