#include "cuda/conv_launch.h"

#include <string>

#include "core/math.h"

namespace evsam::cuda {

MapView conv_output(const MapView& x, std::int64_t channels, std::int64_t stride) {
  MapView out = x;
  out.channels = channels;
  out.height = conv_output_size(x.height, stride);
  out.width = conv_output_size(x.width, stride);
  return out;
}

Status check_stride(std::int64_t stride) {
  if (stride == 1 || stride == 2) return {};
  return Status::invalid_argument(expected_got("stride", "1 or 2", std::to_string(stride)));
}

ConvArgs conv_args(const void* data, const void* weight, const MapView& x, std::int64_t channels, std::int64_t stride) {
  ConvArgs args{};
  args.x = data;
  args.weight = weight;
  const MapView out = conv_output(x, channels, stride);
  args.in_channels = static_cast<int>(x.channels);
  args.channels = static_cast<int>(channels);
  args.height = static_cast<int>(x.height);
  args.width = static_cast<int>(x.width);
  args.out_height = static_cast<int>(out.height);
  args.out_width = static_cast<int>(out.width);
  args.tile_rows = static_cast<unsigned>(divide_up(out.height, kConvTileHeight));
  args.tile_columns = static_cast<unsigned>(divide_up(out.width, kConvTileWidth));
  args.stride = static_cast<unsigned>(stride);
  args.patch_height = (kConvTileHeight - 1) * args.stride + 3;
  args.patch_width = (kConvTileWidth - 1) * args.stride + 3;
  return args;
}

std::int64_t conv_tiles(const MapView& x, const ConvArgs& args) { return x.batch * args.tile_rows * args.tile_columns; }

}  // namespace evsam::cuda
