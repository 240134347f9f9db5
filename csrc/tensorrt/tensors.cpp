#include "tensorrt/tensors.h"

#include <cstdint>
#include <string>

#include "core/math.h"

namespace evsam::tensorrt {
namespace {

// Axes from the innermost to the outermost; the innermost takes `inner` elements.
void set_strides(TensorView* view, const int* order, std::int64_t inner) {
  std::int64_t stride = 1;
  for (int i = 0; i < view->ndim; ++i) {
    view->strides[order[i]] = stride;
    stride *= i == 0 ? inner : view->shape[order[i]];
  }
}

}  // namespace

DType dtype_of(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT: return DType::kFloat32;
    case nvinfer1::DataType::kHALF: return DType::kFloat16;
    case nvinfer1::DataType::kBF16: return DType::kBFloat16;
    default: return DType::kOther;
  }
}

Status read_tensor(const nvinfer1::PluginTensorDesc& desc, void* data, const char* name, TensorView* view) {
  *view = {};
  view->data = data;
  view->dtype = dtype_of(desc.type);
  const int ndim = desc.dims.nbDims;
  if (ndim < 1 || ndim > TensorView::kMaxDims) {
    return Status::invalid_argument(
        expected_got(name, "1 to " + std::to_string(TensorView::kMaxDims) + " axes", std::to_string(ndim)));
  }
  view->ndim = ndim;
  for (int i = 0; i < ndim; ++i) view->shape[i] = desc.dims.d[i];
  for (int i = 0; i < ndim; ++i) {
    if (view->shape[i] < 0) {
      return Status::invalid_argument(expected_got(name, "a known shape", shape_string(view->shape, ndim)));
    }
  }
  if (desc.format == nvinfer1::TensorFormat::kLINEAR) {
    int order[TensorView::kMaxDims] = {};
    for (int i = 0; i < ndim; ++i) order[i] = ndim - 1 - i;
    set_strides(view, order, view->shape[ndim - 1]);
    return {};
  }
  const bool padded = desc.format == nvinfer1::TensorFormat::kHWC8;
  if (!padded && desc.format != nvinfer1::TensorFormat::kHWC) {
    return Status::invalid_argument(
        expected_got(name, "the format kLINEAR, kHWC8 or kHWC", std::to_string(static_cast<int>(desc.format))));
  }
  if (ndim != 4) {
    return Status::invalid_argument(expected_got(name, "shape (B, C, H, W)", shape_string(view->shape, ndim)));
  }
  const int order[] = {1, 3, 2, 0};
  set_strides(view, order, padded ? divide_up(view->shape[1], 8) * 8 : view->shape[1]);
  return {};
}

void* placeholder(int position) {
  constexpr int kTebibyte = 40;
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(position + 1) << kTebibyte);
}

}  // namespace evsam::tensorrt
