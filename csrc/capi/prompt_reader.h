// Prompts of the C interface: checked, and moved from pixels of the image to the 1024 frame. What evsam/prompts.py does
// for Python, rule by rule.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/decoder.h"
#include "evsam/evsam.h"
#include "evsam/status.h"

namespace evsam {

struct ImageSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
};

struct FramePrompts {
  Prompts prompts;              // refers to the vectors below, and to the caller's masks
  std::int64_t masks_each = 1;  // 1: the single mask; 3: those for ambiguous prompts

  std::vector<float> xy;
  std::vector<std::int32_t> labels;
};

// original: size of the image; resized: in the frame.
Status read_prompts(const evsam_prompts& given, ImageSize original, ImageSize resized, FramePrompts* frame);

// Masks per prompt; the part of read_prompts() that needs no image.
Status read_masks_each(const evsam_prompts& given, std::int64_t* masks_each);

}  // namespace evsam
