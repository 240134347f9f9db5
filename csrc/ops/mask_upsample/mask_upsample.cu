// Mask logits (256 x 256) to a mask of the photo: bilinear to the 1024 frame, cropped to the photo's image in it,
// bilinear to the photo's size, above zero. The four passes (columns and rows of the frame, columns and rows of the
// photo) have the order of evsam/transforms.py, and each product and each sum is rounded, so the pixels are the same.
//
// A thread goes down kColumns neighbouring columns of the photo. It keeps two neighbouring rows of every pass: F, two
// logits rows at the columns of the frame that it needs; wide, two rows of the frame at its columns of the photo. All
// threads of a block advance in the same rows. Positions are float64, as in the specification, but only one per row of
// a block and one per column.
//
// Per pixel of the photo: one blend (3 FLOP); per row of the frame and column of the photo: 3 more; per logits row: 2
// more and four loads. Bytes: logits from the caches, the mask written once.
#include "cuda/device.h"
#include "ops/mask_upsample/mask_upsample_cuda_args.h"

namespace evsam::cuda::mask_upsample {
namespace {

EVSAM_DEVICE float blend(float first, float second, float weight) {
  return add_rounded(multiply_rounded(first, 1.0F - weight), multiply_rounded(second, weight));
}

EVSAM_DEVICE int second_of(int first, int size) { return first + 1 < size ? first + 1 : first; }

// Of output i of a bilinear resize with `scale` = source / target.
EVSAM_DEVICE RowTap photo_tap(int64_t i, double scale) {
  const double position = add_rounded(multiply_rounded(static_cast<double>(i) + 0.5, scale), -0.5);
  const double inside = position > 0.0 ? position : 0.0;
  const int first = static_cast<int>(inside);
  return {first, static_cast<float>(inside - first)};
}
// The same from the logits to the frame, where float32 is exact.
EVSAM_DEVICE RowTap frame_tap(int i) {
  const float position = (static_cast<float>(i) + 0.5F) * 0.25F - 0.5F;
  const float inside = position > 0.0F ? position : 0.0F;
  const int first = static_cast<int>(inside);
  return {first, inside - static_cast<float>(first)};
}

// The latest two rows of one pass.
template <unsigned kCount>
struct Rows {
  int first_row = -1;
  int second_row = -1;
  float first[kCount] = {};
  float second[kCount] = {};
};

// Afterwards first is row `first` and second is row `second`; make(row, values) computes a row.
template <unsigned kCount, typename Make>
EVSAM_DEVICE void advance(Rows<kCount>& rows, int first, int second, const Make& make) {
  if (rows.first_row != first) {
    if (rows.second_row == first) {
      EVSAM_UNROLL
      for (unsigned i = 0; i < kCount; ++i) rows.first[i] = rows.second[i];
    } else {
      make(first, rows.first);
    }
    rows.first_row = first;
  }
  if (rows.second_row != second) {
    make(second, rows.second);
    rows.second_row = second;
  }
}

template <typename T>
EVSAM_DEVICE void upsample(const Args& args) {
  RowTap* taps = reinterpret_cast<RowTap*>(shared_memory());
  const int64_t first_row = static_cast<int64_t>(block_index_y()) * args.rows_per_block;
  const int64_t rest = args.height - first_row;
  const uint32_t rows = rest < args.rows_per_block ? static_cast<uint32_t>(rest) : args.rows_per_block;
  for (uint32_t r = thread_index(); r < rows; r += kThreads) taps[r] = photo_tap(first_row + r, args.row_scale);
  sync_block();

  const int64_t column = (static_cast<int64_t>(block_index_z()) * kThreads + thread_index()) * kColumns;
  if (column >= args.width) return;
  const T* logits = static_cast<const T*>(args.logits) + block_index_x() * kLogitsSize * kLogitsSize;
  uint8_t* mask = args.masks + (block_index_x() * args.height + first_row) * args.width + column;
  RowTap columns[kColumns];  // of the frame, for each of the photo; those behind its edge repeat the last
  EVSAM_UNROLL
  for (unsigned j = 0; j < kColumns; ++j) {
    columns[j] = photo_tap(column + j < args.width ? column + j : args.width - 1, args.column_scale);
  }

  Rows<2 * kColumns> narrow;  // logits rows at both columns of the frame of each column
  Rows<kColumns> wide;        // rows of the frame
  const auto make_narrow = [&](int row, float (&values)[2 * kColumns]) {
    EVSAM_UNROLL
    for (unsigned j = 0; j < 2 * kColumns; ++j) {
      const int first = columns[j / 2].first;
      const RowTap tap = frame_tap(j % 2 == 0 ? first : second_of(first, args.resized_width));
      const T* from = logits + row * kLogitsSize;
      values[j] = blend(to_float(from[tap.first]), to_float(from[second_of(tap.first, kLogitsSize)]), tap.weight);
    }
  };
  const auto make_wide = [&](int row, float (&values)[kColumns]) {
    const RowTap tap = frame_tap(row);
    advance(narrow, tap.first, second_of(tap.first, kLogitsSize), make_narrow);
    EVSAM_UNROLL
    for (unsigned j = 0; j < kColumns; ++j) {
      values[j] = blend(blend(narrow.first[2 * j], narrow.second[2 * j], tap.weight),
                        blend(narrow.first[2 * j + 1], narrow.second[2 * j + 1], tap.weight), columns[j].weight);
    }
  };

  EVSAM_NO_UNROLL
  for (uint32_t r = 0; r < rows; ++r) {
    const RowTap tap = taps[r];
    advance(wide, tap.first, second_of(tap.first, args.resized_height), make_wide);
    uint32_t bytes = 0;
    EVSAM_UNROLL
    for (unsigned j = 0; j < kColumns; ++j) {
      bytes |= (blend(wide.first[j], wide.second[j], tap.weight) > 0.0F ? 1U : 0U) << 8 * j;
    }
    if (args.whole_words != 0) {
      *reinterpret_cast<uint32_t*>(mask) = bytes;
    } else {
      EVSAM_UNROLL
      for (unsigned j = 0; j < kColumns; ++j) {
        if (column + j < args.width) mask[j] = static_cast<uint8_t>(bytes >> 8 * j);
      }
    }
    mask += args.width;
  }
}

}  // namespace

EVSAM_CUDA_KERNELS_mask_upsample(EVSAM_CUDA_DEFINE)

}  // namespace evsam::cuda::mask_upsample
