#include "masks/scan.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/math.h"
#include "core/scratch.h"

namespace evsam::masks {
namespace {

using mask_upsample::kFrameSize;
using mask_upsample::kLogitsSize;
using mask_upsample::kPadding;

// Columns and rows of the resized image that a block spans: two vectors of the widest kernel, and one group of its
// rows. Larger blocks compute more pixels far from the outline, smaller ones more columns and rows twice.
constexpr std::int64_t kResizedColumns = 32;
constexpr std::int64_t kResizedRows = 16;

// How far an upscaled logit may be outside the range of the logits that it is made of, in parts of the largest: four
// averages with three roundings each, and weights whose sum is 1 but for one rounding, are below 14 * 2^-24.
constexpr float kRoundings = 32.0F / (1 << 24);

std::int64_t padded(std::int64_t n) { return divide_up(n, kPadding) * kPadding; }

enum class Side : std::uint8_t { below, above, both };

Side side_of(float least, float most, float margin, float threshold) {
  if (least - margin > threshold) return Side::above;
  return most + margin < threshold ? Side::below : Side::both;
}

// In bits, so that it is done in vectors: the exponent of infinity and NaN is all ones.
bool all_finite(const float* values, std::int64_t count) {
  constexpr std::uint32_t kExponent = 0x7f800000;
  std::uint32_t special = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, values + i, sizeof(bits));
    special |= (bits & kExponent) == kExponent ? 1U : 0U;
  }
  return special == 0;
}

// The least and the largest of 2^k neighbours, for k up to kDoublings, at all columns at once: a range of columns is
// two of them that overlap.
constexpr int kDoublings = 4;

struct Row {
  float values[kDoublings + 1][kLogitsSize];
};

template <typename Better>
void combine_neighbours(const Better& better, Row* row) {
  for (int k = 0; k < kDoublings; ++k) {
    const float* from = row->values[k];
    float* to = row->values[k + 1];
    const std::int64_t step = std::int64_t{1} << k;
    for (std::int64_t x = 0; x < kLogitsSize - step; ++x)
      to[x] = better(from[x + step], from[x]) ? from[x + step] : from[x];
    std::copy(from + kLogitsSize - step, from + kLogitsSize, to + kLogitsSize - step);
  }
}

template <typename Better>
float best_of(const Better& better, const Row& row, std::int64_t first, std::int64_t last) {
  int k = 0;
  while (k < kDoublings && (std::int64_t{2} << k) <= last - first) ++k;
  const float* from = row.values[k];
  const std::int64_t step = std::int64_t{1} << k;
  float best = from[first];
  for (std::int64_t x = first; x < last; x += step) {
    const float other = from[std::min(x, last - step)];
    if (better(other, best)) best = other;
  }
  return best;
}

struct Counts {
  std::int64_t high = 0;
  std::int64_t low = 0;
};

// One row of a block: bytes, and counts added.
void compare(const float* logits, std::int64_t count, const Thresholds& t, std::uint8_t* above, Counts* counts) {
  std::int32_t high = 0;
  std::int32_t low = 0;
  for (std::int64_t i = 0; i < count; ++i) high += logits[i] > t.high ? 1 : 0;
  for (std::int64_t i = 0; i < count; ++i) low += logits[i] > t.low ? 1 : 0;
  for (std::int64_t i = 0; i < count; ++i) above[i] = logits[i] > t.mask ? 1 : 0;
  counts->high += high;
  counts->low += low;
}

// Columns [x0, x1) of a band of rows that are in the mask, or not, or of which the band's bytes say what is.
struct Span {
  std::int64_t x0;
  std::int64_t x1;
  Side side;
};

void extend(std::vector<Span>* spans, std::int64_t x0, std::int64_t x1, Side side) {
  if (!spans->empty() && spans->back().x1 == x0 && spans->back().side == side) {
    spans->back().x1 = x1;
  } else {
    spans->push_back({x0, x1, side});
  }
}

