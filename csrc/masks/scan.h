// What there is to know of a mask at the size of the photo, from its logits (256 x 256), without making the picture.
//
// The numbers are those of ops/mask_upsample, whose kernel computes them. But most of a picture is far from the
// outline: the photo is cut into blocks, each of which reads some logits, and an upscaled logit lies between the least
// and the largest of these. Only blocks where that does not decide on which side of the thresholds all pixels are, are
// upscaled.
#pragma once

#include <cstddef>
#include <cstdint>

#include "masks/row_runs.h"
#include "ops/mask_upsample/mask_upsample.h"

namespace evsam::masks {

// A pixel is above a threshold if its logit is greater than it, and not if it is NaN.
struct Thresholds {
  float mask = 0.0F;
  float high = 0.0F;
  float low = 0.0F;
};

struct Scan {
  RowRuns mask;  // above thresholds.mask
  std::int64_t above_high = 0;
  std::int64_t above_low = 0;
};

// For all masks of one size. Immutable, and safe to call from any thread.
class Scanner {
 public:
  // Of the tables that a scanner of these sizes makes.
  static std::size_t table_bytes(const mask_upsample::Params& sizes);

  // For valid sizes; their count is not looked at. tables: aligned to kWorkspaceAlignment, and there as long as the
  // scanner. Nothing is allocated.
  Scanner(const mask_upsample::Kernel& kernel, const mask_upsample::Params& sizes, void* tables);

  // Of the workspace of a scan.
  std::size_t workspace_bytes() const;

  // The mask is moved by (dx, dy). workspace: aligned to kWorkspaceAlignment. Throws std::bad_alloc.
  Scan scan(const float* logits, const Thresholds& thresholds, void* workspace, std::int64_t dx = 0,
            std::int64_t dy = 0) const;

  // The picture of the mask above a threshold, in bands of rows, each of which may be painted by another thread with a
  // workspace of its own. mask: (height, width), 1 on it and 0 elsewhere.
  std::int64_t bands() const { return row_blocks_.count; }
  void paint(std::int64_t band, const float* logits, float threshold, void* workspace, std::uint8_t* mask) const;

 private:
  using Tap = mask_upsample::Tap;

  // Neighbouring columns, or rows, of the photo, and what they read.
  struct Block {
    std::int64_t first;  // of the photo
    std::int64_t last;   // behind the last
    std::int64_t resized_first;
    std::int64_t resized_last;
    std::int64_t logits_first;
    std::int64_t logits_last;
    // Of columns, padded:
    std::int64_t logits_begin;  // where loads of whole vectors begin
    const Tap* frame_taps;      // from there on
    const Tap* taps;            // from resized_first on
  };
  struct Blocks {
    Block* first = nullptr;
    std::int64_t count = 0;

    const Block& operator[](std::int64_t i) const { return first[i]; }
    const Block* begin() const { return first; }
    const Block* end() const { return first + count; }
  };
  struct Tables;
  struct Memory;

  static std::int64_t cut(const Tap* frame, const Tap* photo, std::int64_t count, std::int64_t reach, Block* blocks);
  bool find_ranges(const Block& band, const float* logits, const Memory& memory) const;
  void upscale(const Block& band, const Block& block, const float* logits, const Memory& memory) const;

  const mask_upsample::Kernel* kernel_;
  std::int64_t resized_height_;
  std::int64_t width_;
  const Tap* frame_rows_;
  const Tap* rows_;
  Blocks row_blocks_;
  Blocks column_blocks_;
  std::int64_t band_rows_ = 0;  // the most of any block
  std::int64_t block_columns_ = 0;
};

}  // namespace evsam::masks
