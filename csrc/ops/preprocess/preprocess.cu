// A photo (H, W, 3 bytes) resized with the bits of Pillow's Image.resize(..., BILINEAR), normalised and padded with
// zeros to the encoder's image (S, S, 3 or 8 channels): a triangle filter as wide as the scale, one pass per axis, sums
// of bytes times 22-bit weights, exact in 32 bits, rounded to bytes after each pass.
//
// preprocess_weights, a thread per output row or column, makes both axes' tables in float64, each operation rounded in
// the order in which Pillow has it. preprocess, a block per tile of 16 x 32 pixels: the second pass' input passes
// through shared memory in chunks of 32 rows (or columns), which the first pass makes from the photo, while the sums of
// the second pass stay in registers. So nothing lies in memory between the passes, and any photo needs the same 4 KiB.
// Rows of the photo that two tiles need are resized by both.
//
// Per tile 3 (taps of the columns * 32 * chunk rows + taps of the rows * 512) integer multiply-adds. Bytes: the photo
// read once from memory, 3 or 8 numbers per pixel written.
#include "cuda/device.h"
#include "ops/preprocess/preprocess_cuda_args.h"

namespace evsam::cuda::preprocess {
namespace {

struct Triangle {
  double centre;
  double per_pixel;

  EVSAM_DEVICE double weight_of(int64_t x) const {
    const double distance = multiply_rounded(static_cast<double>(x) - centre + 0.5, per_pixel);
    const double weight = 1.0 - (distance < 0.0 ? -distance : distance);
    return weight > 0.0 ? weight : 0.0;
  }
};

template <typename Weight>
EVSAM_DEVICE void make_weights(const Axis& axis, int64_t i) {
  const Triangle triangle = {multiply_rounded(static_cast<double>(i) + 0.5, axis.scale), axis.per_pixel};
  int64_t first = static_cast<int64_t>(triangle.centre - axis.reach + 0.5);
  int64_t last = static_cast<int64_t>(triangle.centre + axis.reach + 0.5);
  if (first < 0) first = 0;
  if (last > axis.in) last = axis.in;
  double sum = 0.0;
  for (int64_t x = first; x < last; ++x) sum += triangle.weight_of(x);
  axis.first[i] = static_cast<int32_t>(first);
  axis.count[i] = static_cast<int32_t>(last - first);
  for (int64_t x = first; x < last; ++x) {
    const double share = multiply_rounded(triangle.weight_of(x) / sum, static_cast<double>(1 << kFractionBits));
    axis.weights[(x - first) * axis.out + i] = static_cast<Weight>(share + 0.5);
  }
}

template <typename Weight>
EVSAM_DEVICE void make_tables(const WeightsArgs& args) {
  const int64_t i = static_cast<int64_t>(block_index_x()) * kThreads + thread_index();
  const int64_t columns = args.axes[0].out;
  if (i < columns) {
    make_weights<Weight>(args.axes[0], i);
  } else if (i - columns < args.axes[1].out) {
    make_weights<Weight>(args.axes[1], i - columns);
  }
}

// Sums of the three colours.
struct Colours {
  int32_t sum[3] = {0, 0, 0};