// How many blocks there are at most: each begins reach - 1 pixels of the resized image behind the one before it.
std::int64_t most_blocks(std::int64_t resized, std::int64_t count, std::int64_t reach) {
  return std::min(count, (resized - 1) / (reach - 1) + 1);
}

}  // namespace

struct Scanner::Tables {
  Tap* frame_rows;
  Tap* rows;
  Block* row_blocks;
  Tap* frame_columns;
  Tap* columns;
  Block* column_blocks;
  Tap* frame_columns_of_blocks;
  Tap* columns_of_blocks;

  Tables(Scratch& memory, const mask_upsample::Params& sizes)
      : frame_rows(memory.take<Tap>(sizes.resized_height)),
        rows(memory.take<Tap>(sizes.height)),
        row_blocks(memory.take<Block>(most_blocks(sizes.resized_height, sizes.height, kResizedRows))),
        frame_columns(memory.take<Tap>(sizes.resized_width)),
        columns(memory.take<Tap>(sizes.width)) {
    const std::int64_t blocks = most_blocks(sizes.resized_width, sizes.width, kResizedColumns);
    column_blocks = memory.take<Block>(blocks);
    frame_columns_of_blocks = memory.take<Tap>(blocks * padded(kResizedColumns));
    columns_of_blocks = memory.take<Tap>(sizes.width + blocks * (kPadding - 1));
  }
};

// Of a band.
struct Scanner::Memory {
  float* least;  // of each block of columns
  float* most;
  float* scratch;       // of the kernel
  float* upscaled;      // a block
  std::uint8_t* bytes;  // which pixels are in the mask

  Memory(Scratch& memory, const Scanner& scanner)
      : least(memory.take<float>(scanner.column_blocks_.count)),
        most(memory.take<float>(scanner.column_blocks_.count)),
        scratch(memory.take<float>(
            mask_upsample::scratch_floats(*scanner.kernel_, kPadding, kResizedColumns, scanner.block_columns_))),
        upscaled(memory.take<float>(scanner.band_rows_ * scanner.block_columns_)),
        bytes(memory.take<std::uint8_t>(scanner.band_rows_ * scanner.width_)) {}

  // On which side of a threshold all pixels of a block of columns are.
  Side side(std::int64_t column, float threshold) const {
    const float margin = kRoundings * std::max(std::abs(least[column]), std::abs(most[column])) + FLT_MIN;
    return side_of(least[column], most[column], margin, threshold);
  }
};

std::int64_t Scanner::cut(const Tap* frame, const Tap* photo, std::int64_t count, std::int64_t reach, Block* blocks) {
  Block* block = nullptr;
  for (std::int64_t i = 0; i < count; ++i) {
    const Tap& tap = photo[i];
    if (block == nullptr || tap.second - block->resized_first >= reach) {
      block = block == nullptr ? blocks : block + 1;
      *block = {};
      block->first = i;
      block->resized_first = tap.first;
      block->logits_first = frame[tap.first].first;
    }
    block->last = i + 1;
    block->resized_last = tap.second + 1;
    block->logits_last = frame[tap.second].second + 1;
  }
  return block + 1 - blocks;
}

std::size_t Scanner::table_bytes(const mask_upsample::Params& sizes) {
  Scratch scratch;
  Tables(scratch, sizes);
  return scratch.bytes();
}

