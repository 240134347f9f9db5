#include "ops/mask_upsample/mask_upsample_cuda.h"

#include <algorithm>
#include <string>

#include "core/math.h"
#include "ops/mask_upsample/mask_upsample_cuda_args.h"

namespace evsam::cuda::mask_upsample {

EVSAM_CUDA_KERNELS_mask_upsample(EVSAM_CUDA_DECLARE);

namespace {

struct DTypeKernel {
  Kernel<Args> kernel;
  DType dtype;  // of the logits
};

template <typename T>
constexpr DTypeKernel describe(const Kernel<Args>& kernel) {
  return {kernel, kDTypeOf<T>};
}

constexpr DTypeKernel kDTypeKernels[] = {EVSAM_CUDA_KERNELS_mask_upsample(EVSAM_CUDA_ROW)};

constexpr std::int64_t kMaxSide = 1 << 24;
constexpr std::int64_t kMaxGrid = 65535;  // of its second and third axis

// A block computes up to two rows of the frame that its neighbour computes too, so it should have many rows, as long
// as there are enough blocks for all multiprocessors.
constexpr std::int64_t kMaxRowsPerBlock = 32;
constexpr std::int64_t kMinRowsPerBlock = 8;
constexpr std::int64_t kBlocksPerMultiprocessor = 8;

bool contiguous(const std::int64_t* shape, const std::int64_t* strides) {
  std::int64_t expected = 1;
  for (int i = 2; i >= 0; --i) {
    if (shape[i] > 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

template <typename View>
Status check_contiguous(const View& view, const char* name) {
  if (contiguous(view.shape, view.strides)) return {};
  return Status::invalid_argument(
      expected_got(name, "C order without gaps", "strides " + shape_string(view.strides, view.ndim)));
}

struct Geometry {
  Dim3 grid;
  std::uint32_t rows_per_block;
};

Geometry geometry(const Params& params, const Device& device) {
  const std::int64_t planes = params.masks.shape[0];
  const std::int64_t height = params.masks.shape[1];
  const std::int64_t tiles = divide_up(params.masks.shape[2], static_cast<std::int64_t>(kThreads) * kColumns);
  std::int64_t rows = kMaxRowsPerBlock;
  while (rows > kMinRowsPerBlock &&
         planes * tiles * divide_up(height, rows) < kBlocksPerMultiprocessor * device.multiprocessors) {
    rows /= 2;
  }
  rows = std::max(rows, divide_up(height, kMaxGrid));
  return {{static_cast<unsigned>(planes), static_cast<unsigned>(divide_up(height, rows)), static_cast<unsigned>(tiles)},
          static_cast<std::uint32_t>(rows)};
}

}  // namespace

Status validate(const Params& params) {
  const ConstTensorView& logits = params.logits;
  const TensorView& masks = params.masks;
  if (logits.dtype != DType::kFloat32 && logits.dtype != DType::kFloat16) {
    return Status::invalid_type(expected_got("logits", "dtype float32 or float16", dtype_name(logits.dtype)));
  }
  if (logits.ndim != 3 || logits.shape[1] != kLogitsSize || logits.shape[2] != kLogitsSize) {
    return Status::invalid_argument(
        expected_got("logits", "shape (N, 256, 256)", shape_string(logits.shape, logits.ndim)));
  }
  EVSAM_RETURN_IF_ERROR(check_contiguous(logits, "logits"));
  if (masks.dtype != DType::kUInt8 && masks.dtype != DType::kBool) {
    return Status::invalid_type(expected_got("masks", "dtype uint8 or bool", dtype_name(masks.dtype)));
  }
  if (masks.ndim != 3 || masks.shape[0] != logits.shape[0]) {
    return Status::invalid_argument(expected_got("masks", "shape (" + std::to_string(logits.shape[0]) + ", H, W)",
                                                 shape_string(masks.shape, masks.ndim)));
  }
  const auto inside = [](std::int64_t side, std::int64_t limit) { return side >= 1 && side <= limit; };
  if (!inside(masks.shape[1], kMaxSide) || !inside(masks.shape[2], kMaxSide)) {
    return Status::invalid_argument(expected_got("masks", "1 to " + std::to_string(kMaxSide) + " pixels a side",
                                                 shape_string(masks.shape, masks.ndim)));
  }
  EVSAM_RETURN_IF_ERROR(check_contiguous(masks, "masks"));
  if (!inside(params.resized_height, kFrameSize) || !inside(params.resized_width, kFrameSize)) {
    const std::int64_t got[2] = {params.resized_height, params.resized_width};
    return Status::invalid_argument(expected_got("resized_size", "1 to 1024 pixels a side", shape_string(got, 2)));
  }
  return {};
}

Status run(const Params& params, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  if (params.logits.shape[0] == 0) return {};
  Device device;
  EVSAM_RETURN_IF_ERROR(current_device(&device));
  const Geometry launched = geometry(params, device);
  Args args{};
  args.logits = params.logits.data;
  args.masks = static_cast<std::uint8_t*>(params.masks.data);
  args.height = params.masks.shape[1];
  args.width = params.masks.shape[2];
  args.resized_height = static_cast<std::int32_t>(params.resized_height);
  args.resized_width = static_cast<std::int32_t>(params.resized_width);
  args.row_scale = static_cast<double>(params.resized_height) / static_cast<double>(args.height);
  args.column_scale = static_cast<double>(params.resized_width) / static_cast<double>(args.width);
  args.rows_per_block = launched.rows_per_block;
  args.whole_words = args.width % kColumns == 0 && reinterpret_cast<std::uintptr_t>(args.masks) % kColumns == 0 ? 1 : 0;
  const DTypeKernel& chosen =
      first_that(kDTypeKernels, [&](const DTypeKernel& row) { return row.dtype == params.logits.dtype; });
  return launch(chosen.kernel, launched.grid, launched.rows_per_block * sizeof(RowTap), stream, args);
}

}  // namespace evsam::cuda::mask_upsample
