// The oracle.
#include "ops/fused_mbconv/fused_mbconv.h"

namespace evsam::fused_mbconv {

void run_float64(const Params& params, const double* x, const double* weight, const double* bias,
                 const double* point_weight, const double* point_bias, const double* residual, std::int64_t height,
                 std::int64_t width, double* hidden, double* y) {
  conv3x3::run_float64(spatial(params), x, weight, bias, nullptr, height, width, hidden);
  const std::int64_t pixels = conv3x3::output_size(height, params.stride) * conv3x3::output_size(width, params.stride);
  const pointwise::Params point = {params.hidden, params.out_channels, Activation::none};
  pointwise::run_float64(point, hidden, point_weight, point_bias, residual, pixels, y);
}

}  // namespace evsam::fused_mbconv