Scanner::Scanner(const mask_upsample::Kernel& kernel, const mask_upsample::Params& sizes, void* tables)
    : kernel_(&kernel), resized_height_(sizes.resized_height), width_(sizes.width) {
  Scratch scratch(tables);
  const Tables made(scratch, sizes);
  const auto fill = [](std::int64_t source, std::int64_t target, std::int64_t count, Tap* taps) {
    mask_upsample::fill_taps(source, target, count, count, taps);
  };
  fill(kLogitsSize, kFrameSize, sizes.resized_height, made.frame_rows);
  fill(sizes.resized_height, sizes.height, sizes.height, made.rows);
  frame_rows_ = made.frame_rows;
  rows_ = made.rows;
  row_blocks_ = {made.row_blocks, cut(frame_rows_, rows_, sizes.height, kResizedRows, made.row_blocks)};
  for (const Block& block : row_blocks_) band_rows_ = std::max(band_rows_, block.last - block.first);

  fill(kLogitsSize, kFrameSize, sizes.resized_width, made.frame_columns);
  fill(sizes.resized_width, sizes.width, sizes.width, made.columns);
  column_blocks_ = {made.column_blocks,
                    cut(made.frame_columns, made.columns, sizes.width, kResizedColumns, made.column_blocks)};
  // Moves the taps of a block to the origin that it reads from, and returns where the next block's begin.
  const auto copy = [](const Tap* from, std::int64_t first, std::int64_t last, std::int64_t origin, Tap* to) {
    for (std::int64_t i = first; i < last; ++i, ++to) {
      *to = from[i];
      to->first -= static_cast<std::int32_t>(origin);
      to->second -= static_cast<std::int32_t>(origin);
    }
    return std::fill_n(to, padded(last - first) - (last - first), Tap{0, 0, 0.0F, 0.0F});
  };
  Tap* frame_taps = made.frame_columns_of_blocks;
  Tap* taps = made.columns_of_blocks;
  for (Block* block = column_blocks_.first; block != column_blocks_.end(); ++block) {
    block_columns_ = std::max(block_columns_, block->last - block->first);
    block->logits_begin = std::min(block->logits_first, kLogitsSize - kPadding);
    block->frame_taps = frame_taps;
    block->taps = taps;
    frame_taps = copy(made.frame_columns, block->resized_first, block->resized_last, block->logits_begin, frame_taps);
    taps = copy(made.columns, block->first, block->last, block->resized_first, taps);
  }
}

std::size_t Scanner::workspace_bytes() const {
  Scratch scratch;
  Memory(scratch, *this);
  return scratch.bytes();
}

// Of the logits that the band's blocks read. False where some are not finite, so that nothing is known.
bool Scanner::find_ranges(const Block& band, const float* logits, const Memory& memory) const {
  const float* rows = logits + band.logits_first * kLogitsSize;
  const std::int64_t count = band.logits_last - band.logits_first;
  if (!all_finite(rows, count * kLogitsSize)) return false;
  const auto less = [](float a, float b) { return a < b; };
  const auto more = [](float a, float b) { return a > b; };
  Row low;
  Row high;
  float* lowest = low.values[0];
  float* highest = high.values[0];
  std::copy_n(rows, kLogitsSize, lowest);
  std::copy_n(rows, kLogitsSize, highest);
  for (const float* row = rows + kLogitsSize; row < rows + count * kLogitsSize; row += kLogitsSize) {
    for (std::int64_t x = 0; x < kLogitsSize; ++x) lowest[x] = less(row[x], lowest[x]) ? row[x] : lowest[x];
    for (std::int64_t x = 0; x < kLogitsSize; ++x) highest[x] = more(row[x], highest[x]) ? row[x] : highest[x];
  }
  combine_neighbours(less, &low);
  combine_neighbours(more, &high);
  for (std::int64_t c = 0; c < column_blocks_.count; ++c) {
    const Block& block = column_blocks_[c];
    memory.least[c] = best_of(less, low, block.logits_first, block.logits_last);
    memory.most[c] = best_of(more, high, block.logits_first, block.logits_last);
  }
  return true;
}

// The pixels of a block of rows and columns, to memory.upscaled.
void Scanner::upscale(const Block& band, const Block& block, const float* logits, const Memory& memory) const {
  mask_upsample::OutputRows rows = {};
  rows.logits = logits + block.logits_begin;
  rows.logits_columns = kPadding;
  rows.frame_columns = block.frame_taps;
  rows.frame_rows = frame_rows_;
  rows.columns = block.taps;
  rows.rows = rows_;
  rows.resized_height = resized_height_;
  rows.resized_width = block.resized_last - block.resized_first;
  rows.width = block.last - block.first;
  rows.first_row = band.first;
  rows.last_row = band.last;
  rows.upscaled = memory.upscaled;
  rows.scratch = memory.scratch;
  kernel_->run(rows);
}

