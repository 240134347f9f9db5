#include "ops/preprocess/fitted_size.h"

#include <algorithm>

namespace evsam::preprocess {

Size fitted_size(std::int64_t height, std::int64_t width, std::int64_t side) {
  const double scale = static_cast<double>(side) / static_cast<double>(std::max(height, width));
  const auto fitted = [scale](std::int64_t length) {
    return std::max<std::int64_t>(static_cast<std::int64_t>(static_cast<double>(length) * scale + 0.5), 1);
  };
  return {fitted(height), fitted(width)};
}

bool rows_first(std::int64_t height, std::int64_t width, Size size) {
  return size.height < height && height - size.height > 2 * (width - size.width);
}

}  // namespace evsam::preprocess
