#include "ops/resize/resize_cuda.h"

#include <string>

#include "core/math.h"
#include "cuda/arguments.h"
#include "ops/resize/resize_cuda_args.h"

namespace evsam::cuda::resize {

EVSAM_CUDA_KERNELS_resize(EVSAM_CUDA_DECLARE);

namespace {

struct ResizeKernel {
  Kernel<Args> kernel;
  DType dtype;
  int taps;
};

template <typename T, int kTaps>
constexpr ResizeKernel describe(const Kernel<Args>& kernel) {
  return {kernel, kDTypeOf<T>, kTaps};
}

constexpr ResizeKernel kResizeKernels[] = {EVSAM_CUDA_KERNELS_resize(EVSAM_CUDA_ROW)};

constexpr std::int64_t kMaxBatch = 65535;  // of a grid's third axis

const Kernel<Args>& choose(DType dtype, Mode mode) {
  const int taps = mode == Mode::bicubic ? 4 : 2;
  return first_that(kResizeKernels, [&](const ResizeKernel& row) { return row.dtype == dtype && row.taps == taps; })
      .kernel;
}

struct CheckedMaps {
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

Status check(const Params& params, CheckedMaps* maps) {
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
  CheckedMaps maps;
  return check(params, &maps);
}

Status run(const Params& params, Stream stream) {
  CheckedMaps maps;
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

}  // namespace evsam::cuda::resize