Scan Scanner::scan(const float* logits, const Thresholds& thresholds, void* workspace, std::int64_t dx,
                   std::int64_t dy) const {
  Scratch scratch(workspace);
  const Memory memory(scratch, *this);
  Counts counts;
  RowRunsWriter writer;
  std::vector<Span> spans;
  for (const Block& band : row_blocks_) {
    const std::int64_t rows = band.last - band.first;
    const bool known = find_ranges(band, logits, memory);
    spans.clear();
    for (std::int64_t c = 0; c < column_blocks_.count; ++c) {
      const Block& block = column_blocks_[c];
      const std::int64_t columns = block.last - block.first;
      Side sides[3] = {Side::both, Side::both, Side::both};
      if (known) {
        sides[0] = memory.side(c, thresholds.mask);
        sides[1] = memory.side(c, thresholds.high);
        sides[2] = memory.side(c, thresholds.low);
      }
      if (sides[0] != Side::both && sides[1] != Side::both && sides[2] != Side::both) {
        if (sides[0] == Side::above) extend(&spans, block.first, block.last, Side::above);
        if (sides[1] == Side::above) counts.high += rows * columns;
        if (sides[2] == Side::above) counts.low += rows * columns;
        continue;
      }
      upscale(band, block, logits, memory);
      for (std::int64_t y = 0; y < rows; ++y) {
        compare(memory.upscaled + y * columns, columns, thresholds, memory.bytes + y * width_ + block.first, &counts);
      }
      extend(&spans, block.first, block.last, Side::both);
    }
    if (spans.empty()) continue;
    for (std::int64_t y = 0; y < rows; ++y) {
      for (const Span& span : spans) {
        if (span.side == Side::above) {
          writer.add(span.x0, span.x1);
        } else {
          for_each_run(memory.bytes + y * width_, span.x0, span.x1,
                       [&](std::int64_t x0, std::int64_t x1) { writer.add(x0, x1); });
        }
      }
      writer.end_row(band.first + y);
    }
  }
  return {writer.take(dx, dy), counts.high, counts.low};
}

void Scanner::paint(std::int64_t band, const float* logits, float threshold, void* workspace,
                    std::uint8_t* mask) const {
  Scratch scratch(workspace);
  const Memory memory(scratch, *this);
  const Block& rows = row_blocks_[band];
  const bool known = find_ranges(rows, logits, memory);
  // Neighbouring blocks on one side are filled at once: those up to the one at hand, from this column on.
  std::int64_t from = 0;
  Side side = Side::below;
  const auto fill_to = [&](std::int64_t to) {
    for (std::int64_t y = rows.first; from < to && y < rows.last; ++y) {
      std::memset(mask + y * width_ + from, side == Side::above ? 1 : 0, static_cast<std::size_t>(to - from));
    }
    from = to;
  };
  for (std::int64_t c = 0; c < column_blocks_.count; ++c) {
    const Block& block = column_blocks_[c];
    const Side next = known ? memory.side(c, threshold) : Side::both;
    if (next != side) fill_to(block.first);
    if (next != Side::both) {
      side = next;
      continue;
    }
    upscale(rows, block, logits, memory);
    const std::int64_t columns = block.last - block.first;
    for (std::int64_t y = rows.first; y < rows.last; ++y) {
      const float* upscaled = memory.upscaled + (y - rows.first) * columns;
      std::uint8_t* to = mask + y * width_ + block.first;
      for (std::int64_t x = 0; x < columns; ++x) to[x] = upscaled[x] > threshold ? 1 : 0;
    }
    from = block.last;
  }
  fill_to(width_);
}

}  // namespace evsam::masks
