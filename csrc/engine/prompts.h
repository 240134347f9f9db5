// Prompts as users give them and as decoders read them, and every rule between the two: evsam/prompts.py and csrc/capi
// only bring what they got to the form of GivenPrompts.
//
// Prompts with different numbers of points are given with padding: points labelled -1, wherever they stand, whose
// coordinates are not looked at. Each prompt gets the masks that it gets alone and without its padding. To SAM, though,
// label -1 is a token that the others attend to, and more of them change the masks; so padding is dropped here, and
// prompts with as many points left form a group, which is what decoders take in one call. A prompt of nothing but
// padding must have a box or a mask.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "engine/architecture.h"
#include "evsam/status.h"

namespace evsam {

// Labels of points as decoders know them, besides 0 (background).
inline constexpr std::int32_t kPadding = -1;
inline constexpr std::int32_t kForeground = 1;
inline constexpr std::int32_t kTopLeft = 2;
inline constexpr std::int32_t kBottomRight = 3;

struct ImageSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
};

// N prompts on one image with as many points each, as decoders read them. Their padding is SAM's: one point, which
// stands for the box that a click does not have.
struct Prompts {
  std::int64_t count = 0;                // N
  std::int64_t points = 0;               // T, points of each prompt; 0 where a mask is the only prompt
  const float* xy = nullptr;             // (N, T, 2), x and y in pixels of the 1024 frame
  const std::int32_t* labels = nullptr;  // (N, T): -1 padding, 0 background, 1 foreground, 2 and 3 box corners
  const float* masks = nullptr;          // logits (N, 256, 256), or nullptr
};

// Prompts in pixels of an image, in C order; nullptr: there are none of that kind. Number: float or double; Label:
// std::int32_t or double.
template <typename Number, typename Label>
struct GivenPrompts {
  std::int64_t points_count = 0;   // prompts with points
  std::int64_t points_each = 0;    // T
  const Number* points = nullptr;  // (points_count, T, 2): x, y
  const Label* labels = nullptr;   // (points_count, T): 1 foreground, 0 background, -1 padding; nullptr: all foreground
  std::int64_t boxes_count = 0;
  const Number* boxes = nullptr;  // (boxes_count, 4): x0, y0, x1, y1
  std::int64_t masks_count = 0;
  const float* masks = nullptr;                 // logits (masks_count, 256, 256)
  MaskPrompt mask_prompt = MaskPrompt::logits;  // what the variant makes of them
};

// What the caller's arguments are called, for messages.
struct PromptNames {
  const char* points = "points";
  const char* labels = "labels";
  const char* boxes = "boxes";
  const char* masks = "masks";
  const char* all = "points, boxes, masks";
};

// Those of the given prompts that have as many points, with or without a box.
struct PromptGroup {
  std::vector<std::int64_t> rows;    // which of the given prompts they are, in their order
  std::int64_t points = 0;           // T
  std::vector<float> xy;             // (rows, T, 2)
  std::vector<std::int32_t> labels;  // (rows, T)

  std::int64_t count() const { return static_cast<std::int64_t>(rows.size()); }
};

// Sorts prompts in the frame by their number of points, and by whether a box is among them.
class PromptGroups {
 public:
  void add(std::int64_t row, const std::vector<float>& xy, const std::vector<std::int32_t>& labels);
  std::vector<PromptGroup> take();  // from few points to many

 private:
  std::map<std::pair<std::size_t, bool>, PromptGroup> groups_;
};

struct FramePrompts {
  std::int64_t count = 0;           // N; each prompt is in one group
  std::vector<PromptGroup> groups;  // from few points to many
  const float* masks = nullptr;     // logits (N, 256, 256), or nullptr: the caller's, or own_masks
  std::vector<float> own_masks;     // where the variant needs other ones
  bool ambiguous = false;  // each prompt is a single click and nothing else: better answered with several masks
};

// The rules that need neither coordinates nor an image: there is a prompt, labels have points, and there are as many
// prompts of each kind.
template <typename Number, typename Label>
Status check_kinds(const GivenPrompts<Number, Label>& given, const PromptNames& names);

// Whether each prompt is a single click and nothing else. Reads labels, and no coordinates.
template <typename Number, typename Label>
bool is_ambiguous(const GivenPrompts<Number, Label>& given);

// All rules, then the move from the image of size `original` to its resized form in the frame. Boxes are clipped
// to the image; their corners stand behind the points, and points without a box get SAM's padding point.
// Masks are completed to what the variant makes of them.
template <typename Number, typename Label>
Status read_prompts(const GivenPrompts<Number, Label>& given, ImageSize original, ImageSize resized,
                    const PromptNames& names, FramePrompts* frame);

// xy: `count` points in pixels of the original image; out: in the frame. Each axis has its own factor, since both sides
// of the resized image were rounded.
void points_to_frame(const double* xy, std::int64_t count, ImageSize original, ImageSize resized, float* out);

}  // namespace evsam
