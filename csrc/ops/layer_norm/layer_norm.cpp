// Checks, cuts into tasks and launches; the arithmetic is in layer_norm_simd.inl.
#include "ops/layer_norm/layer_norm.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/map_checks.h"
#include "core/math.h"

namespace evsam::layer_norm {
namespace {

// Pixels of a task are a multiple of this: the kernel takes as many at a time as a vector has lanes.
constexpr std::int64_t kPixelTile = 16;

// Below this many floats a second thread costs more than it saves.
constexpr std::int64_t kFloatsPerTask = 16384;

constexpr std::int64_t kTasksPerThread = 4;

}  // namespace

Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed) {
  if (params.channels < 1) {
    return Status::invalid_argument(expected_got("channels", "at least 1", std::to_string(params.channels)));
  }
  if (!std::isfinite(params.eps) || params.eps < 0.0F) {
    return Status::invalid_argument(expected_got("eps", "a finite number >= 0", std::to_string(params.eps)));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->kernel = kernels->layer_norm;
  packed->weight = AlignedBuffer<float>(static_cast<std::size_t>(params.channels));
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(params.channels));
  std::copy(weight, weight + params.channels, packed->weight.data());
  std::copy(bias, bias + params.channels, packed->bias.data());
  return {};
}

Status validate(const Packed& packed, const Arguments& arguments) {
  const MapShape shape = {arguments.x.height, arguments.x.width, packed.params.channels};
  EVSAM_RETURN_IF_ERROR(check_shape("x", arguments.x, shape));
  EVSAM_RETURN_IF_ERROR(check_result(arguments.y, arguments.residual, shape));
  if ((arguments.pe.data == nullptr) != (arguments.y_plus_pe.data == nullptr)) {
    return Status::invalid_argument(expected_got("y_plus_pe", "a map if and only if there is pe",
                                                 arguments.pe.data == nullptr ? "y_plus_pe alone" : "pe alone"));
  }
  if (arguments.pe.data != nullptr) {
    EVSAM_RETURN_IF_ERROR(check_shape("pe", arguments.pe, shape));
    EVSAM_RETURN_IF_ERROR(check_shape("y_plus_pe", as_const(arguments.y_plus_pe), shape));
  }
  return {};
}

void run(const Packed& packed, const RunContext& context, const Arguments& arguments) {
  const Params& params = packed.params;
  const std::int64_t pixels = arguments.x.pixels();
  if (pixels == 0) return;
  const int threads = context.thread_count();
  const std::int64_t tasks =
      threads == 1 ? 1
                   : std::clamp<std::int64_t>(pixels * params.channels / kFloatsPerTask, 1, threads * kTasksPerThread);
  const std::int64_t size = divide_up(divide_up(pixels, kPixelTile), tasks) * kPixelTile;

  context.parallel_for(divide_up(pixels, size), [&](std::int64_t task, int) {
    const std::int64_t first = task * size;
    const auto at = [first](const auto& map) { return map.data == nullptr ? nullptr : map.data + first * map.stride; };
    Pixels block;
    block.x = at(arguments.x);
    block.x_stride = arguments.x.stride;
    block.residual = at(arguments.residual);
    block.residual_stride = arguments.residual.stride;
    block.y = at(arguments.y);
    block.y_stride = arguments.y.stride;
    block.pe = at(arguments.pe);
    block.pe_stride = arguments.pe.stride;
    block.y_plus_pe = at(arguments.y_plus_pe);
    block.y_plus_pe_stride = arguments.y_plus_pe.stride;
    block.weight = packed.weight.data();
    block.bias = packed.bias.data();
    block.pixels = std::min(size, pixels - first);
    block.channels = params.channels;
    block.eps = params.eps;
    block.activation = params.activation;
    packed.kernel->run(block);
  });
}

}  // namespace evsam::layer_norm
