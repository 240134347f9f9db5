// In which numbers a model's dense layers multiply. Everything else is float32: sums, norms, softmax, attention states,
// depthwise convolutions, what is added up over many blocks, and what goes in and comes out.
#pragma once

#include <cstdint>

namespace evsam {

// The operands of products (narrow/README.md): both in 16 bits, or weights and activations in 8 bits with scales. A
// layer that loses too much stays in float32.
enum class Precision : std::uint8_t { fp32, bf16, fp16, int8 };
inline constexpr Precision kAllPrecisions[] = {Precision::fp32, Precision::bf16, Precision::fp16, Precision::int8};

const char* precision_name(Precision precision);

// False: none has that name.
bool precision_named(const char* name, Precision* precision);

}  // namespace evsam
