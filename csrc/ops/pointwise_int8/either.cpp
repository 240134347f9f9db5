#include "ops/pointwise_int8/either.h"

namespace evsam::pointwise_int8 {

Status pack(const pointwise::Params& params, Precision precision, const float* weight, const float* bias,
            const Kernels* kernels, Either* packed) {
  const Params rounded{params.in_channels, params.out_channels, params.activation};
  if (precision == Precision::int8 && suits(rounded, weight)) {
    return pack(rounded, weight, bias, kernels, &packed->int8);
  }
  return pointwise::pack(params, weight, bias, kernels, &packed->fp32);
}

std::size_t workspace_bytes(const Either& packed, std::int64_t pixels, int threads) {
  return packed.rounds() ? workspace_bytes(packed.int8, pixels, threads) : 0;
}

void run(const Either& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  if (packed.rounds()) {
    run(packed.int8, context, x, residual, y);
  } else {
    pointwise::run(packed.fp32, context, x, residual, y);
  }
}

}  // namespace evsam::pointwise_int8
