// Weights of both axes, checks, tasks and launch; the sums are in preprocess_simd.inl.
#include "ops/preprocess/preprocess.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/math.h"
#include "core/scratch.h"

namespace evsam::preprocess {
namespace {

// Rows at the edge of a band are resized by both neighbours, so bands should be few.
constexpr std::int64_t kTasksPerThread = 4;

constexpr std::int64_t kRowsPerTask = 16;

// Half the width of the triangle in input pixels: it grows with the scale, so that no input pixel is left out.
double support(std::int64_t in, std::int64_t out) {
  return std::max(static_cast<double>(in) / static_cast<double>(out), 1.0);
}

std::int64_t tap_limit(std::int64_t in, std::int64_t out) {
  return divide_up(static_cast<std::int64_t>(std::ceil(support(in, out))) * 2 + 1, kTapTile) * kTapTile;
}

struct MutableAxis {
  std::int32_t* first;
  std::int32_t* count;
  std::int32_t* weights;
  std::int64_t taps;

  MutableAxis(Scratch& scratch, std::int64_t in, std::int64_t out)
      : first(scratch.take<std::int32_t>(out)),
        count(scratch.take<std::int32_t>(out)),
        weights(scratch.take<std::int32_t>(out * tap_limit(in, out))),
        taps(tap_limit(in, out)) {}

  Axis view() const { return {first, count, weights, taps}; }
};

// Weights of a triangle around each output's centre, made to sum to one, then rounded. Every operation is in the order
// in which Pillow has it, because float64 rounding could otherwise move a weight across a half.
void fill(std::int64_t in, std::int64_t out, const MutableAxis& axis) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double reach = support(in, out);
  const double per_pixel = 1.0 / reach;
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const std::int64_t first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - reach + 0.5), 0);
    const std::int64_t last = std::min<std::int64_t>(static_cast<std::int64_t>(centre + reach + 0.5), in);
    const auto weight_of = [&](std::int64_t x) {
      return std::max(1.0 - std::abs((static_cast<double>(x) - centre + 0.5) * per_pixel), 0.0);
    };
    double sum = 0.0;
    for (std::int64_t x = first; x < last; ++x) sum += weight_of(x);
    axis.first[i] = static_cast<std::int32_t>(first);
    axis.count[i] = static_cast<std::int32_t>(last - first);
    for (std::int64_t x = first; x < last; ++x) {
      const double share = weight_of(x) / sum * static_cast<double>(1 << kFractionBits);
      axis.weights[i * axis.taps + x - first] = static_cast<std::int32_t>(share + 0.5);
    }
    std::fill(axis.weights + i * axis.taps + (last - first), axis.weights + (i + 1) * axis.taps, 0);
  }
}

// What a call keeps in its workspace: both axes, and per worker the rows between the passes, with a list of pointers.
// Columns first: the resized rows that the current output row reads, as a ring. Rows first: one row of the photo's
// width and one of the output's.
struct Memory {
  MutableAxis columns;
  MutableAxis rows;
  bool rows_first;
  std::int64_t row_bytes;  // of the output's width
  std::int64_t ring_rows;
  PerWorker<std::uint8_t> between;
  PerWorker<const std::uint8_t*> list;

  Memory(Scratch& scratch, std::int64_t height, std::int64_t width, Size size, int threads)
      : columns(scratch, width, size.width),
        rows(scratch, height, size.height),
        rows_first(preprocess::rows_first(height, width, size)),
        row_bytes(aligned(size.width * 3)),
        ring_rows(rows.taps + kRowTile),
        between(scratch.take_each<std::uint8_t>(threads,
                                                rows_first ? row_bytes + aligned(width * 3) : row_bytes * ring_rows)),
        list(scratch.take_each<const std::uint8_t*>(threads, rows.taps)) {}

  static std::int64_t aligned(std::int64_t bytes) {
    return static_cast<std::int64_t>(align_up(static_cast<std::size_t>(bytes)));
  }
};

