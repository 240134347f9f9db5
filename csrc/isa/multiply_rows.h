// The products of isa/gemm_rows.inl, for other files of the same instruction set: include isa/<isa>.h first. They are
// register tiles of every size, which take seconds to compile; so ops/pointwise has their code, and those call it who
// multiply much at a time. mask_head multiplies 24 pixels, and with code of its own takes 8 % less time.
#pragma once

#include "isa/gemm_rows.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {

void multiply_rows(const GemmRows& rows);

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
