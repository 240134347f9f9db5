// The oracle.
#include <vector>

#include "ops/mbconv/mbconv.h"

namespace evsam::mbconv {

void run_float64(const Params& params, const Weights64& weights, const double* x, const double* residual,
                 std::int64_t height, std::int64_t width, double* y) {
  const depthwise_conv::Params depthwise = {params.hidden_channels, params.filter_size, params.stride,
                                            params.activation};
  const std::int64_t out_pixels =
      depthwise_conv::out_size(depthwise, height) * depthwise_conv::out_size(depthwise, width);
  std::vector<double> filtered(static_cast<std::size_t>(out_pixels * params.hidden_channels));
  std::vector<double> expanded;
  if (params.expands) {
    expanded.resize(static_cast<std::size_t>(height * width * params.hidden_channels));
    pointwise::run_float64({params.in_channels, params.hidden_channels, params.activation}, x, weights.expand,
                           weights.expand_bias, nullptr, height * width, expanded.data());
  }
  depthwise_conv::run_float64(depthwise, params.expands ? expanded.data() : x, weights.depthwise,
                              weights.depthwise_bias, height, width, filtered.data());
  pointwise::run_float64({params.hidden_channels, params.out_channels, Activation::none}, filtered.data(),
                         weights.project, weights.project_bias, residual, out_pixels, y);
}

}  // namespace evsam::mbconv
