// Checks that the launchers of products share.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "cuda/epilogue_args.h"
#include "cuda/map_view.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda {

// The longest axis of a map, so that kernels may count along it in 32 bits.
inline constexpr std::int64_t kLongestAxis = std::int64_t{1} << 30;

// x: a float16 map of a multiple of 8 channels, channels last, aligned to 16 bytes.
Status read_f16_map(const ConstTensorView& view, const char* name, MapView* map);

// float16 of exactly this shape, contiguous in the order in memory that `order` (a permutation of the axes, outermost
// first) gives, aligned to 16 bytes.
Status check_f16_weight(const ConstTensorView& view, const char* name, std::initializer_list<std::int64_t> shape,
                        std::initializer_list<int> order);

// bias (data may be nullptr: none), an activation that device.h has, and its scale. `prefix` goes before the names of
// the arguments.
Status check_bias(const ConstTensorView& bias, const char* name, std::int64_t channels);
Status check_activation(Activation activation, float activation_scale);

// residual (data may be nullptr: none) and out: maps like `expected`, float16, aligned to 16 bytes.
Status check_output(const ConstTensorView& residual, const TensorView& out, const MapView& expected);

// Of valid arguments.
EpilogueArgs epilogue_args(const ConstTensorView& bias, const ConstTensorView& residual, const TensorView& out,
                           Activation activation, float activation_scale);

}  // namespace evsam::cuda
