#include "ops/preprocess/preprocess_cuda.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/math.h"
#include "cuda/arguments.h"
#include "ops/preprocess/preprocess.h"
#include "ops/preprocess/preprocess_cuda_args.h"

namespace evsam::cuda::preprocess {

EVSAM_CUDA_KERNELS_preprocess(EVSAM_CUDA_DECLARE);

namespace {

struct ImageKernel {
  Kernel<Args> kernel;
  DType dtype;  // of the image
};

template <typename T>
constexpr ImageKernel describe(const Kernel<Args>& kernel) {
  return {kernel, kDTypeOf<T>};
}

constexpr ImageKernel kImageKernels[] = {EVSAM_CUDA_PREPROCESS_IMAGES(EVSAM_CUDA_ROW)};
constexpr Kernel<WeightsArgs> kMakeTables = EVSAM_CUDA_PREPROCESS_WEIGHTS(EVSAM_CUDA_KERNEL);

using evsam::preprocess::fitted_size;
using evsam::preprocess::kDeviation;
using evsam::preprocess::kMean;
using evsam::preprocess::Size;
static_assert(kFractionBits == evsam::preprocess::kFractionBits);

constexpr std::int64_t kMaxSide = 1 << 24;
constexpr std::int64_t kMaxImageSide = 65535 * std::int64_t{kTileRows};  // of a grid's second axis

// Without pointers.
Axis axis_of(std::int64_t in, std::int64_t out) {
  Axis axis{};
  axis.in = in;
  axis.out = out;
  axis.scale = static_cast<double>(in) / static_cast<double>(out);
  axis.reach = std::max(axis.scale, 1.0);
  axis.per_pixel = 1.0 / axis.reach;
  return axis;
}

std::int64_t tap_limit(const Axis& axis) { return static_cast<std::int64_t>(std::ceil(axis.reach)) * 2 + 1; }

// 32-bit numbers of both axes' tables; with a workspace, their places in it.
std::int64_t lay_out(Axis (&axes)[2], std::int32_t* workspace) {
  std::int64_t used = 0;
  const auto take = [&](std::int32_t** piece, std::int64_t count) {
    if (workspace != nullptr) *piece = workspace + used;
    used += count;
  };
  for (Axis& axis : axes) {
    take(&axis.first, axis.out);
    take(&axis.count, axis.out);
    take(&axis.weights, axis.out * tap_limit(axis));
  }
  return used;
}

Size size_of(const Params& params) {
  return fitted_size(params.photo.shape[0], params.photo.shape[1], params.out.shape[2]);
}

Status check_photo(const ConstTensorView& photo) {
  if (photo.dtype != DType::kUInt8) {
    return Status::invalid_type(expected_got("image", "dtype uint8", dtype_name(photo.dtype)));
  }
  const std::string shape = shape_string(photo.shape, photo.ndim);
  if (photo.ndim != 3 || photo.shape[2] != 3) {
    return Status::invalid_argument(expected_got("image", "shape (H, W, 3)", shape));
  }
  for (int i = 0; i < 2; ++i) {
    if (photo.shape[i] < 1 || photo.shape[i] > kMaxSide) {
      return Status::invalid_argument(
          expected_got("image", "1 to " + std::to_string(kMaxSide) + " pixels a side", shape));
    }
  }
  const bool pixels_follow = photo.strides[2] == 1 && (photo.shape[1] == 1 || photo.strides[1] == 3);
  if (!pixels_follow || (photo.shape[0] > 1 && photo.strides[0] < 3 * photo.shape[1])) {
    return Status::invalid_argument(expected_got("image", "rows of neighbouring pixels that do not overlap",
                                                 "strides " + shape_string(photo.strides, photo.ndim)));
  }
  return {};
}

}  // namespace

Status validate(const Params& params) {
  EVSAM_RETURN_IF_ERROR(check_photo(params.photo));
  const TensorView& out = params.out;
  if (out.dtype != DType::kFloat16 && out.dtype != DType::kFloat32) {
    return Status::invalid_type(expected_got("out", "dtype float16 or float32", dtype_name(out.dtype)));
  }
  MapView map;
  EVSAM_RETURN_IF_ERROR(read_map(as_const(out), "out", Layout::channels_last, &map));
  if (map.batch != 1 || (map.channels != 3 && map.channels != 8) || map.height != map.width) {
    return Status::invalid_argument(
        expected_got("out", "shape (1, 3, S, S) or (1, 8, S, S)", shape_string(out.shape, out.ndim)));
  }
  if (map.height > kMaxImageSide) {
    return Status::invalid_argument(expected_got("out", "at most " + std::to_string(kMaxImageSide) + " pixels a side",
                                                 shape_string(out.shape, out.ndim)));
  }
  return map.channels == 8 ? check_aligned(out.data, "out", 16) : Status();
}

std::size_t workspace_bytes(const Params& params, const Device&) {
  const Size size = size_of(params);
  Axis axes[2] = {axis_of(params.photo.shape[1], size.width), axis_of(params.photo.shape[0], size.height)};
  return static_cast<std::size_t>(lay_out(axes, nullptr)) * sizeof(std::int32_t);
}

Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  EVSAM_RETURN_IF_ERROR(check_aligned(workspace, "workspace", 16));
  const std::size_t needed = preprocess::workspace_bytes(params, {});
  if (workspace == nullptr || workspace_bytes < needed) {
    return Status::invalid_argument(expected_got("workspace", "at least " + std::to_string(needed) + " bytes",
                                                 std::to_string(workspace == nullptr ? 0 : workspace_bytes)));
  }
  const Size size = size_of(params);
  WeightsArgs weights{{axis_of(params.photo.shape[1], size.width), axis_of(params.photo.shape[0], size.height)}};
  lay_out(weights.axes, static_cast<std::int32_t*>(workspace));
  const auto blocks = static_cast<unsigned>(divide_up(size.width + size.height, kThreads));
  EVSAM_RETURN_IF_ERROR(launch(kMakeTables, {blocks, 1, 1}, 0, stream, weights));

  Args args{};
  args.columns = weights.axes[0];
  args.rows = weights.axes[1];
  args.photo = static_cast<const std::uint8_t*>(params.photo.data);
  args.row_bytes = params.photo.strides[0];
  args.out = params.out.data;
  args.side = params.out.shape[2];
  args.channels = static_cast<std::uint32_t>(params.out.shape[1]);
  args.rows_first = evsam::preprocess::rows_first(params.photo.shape[0], params.photo.shape[1], size) ? 1 : 0;
  std::copy(kMean, kMean + 3, args.mean);
  std::copy(kDeviation, kDeviation + 3, args.deviation);
  const Dim3 grid = {static_cast<unsigned>(divide_up(args.side, kTileColumns)),
                     static_cast<unsigned>(divide_up(args.side, kTileRows)), 1};
  const ImageKernel& chosen =
      first_that(kImageKernels, [&](const ImageKernel& row) { return row.dtype == params.out.dtype; });
  return launch(chosen.kernel, grid, kSharedBytes, stream, args);
}

}  // namespace evsam::cuda::preprocess
