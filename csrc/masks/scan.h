// What there is to know of a mask at the size of the photo, from its logits (256 x 256), without making the picture.
//
// The numbers are those of ops/mask_upsample, whose kernel computes them. But most of a picture is far from the
// outline: the photo is cut into blocks, each of which reads some logits, and an upscaled logit lies between the least
// and the largest of these. Only blocks where that does not decide on which side of the thresholds all pixels are, are
// upscaled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

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
  // For valid sizes, as of one mask (mask_upsample::validate).
  Scanner(const mask_upsample::Kernel& kernel, std::int64_t resized_height, std::int64_t resized_width,
          std::int64_t height, std::int64_t width);

  // Of the workspace of a scan.
  std::size_t workspace_bytes() const;

  // The mask is moved by (dx, dy). workspace: aligned to kWorkspaceAlignment. Throws std::bad_alloc.
  Scan scan(const float* logits, const Thresholds& thresholds, void* workspace, std::int64_t dx = 0,
            std::int64_t dy = 0) const;

  // The picture of the mask above a threshold, in bands of rows, each of which may be painted by another thread with a
  // workspace of its own. mask: (height, width), 1 on it and 0 elsewhere.
  std::int64_t bands() const { return static_cast<std::int64_t>(row_blocks_.size()); }
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
    std::int64_t logits_begin;  // of columns: where loads of whole vectors begin
    std::size_t frame_taps;     // of columns: in frame_columns_ and columns_
    std::size_t taps;
  };
  struct Memory;

  static std::vector<Block> cut(const std::vector<Tap>& frame, const std::vector<Tap>& photo, std::int64_t reach);
  bool find_ranges(const Block& band, const float* logits, const Memory& memory) const;
  void upscale(const Block& band, const Block& block, const float* logits, const Memory& memory) const;

  const mask_upsample::Kernel* kernel_;
  std::int64_t resized_height_;
  std::int64_t width_;
  std::vector<Tap> frame_rows_;
  std::vector<Tap> rows_;
  std::vector<Block> row_blocks_;
  std::vector<Block> column_blocks_;
  std::vector<Tap> frame_columns_;  // of each block of columns, padded, from its first logits column
  std::vector<Tap> columns_;        // the same from its first column of the resized image
  std::int64_t band_rows_ = 0;      // the most of any block
  std::int64_t block_columns_ = 0;
};

}  // namespace evsam::masks
