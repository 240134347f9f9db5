// A 1x1 convolution inside another op, in float32 or, where asked for and suitable, with weights in 8 bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/precision.h"
#include "ops/pointwise/pointwise.h"
#include "ops/pointwise_int8/pointwise_int8.h"

namespace evsam::pointwise_int8 {

// One of the two has a kernel.
struct Either {
  pointwise::Packed fp32;
  Packed int8;

  bool rounds() const { return int8.kernel != nullptr; }
};

Status pack(const pointwise::Params& params, Precision precision, const float* weight, const float* bias,
            const Kernels* kernels, Either* packed);

// None in float32.
std::size_t workspace_bytes(const Either& packed, std::int64_t pixels, int threads);

void run(const Either& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y);

}  // namespace evsam::pointwise_int8