// Resizes by bands of output rows and calls emit(row, list of input rows at the output's width, weights, count) for
// each row, and after(band, bands) at the end of each band.
template <typename Emit, typename After>
void for_rows(const Kernel& kernel, const RunContext& context, const Photo& photo, Size size, const Emit& emit,
              const After& after) {
  const int threads = context.thread_count();
  Scratch scratch(context.workspace);
  const Memory memory(scratch, photo.height, photo.width, size, threads);
  fill(photo.width, size.width, memory.columns);
  fill(photo.height, size.height, memory.rows);
  const Axis columns = memory.columns.view();
  const Axis rows = memory.rows.view();

  const std::int64_t tasks =
      threads == 1 ? 1 : std::clamp<std::int64_t>(size.height / kRowsPerTask, 1, threads * kTasksPerThread);
  const std::int64_t band_rows = divide_up(size.height, tasks);
  const std::int64_t bands = divide_up(size.height, band_rows);
  context.parallel_for(bands, [&](std::int64_t band, int worker) {
    std::uint8_t* between = memory.between.of(worker);
    const std::uint8_t** list = memory.list.of(worker);
    const std::int64_t stop = std::min(size.height, (band + 1) * band_rows);
    std::int64_t ready = rows.first[band * band_rows];  // rows before this one are in the ring, or no longer needed
    const std::int64_t end = rows.first[stop - 1] + rows.count[stop - 1];
    for (std::int64_t row = band * band_rows; row < stop; ++row) {
      const std::int64_t first = rows.first[row];
      const std::int32_t count = rows.count[row];
      const std::int32_t* weights = rows.weights + row * rows.taps;
      while (!memory.rows_first && photo.width != size.width && ready < first + count) {
        std::uint8_t* resized[kRowTile];
        const std::int64_t tile = std::min(kRowTile, end - ready);
        for (std::int64_t r = 0; r < tile; ++r)
          resized[r] = between + (ready + r) % memory.ring_rows * memory.row_bytes;
        kernel.columns(photo.data + ready * photo.row_bytes, photo.row_bytes, photo.width, tile, columns, size.width,
                       resized);
        ready += tile;
      }
      for (std::int64_t k = first; k < first + count; ++k) {
        const bool direct = memory.rows_first || photo.width == size.width;
        list[k - first] = direct ? photo.data + k * photo.row_bytes : between + k % memory.ring_rows * memory.row_bytes;
      }
      if (memory.rows_first) {
        std::uint8_t* combined = between + memory.row_bytes;
        kernel.rows_to_bytes(list, weights, count, photo.width * 3, combined);
        kernel.columns(combined, 0, photo.width, 1, columns, size.width, &between);
        list[0] = between;
        constexpr std::int32_t kOne = 1 << kFractionBits;
        emit(row, list, &kOne, 1);
      } else {
        emit(row, list, weights, count);
      }
    }
    after(band, bands);
  });
}

}  // namespace

Status validate(const Photo& photo, std::int64_t side) {
  if (photo.height < 1 || photo.width < 1) {
    const std::int64_t shape[3] = {photo.height, photo.width, 3};
    return Status::invalid_argument(expected_got("image", "no empty axis", shape_string(shape, 3)));
  }
  constexpr std::int64_t kLimit = 1 << 28;  // offsets of one row stay below 2^31 bytes
  if (std::max(photo.height, photo.width) > kLimit) {
    return Status::invalid_argument(expected_got("image", "at most " + std::to_string(kLimit) + " pixels a side",
                                                 std::to_string(std::max(photo.height, photo.width))));
  }
  if (photo.row_bytes < photo.width * 3) {
    return Status::invalid_argument(expected_got(
        "image", "rows at least " + std::to_string(photo.width * 3) + " bytes apart", std::to_string(photo.row_bytes)));
  }
  if (side < 1) return Status::invalid_argument(expected_got("size", "at least 1", std::to_string(side)));
  return {};
}

std::size_t workspace_bytes(std::int64_t height, std::int64_t width, std::int64_t side, int threads) {
  Scratch scratch;
  Memory(scratch, height, width, fitted_size(height, width, side), threads_or_default(threads));
  return scratch.bytes();
}

void run(const Kernel& kernel, const RunContext& context, const Photo& photo, std::int64_t side, float* pixels) {
  const Size size = fitted_size(photo.height, photo.width, side);
  for_rows(
      kernel, context, photo, size,
      [&](std::int64_t row, const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t count) {
        float* to = pixels + row * side * 3;
        kernel.rows_to_pixels(rows, weights, count, size.width * 3, kMean, kDeviation, to);
        std::fill(to + size.width * 3, to + side * 3, 0.0F);
      },
      [&](std::int64_t band, std::int64_t bands) {
        float* padding = pixels + size.height * side * 3;
        const std::int64_t floats = (side - size.height) * side * 3;
        std::fill(padding + floats * band / bands, padding + floats * (band + 1) / bands, 0.0F);
      });
}

void resize(const Kernel& kernel, const RunContext& context, const Photo& photo, std::int64_t side,
            std::uint8_t* bytes) {
  const Size size = fitted_size(photo.height, photo.width, side);
  for_rows(
      kernel, context, photo, size,
      [&](std::int64_t row, const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t count) {
        kernel.rows_to_bytes(rows, weights, count, size.width * 3, bytes + row * size.width * 3);
      },
      [](std::int64_t, std::int64_t) {});
}

}  // namespace evsam::preprocess
