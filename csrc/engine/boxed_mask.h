// Mask prompts for decoders that have not learnt to find an object by a mask (MaskPrompt::boxed): asked with the logits
// of their own answer alone, they answer something else. Told where to look they give a mask back, so a mask gets a box
// unless it comes with one, or with a foreground click on the mask.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/prompts.h"

namespace evsam {

// Completes one prompt that has a mask, (256, 256). xy (T, 2) and labels (T) are its points in the frame, as decoders
// read them; the box that is added stands behind the clicks, in the place of their padding point. It goes around the
// large regions of the mask, so that stray pixels do not stretch it, and the foreground clicks. Says whether there is
// such a box, to which make_sure() of the mask belongs: not where the mask is nowhere above 0 within the image, of size
// `resized`.
bool box_mask(ImageSize resized, const float* mask, std::vector<float>* xy, std::vector<std::int32_t>* labels);

// A mask (256, 256) becomes 10 where it was above 0, and -10 elsewhere.
void make_sure(float* mask);

}  // namespace evsam
