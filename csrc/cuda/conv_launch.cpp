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
  args.in_channels = x.channels;
  args.channels = channels;
  args.height = x.height;
  args.width = x.width;
  args.out_height = conv_output_size(x.height, stride);
  args.out_width = conv_output_size(x.width, stride);
  args.tile_rows = divide_up(args.out_height, kConvTileHeight);
  args.tile_columns = divide_up(args.out_width, kConvTileWidth);
  args.stride = static_cast<unsigned>(stride);
  args.patch_height = (kConvTileHeight - 1) * args.stride + 3;
  args.patch_width = (kConvTileWidth - 1) * args.stride + 3;
  return args;
}

std::int64_t conv_tiles(const MapView& x, const ConvArgs& args) { return x.batch * args.tile_rows * args.tile_columns; }

}  // namespace evsam::cuda