  EVSAM_DEVICE uint32_t byte(int c) const {
    const int32_t value = (sum[c] + (1 << (kFractionBits - 1))) >> kFractionBits;
    return static_cast<uint32_t>(value > 255 ? 255 : value);
  }
};

// One output of the first pass: a sum over pixels of the photo that lie `step` bytes apart.
EVSAM_DEVICE uint32_t resize_one(const Axis& axis, int64_t i, const uint8_t* photo, int64_t step) {
  Colours colours;
  const uint8_t* from = photo + axis.first[i] * step;
  const int32_t* weight = axis.weights + i;
  const int32_t count = axis.count[i];
  for (int32_t k = 0; k < count; ++k) {
    EVSAM_UNROLL
    for (int c = 0; c < 3; ++c) colours.sum[c] += *weight * from[c];
    from += step;
    weight += axis.out;
  }
  return colours.byte(0) | colours.byte(1) << 8 | colours.byte(2) << 16;
}

// Adds those taps of output i of the second pass that lie in the chunk behind `chunk_first`, word p of which is at
// chunk[p * step].
EVSAM_DEVICE void add_chunk(Colours& colours, const Axis& axis, int64_t i, int64_t chunk_first, const uint32_t* chunk,
                            unsigned step) {
  const int64_t first = axis.first[i];
  const int64_t end = first + axis.count[i];
  const int64_t chunk_end = chunk_first + kChunk;
  int64_t at = first > chunk_first ? first : chunk_first;
  const int64_t stop = end < chunk_end ? end : chunk_end;
  const int32_t* weight = axis.weights + (at - first) * axis.out + i;
  for (; at < stop; ++at) {
    const uint32_t word = chunk[static_cast<unsigned>(at - chunk_first) * step];
    EVSAM_UNROLL
    for (int c = 0; c < 3; ++c) colours.sum[c] += *weight * static_cast<int32_t>(word >> 8 * c & 0xffU);
    weight += axis.out;
  }
}

template <typename T>
EVSAM_DEVICE void store(const Args& args, int64_t row, int64_t column, const Colours& colours, bool inside) {
  T* out = static_cast<T*>(args.out) + (row * args.side + column) * args.channels;
  float values[8] = {};
  if (inside) {
    EVSAM_UNROLL
    for (int c = 0; c < 3; ++c) {
      values[c] = (static_cast<float>(colours.byte(c)) - args.mean[c]) / args.deviation[c];
    }
  }
  if (args.channels == 8) {
    store_8<T>(out, values);
  } else {
    EVSAM_UNROLL
    for (int c = 0; c < 3; ++c) out[c] = from_float<T>(values[c]);
  }
}

template <typename T>
EVSAM_DEVICE void resize_and_normalise(const Args& args) {
  constexpr unsigned kRowStep = kThreads / kTileColumns;
  constexpr unsigned kPixels = kTileRows / kRowStep;
  uint32_t* chunk = reinterpret_cast<uint32_t*>(shared_memory());
  const int64_t tile_row = static_cast<int64_t>(block_index_y()) * kTileRows;
  const int64_t tile_column = static_cast<int64_t>(block_index_x()) * kTileColumns;
  const unsigned x = thread_index() % kTileColumns;
  const unsigned y = thread_index() / kTileColumns;
  Colours colours[kPixels];

  if (tile_row < args.rows.out && tile_column < args.columns.out) {  // the block is not all padding
    const bool rows_first = args.rows_first != 0;
    const Axis& first_axis = rows_first ? args.rows : args.columns;
    const Axis& second_axis = rows_first ? args.columns : args.rows;
    const int64_t tile_first = rows_first ? tile_column : tile_row;
    const int64_t tile_end = tile_first + (rows_first ? kTileColumns : kTileRows);
    const int64_t tile_last = (tile_end < second_axis.out ? tile_end : second_axis.out) - 1;
    const int64_t end = static_cast<int64_t>(second_axis.first[tile_last]) + second_axis.count[tile_last];

    for (int64_t at = second_axis.first[tile_first]; at < end; at += kChunk) {
      // Neighbouring lanes read neighbouring pixels of the photo: columns are x of the chunk, or it has one at each x.
      const unsigned lines = rows_first ? kTileRows : kChunk;
      for (unsigned line = y; line < lines; line += kRowStep) {
        const int64_t photo_row = rows_first ? 0 : at + line;
        const int64_t photo_column = rows_first ? at + x : 0;
        const int64_t output = rows_first ? tile_row + line : tile_column + x;
        uint32_t word = 0;
        if ((rows_first ? photo_column : photo_row) < end && output < first_axis.out) {
          word = resize_one(first_axis, output, args.photo + photo_row * args.row_bytes + photo_column * 3,
                            rows_first ? args.row_bytes : 3);
        }
        chunk[line * kTileColumns + x] = word;
      }
      sync_block();
      EVSAM_UNROLL
      for (unsigned p = 0; p < kPixels; ++p) {
        const unsigned row = y + p * kRowStep;
        if (tile_row + row >= args.rows.out || tile_column + x >= args.columns.out) continue;
        if (rows_first) {
          add_chunk(colours[p], args.columns, tile_column + x, at, chunk + row * kTileColumns, 1);
        } else {
          add_chunk(colours[p], args.rows, tile_row + row, at, chunk + x, kTileColumns);
        }
      }
      sync_block();  // before the next chunk overwrites this one
    }
  }

  EVSAM_UNROLL
  for (unsigned p = 0; p < kPixels; ++p) {
    const int64_t row = tile_row + y + p * kRowStep;
    const int64_t column = tile_column + x;
    if (row >= args.side || column >= args.side) continue;
    store<T>(args, row, column, colours[p], row < args.rows.out && column < args.columns.out);
  }
}

}  // namespace

EVSAM_CUDA_KERNELS_preprocess(EVSAM_CUDA_DEFINE)

}  // namespace evsam::cuda::preprocess
