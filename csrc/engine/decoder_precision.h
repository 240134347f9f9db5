// Which of a decoder's products are narrow at which precision: the one place that decides.
#pragma once

#include "core/precision.h"

namespace evsam {

// What is not named here is float32 at every precision:
// - attention between tokens and cells, but for the projections below: its state decides where masks are, and a head's
//   products are 16 to 32 numbers deep, less than converting them is worth;
// - mask prompts and drawn prompts: 2 % of a decode's products, 4 to 64 numbers deep;
// - the networks that read masks and scores from the tokens: they run on one row for each prompt;
// - the last doubling of the lite decoder: 8 channels of 32.
struct DecoderPrecision {
  Precision tokens = Precision::fp32;     // linear layers over rows of tokens
  Precision image = Precision::fp32;      // projections of cells that many prompts share
  Precision upscaling = Precision::fp32;  // from cells to logits

  static DecoderPrecision of(Precision asked);
};

}  // namespace evsam
