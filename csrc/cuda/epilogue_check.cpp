#include "cuda/epilogue_check.h"

#include <cmath>
#include <string>

namespace evsam::cuda {

Status read_f16_map(const ConstTensorView& view, const char* name, MapView* map) {
  if (view.dtype != DType::kFloat16) {
    return Status::invalid_type(expected_got(name, "dtype float16", dtype_name(view.dtype)));
  }
  EVSAM_RETURN_IF_ERROR(read_map(view, name, Layout::channels_last, map));
  if (map->channels % 8 != 0) {
    return Status::invalid_argument(expected_got(name, "a multiple of 8 channels", std::to_string(map->channels)));
  }
  for (int i = 1; i < 4; ++i) {
    if (view.shape[i] > kLongestAxis) {
      return Status::invalid_argument(
          expected_got(name, "channels, rows and columns of at most " + std::to_string(kLongestAxis),
                       "shape " + shape_string(view.shape, 4)));
    }
  }
  return check_aligned(view.data, name, 16);
}

Status check_f16_weight(const ConstTensorView& view, const char* name, std::initializer_list<std::int64_t> shape,
                        std::initializer_list<int> order) {
  if (view.dtype != DType::kFloat16) {
    return Status::invalid_type(expected_got(name, "dtype float16", dtype_name(view.dtype)));
  }
  const auto ndim = static_cast<int>(shape.size());
  bool same_shape = view.ndim == ndim;
  for (int i = 0; same_shape && i < ndim; ++i) same_shape = view.shape[i] == shape.begin()[i];
  if (!same_shape) {
    return Status::invalid_argument(
        expected_got(name, "shape " + shape_string(shape.begin(), ndim), shape_string(view.shape, view.ndim)));
  }
  std::int64_t strides[ConstTensorView::kMaxDims] = {};
  std::int64_t stride = 1;
  bool same_strides = true;
  for (int i = ndim - 1; i >= 0; --i) {
    const int axis = order.begin()[i];
    strides[axis] = stride;
    stride *= view.shape[axis];
    if (view.shape[axis] > 1 && view.strides[axis] != strides[axis]) same_strides = false;
  }
  if (!same_strides) {
    return Status::invalid_argument(
        expected_got(name, "strides " + shape_string(strides, ndim), shape_string(view.strides, ndim)));
  }
  return check_aligned(view.data, name, 16);
}

Status check_bias(const ConstTensorView& bias, const char* name, std::int64_t channels) {
  if (bias.data == nullptr) return {};
  return check_vector(bias, name, channels);
}

Status check_activation(Activation activation, float activation_scale) {
  if (activation == Activation::gelu) {
    return Status::invalid_argument(
        expected_got("activation", "none, relu, relu6 or gelu_tanh", "gelu with the error function"));
  }
  if (!std::isfinite(activation_scale) || activation_scale <= 0.0F) {
    return Status::invalid_argument(
        expected_got("activation_scale", "a finite number > 0", std::to_string(activation_scale)));
  }
  return {};
}

Status check_output(const ConstTensorView& residual, const TensorView& out, const MapView& expected) {
  EVSAM_RETURN_IF_ERROR(check_same_map(as_const(out), "out", expected));
  EVSAM_RETURN_IF_ERROR(check_aligned(out.data, "out", 16));
  if (residual.data == nullptr) return {};
  EVSAM_RETURN_IF_ERROR(check_same_map(residual, "residual", expected));
  return check_aligned(residual.data, "residual", 16);
}

EpilogueArgs epilogue_args(const ConstTensorView& bias, const ConstTensorView& residual, const TensorView& out,
                           Activation activation, float activation_scale) {
  EpilogueArgs args{};
  args.bias = static_cast<const float*>(bias.data);
  args.residual = residual.data;
  args.out = out.data;
  args.channels = out.shape[1];
  args.activation = activation;
  args.activation_scale = activation_scale;
  return args;
}

}  // namespace evsam::cuda
