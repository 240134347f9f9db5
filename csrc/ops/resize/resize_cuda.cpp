#include "ops/resize/resize_cuda.h"

#include <string>

#include "core/math.h"
#include "cuda/map_view.h"
#include "ops/resize/resize_cuda_args.h"

#define EVSAM_CUDA_KERNEL(name, Args, threads) extern "C" void name(evsam::cuda::resize::Args);
#include "ops/resize/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

namespace evsam::cuda::resize {
namespace {

#define EVSAM_CUDA_KERNEL(name, Args, threads) constexpr Kernel<Args> k_##name{{#name, "resize", threads}, ::name};
#include "ops/resize/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

constexpr std::int64_t kMaxBatch = 65535;  // of a grid's third axis

const Kernel<Args>& choose(DType dtype, Mode mode) {
  const bool cubic = mode == Mode::bicubic;
  switch (dtype) {
    case DType::kFloat16: return cubic ? k_f16_resize_bicubic__sm80 : k_f16_resize_bilinear__sm80;
    case DType::kBFloat16: return cubic ? k_bf16_resize_bicubic__sm80 : k_bf16_resize_bilinear__sm80;
    default: return cubic ? k_f32_resize_bicubic__sm80 : k_f32_resize_bilinear__sm80;
  }
}

struct Maps {
  MapView out;
  MapView x;
  MapView x2;  // with height 0 where there is none
};

Status check_source(const ConstTensorView& view, const char* name, const MapView& out, MapView* map) {
  if (view.dtype != out.dtype) {
    return Status::invalid_type(
        expected_got(name, std::string("dtype ") + dtype_name(out.dtype), dtype_name(view.dtype)));
  }
  EVSAM_RETURN_IF_ERROR(read_map(view, name, Layout::channels_last, map));
  if (map->batch != out.batch || map->channels != out.channels) {
    return Status::invalid_argument(expected_got(
        name, "batch " + std::to_string(out.batch) + " and " + std::to_string(out.channels) + " channels, as out",
        shape_string(view.shape, view.ndim)));
  }
  if (map->height > kMaxSide || map->width > kMaxSide) {
    return Status::invalid_argument(expected_got(name, "at most " + std::to_string(kMaxSide) + " pixels a side",
                                                 shape_string(view.shape, view.ndim)));
  }
  return check_aligned(view.data, name, 16);
}

Status check(const Params& params, Maps* maps) {
  EVSAM_RETURN_IF_ERROR(check_float_dtype(params.out.dtype, "out"));
  EVSAM_RETURN_IF_ERROR(read_map(as_const(params.out), "out", Layout::channels_last, &maps->out));
  if (maps->out.channels % 8 != 0) {
    return Status::invalid_argument(
        expected_got("out", "a multiple of 8 channels", std::to_string(maps->out.channels)));
  }
  if (maps->out.batch > kMaxBatch) {
    return Status::invalid_argument(
        expected_got("out", "a batch of at most " + std::to_string(kMaxBatch), std::to_string(maps->out.batch)));
  }
  MapView unused;
  EVSAM_RETURN_IF_ERROR(check_source(as_const(params.out), "out", maps->out, &unused));
  EVSAM_RETURN_IF_ERROR(check_source(params.x, "x", maps->out, &maps->x));
  if (params.x2.data != nullptr) EVSAM_RETURN_IF_ERROR(check_source(params.x2, "x2", maps->out, &maps->x2));
  if (params.residual.data != nullptr) {
    EVSAM_RETURN_IF_ERROR(check_same_map(params.residual, "residual", maps->out));
    EVSAM_RETURN_IF_ERROR(check_aligned(params.residual.data, "residual", 16));
  }
  return {};
}

Source source_of(const ConstTensorView& view, const MapView& map) {
  return {view.data, static_cast<std::uint32_t>(map.height), static_cast<std::uint32_t>(map.width)};
}

}  // namespace

Status validate(const Params& params) {
  Maps maps;
  return check(params, &maps);
}

Status run(const Params& params, Stream stream) {
  Maps maps;
  EVSAM_RETURN_IF_ERROR(check(params, &maps));
  const MapView& out = maps.out;
  Args args{};
  args.sources[0] = source_of(params.x, maps.x);
  args.sources[1] = source_of(params.x2, maps.x2);
  args.residual = params.residual.data;
  args.out = params.out.data;
  args.height = static_cast<std::uint32_t>(out.height);
  args.width = static_cast<std::uint32_t>(out.width);
  args.channels = static_cast<std::uint32_t>(out.channels);
  const std::int64_t items = divide_up(out.width, kPixelsPerThread) * (out.channels / 8);
  const Dim3 grid = {static_cast<unsigned>(divide_up(items, kThreads)), static_cast<unsigned>(out.height),
                     static_cast<unsigned>(out.batch)};
  return launch(choose(out.dtype, params.mode), grid, 0, stream, args);
}

void append_kernels(std::vector<KernelInfo>& rows) {
#define EVSAM_CUDA_KERNEL(name, Args, threads) rows.push_back(k_##name.info);
#include "ops/resize/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL
}

}  // namespace evsam::cuda::resize
