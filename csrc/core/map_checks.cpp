#include "core/map_checks.h"

#include <string>

namespace evsam {
namespace {

std::string text(const MapShape& shape) {
  const std::int64_t sizes[3] = {shape.height, shape.width, shape.channels};
  return shape_string(sizes, 3);
}

MapShape shape_of(const ConstFeatureMap& map) { return {map.height, map.width, map.channels}; }

}  // namespace

Status check_channels(const char* argument, const ConstFeatureMap& map, std::int64_t channels) {
  if (map.channels == channels) return {};
  return Status::invalid_argument(
      expected_got(argument, std::to_string(channels) + " channels", std::to_string(map.channels)));
}

Status check_not_empty(const char* argument, const ConstFeatureMap& map) {
  if (map.height >= 1 && map.width >= 1) return {};
  return Status::invalid_argument(expected_got(argument, "no empty axis", text(shape_of(map))));
}

Status check_shape(const char* argument, const ConstFeatureMap& map, const MapShape& expected) {
  if (map.height == expected.height && map.width == expected.width && map.channels == expected.channels) return {};
  return Status::invalid_argument(expected_got(argument, "shape " + text(expected), text(shape_of(map))));
}

Status check_result(const FeatureMap& y, const ConstFeatureMap& residual, const MapShape& expected) {
  EVSAM_RETURN_IF_ERROR(check_shape("y", as_const(y), expected));
  return residual.data == nullptr ? Status() : check_shape("residual", residual, expected);
}

}  // namespace evsam
