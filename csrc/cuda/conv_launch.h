// Geometry of 3x3 convolutions for their launchers.
#pragma once

#include <cstdint>

#include "cuda/conv_args.h"
#include "cuda/map_view.h"

namespace evsam::cuda {

// Rows or columns of the output for as many of the input.
constexpr std::int64_t conv_output_size(std::int64_t size, std::int64_t stride) { return (size + stride - 1) / stride; }

// The map that a convolution of `x` to `channels` channels makes.
MapView conv_output(const MapView& x, std::int64_t channels, std::int64_t stride);

Status check_stride(std::int64_t stride);

// All but the number of patch buffers.
ConvArgs conv_args(const void* data, const void* weight, const MapView& x, std::int64_t channels, std::int64_t stride);

// Tiles of all images.
std::int64_t conv_tiles(const MapView& x, const ConvArgs& args);

}  // namespace evsam::cuda
