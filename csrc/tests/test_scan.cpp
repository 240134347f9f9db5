// Masks as runs of rows: scanned from logits they are what ops/mask_upsample makes, bit for bit, and all that is asked
// of runs is what the picture answers.
#include "masks/scan.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "core/aligned_buffer.h"
#include "core/kernels.h"
#include "masks/nms.h"
#include "masks/regions.h"
#include "masks/runs.h"
#include "ops/mask_upsample/mask_upsample.h"
#include "ops/preprocess/fitted_size.h"
#include "test_data.h"

namespace {

using namespace evsam;
using namespace evsam::masks;
using Pixels = std::vector<std::uint8_t>;
using Logits = std::vector<float>;

constexpr std::int64_t kSide = mask_upsample::kLogitsSize;

struct Sizes {
  std::int64_t resized_height;
  std::int64_t resized_width;
  std::int64_t height;
  std::int64_t width;
};

// Whether all pixels are set in the box of the runs that are set in the picture, and nothing else is written wrong.
bool same(const RowRuns& runs, const Pixels& mask, std::int64_t height, std::int64_t width) {
  const RowRuns expected = row_runs_of({mask.data(), height, width});
  const auto equal = [](const RowRun& a, const RowRun& b) { return a.x0 == b.x0 && a.x1 == b.x1; };
  const Box& box = runs.box;
  return box.x0 == expected.box.x0 && box.y0 == expected.box.y0 && box.x1 == expected.box.x1 &&
         box.y1 == expected.box.y1 && runs.area == expected.area && runs.row_ends == expected.row_ends &&
         std::equal(runs.runs.begin(), runs.runs.end(), expected.runs.begin(), expected.runs.end(), equal);
}

void check_scan(const mask_upsample::Kernel& kernel, const Sizes& s, const Logits& logits, const Thresholds& t) {
  const mask_upsample::Params params = {1, s.resized_height, s.resized_width, s.height, s.width};
  RunContext context;
  context.threads = 1;
  context.workspace_bytes = mask_upsample::workspace_bytes(kernel, params, 1);
  AlignedBuffer<char> workspace(context.workspace_bytes);
  context.workspace = workspace.data();
  std::vector<float> upscaled(static_cast<std::size_t>(s.height * s.width));
  mask_upsample::upscale(kernel, context, params, logits.data(), upscaled.data());

  const auto untouched = [](const char* from, const char* to) {
    return std::all_of(from, to, [](char c) { return c == '\x7f'; });
  };
  AlignedBuffer<char> tables(Scanner::table_bytes(params) + 64);
  std::fill_n(tables.data(), tables.size(), '\x7f');
  const Scanner scanner(kernel, params, tables.data());
  CHECK(untouched(tables.data() + Scanner::table_bytes(params), tables.data() + tables.size()));
  AlignedBuffer<char> own(scanner.workspace_bytes() + 64);
  std::fill_n(own.data(), own.size(), '\x7f');
  const Scan scan = scanner.scan(logits.data(), t, own.data());
  CHECK(untouched(own.data() + scanner.workspace_bytes(), own.data() + own.size()));
  Pixels mask(upscaled.size());
  std::int64_t high = 0;
  std::int64_t low = 0;
  for (std::size_t i = 0; i < upscaled.size(); ++i) {
    mask[i] = upscaled[i] > t.mask ? 1 : 0;
    high += upscaled[i] > t.high ? 1 : 0;
    low += upscaled[i] > t.low ? 1 : 0;
  }
  const std::string what = "scan of " + std::to_string(s.height) + " x " + std::to_string(s.width) + " on " +
                           std::to_string(kernel.lanes) + " lanes";
  CHECK_MSG(same(scan.mask, mask, s.height, s.width), what + ": mask");
  CHECK_MSG(scan.above_high == high && scan.above_low == low, what + ": counts");
  Pixels painted(mask.size(), 7);
  for (std::int64_t band = 0; band < scanner.bands(); ++band) {
    scanner.paint(band, logits.data(), t.mask, own.data(), painted.data());
  }
  CHECK_MSG(painted == mask, what + ": painted");
}

// Ovals on noise, so that some blocks are decided and some are not.
Logits ovals(unsigned seed, double noise) {
  Logits logits = test::random_floats(kSide * kSide, seed, noise);
  const Logits at = test::random_floats(12, seed + 1, 50.0, 100.0);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto y = static_cast<float>(i / kSide);
    const auto x = static_cast<float>(i % kSide);
    float best = -20.0F;
    for (std::size_t k = 0; k + 3 < at.size(); k += 4) {
      best = std::max(best, 10.0F - std::hypot((y - at[k]) / (1.0F + std::abs(at[k + 2]) / 20.0F),
                                               (x - at[k + 1]) / (1.0F + std::abs(at[k + 3]) / 20.0F)));
    }
    logits[i] += best;
  }
  return logits;
}

void check_scans(const mask_upsample::Kernel& kernel) {
  const Sizes sizes[] = {{1024, 1024, 256, 256}, {1024, 683, 600, 400},   {683, 1024, 427, 640}, {1, 1024, 1, 3000},
                         {1024, 1, 77, 1},       {768, 1024, 1501, 2003}, {1024, 512, 31, 15},   {600, 1024, 7, 11}};
  unsigned seed = 1;
  for (const Sizes& size : sizes) {
    for (const double noise : {0.0, 0.3, 8.0}) {
      const Logits logits = ovals(seed += 2, noise);
      check_scan(kernel, size, logits, {0.0F, 1.0F, -1.0F});
      check_scan(kernel, size, logits, {-3.0F, 4.5F, -3.5F});
    }
  }
  // Logits as near to a threshold as they can be: rounded averages come out on either side.
  for (const float threshold : {0.0F, 0.1F, 0.7F, 1.0F, -3.3F}) {
    const float largest = std::numeric_limits<float>::max();
    for (const float value : {threshold, std::nextafter(threshold, largest), std::nextafter(threshold, -largest)}) {
      const Logits logits(static_cast<std::size_t>(kSide * kSide), value);
      check_scan(kernel, {683, 1024, 213, 320}, logits, {threshold, threshold + 1.0F, threshold - 1.0F});
      check_scan(kernel, {683, 1024, 213, 320}, logits, {threshold - 1.0F, threshold, threshold});
    }
  }
  for (const float value : {5.0F, -5.0F}) {
    Logits logits(static_cast<std::size_t>(kSide * kSide), value);
    logits[100 * kSide + 90] = test::kNan;
    logits[40 * kSide + 200] = std::numeric_limits<float>::infinity();
    logits[170 * kSide + 170] = -std::numeric_limits<float>::infinity();
    check_scan(kernel, {1024, 1024, 300, 300}, logits, {0.0F, 1.0F, -1.0F});
  }
}

Pixels noise(std::int64_t height, std::int64_t width, double mean, unsigned seed) {
  const std::vector<float> values = test::random_floats(height * width, seed, 1.0, mean);
  Pixels mask;
  for (const float value : values) mask.push_back(value > 0.0F ? 1 : 0);
  return mask;
}

bool equal(const RowRuns& a, const RowRuns& b) {
  const auto same_runs = [](const RowRun& x, const RowRun& y) { return x.x0 == y.x0 && x.x1 == y.x1; };
  return a.area == b.area && a.box.x0 == b.box.x0 && a.box.y0 == b.box.y0 && a.box.x1 == b.box.x1 &&
         a.box.y1 == b.box.y1 && a.row_ends == b.row_ends &&
         std::equal(a.runs.begin(), a.runs.end(), b.runs.begin(), b.runs.end(), same_runs);
}

void check_row_runs(std::int64_t height, std::int64_t width, double mean, unsigned seed) {
  const Pixels mask = noise(height, width, mean, seed);
  const Pixels other = noise(height, width, -mean, seed + 1);
  const RowRuns runs = row_runs_of({mask.data(), height, width});
  const RowRuns others = row_runs_of({other.data(), height, width});
  Pixels painted(mask.size());
  paint(runs, width, painted.data());
  CHECK(painted == mask);
  CHECK(runs.area == std::count(mask.begin(), mask.end(), 1));
  const Extent extent = find_extent({mask.data(), height, width});
  CHECK(extent.box.x0 == runs.box.x0 && extent.box.x1 == runs.box.x1);
  CHECK(extent.box.y0 == runs.box.y0 && extent.box.y1 == runs.box.y1);
  CHECK(count_runs(runs, height, width) == count_runs({mask.data(), height, width}));
  const PackedRuns packed(runs);
  CHECK(equal(packed.unpack(), runs));
  CHECK(packed.bytes() <= 2 * runs.runs.size() + 2 * runs.row_ends.size());

  std::int64_t common = 0;
  std::int64_t either = 0;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    common += mask[i] & other[i];
    either += mask[i] | other[i];
  }
  CHECK(intersection(runs, others) == common && intersection(others, runs) == common);
  CHECK(iou(runs, others) == (either == 0 ? 0.0 : static_cast<double>(common) / static_cast<double>(either)));

  for (const std::int64_t area : {1, 3, 12, 4000}) {
    Pixels filled = mask;
    fill_small_gaps(height, width, area, filled.data());
    RowRuns compact = runs;
    const bool any = fill_small_gaps(height, width, area, &compact);
    CHECK(same(compact, filled, height, width));
    CHECK(any == (filled != mask));
    for (const Touch touch : {Touch::sides, Touch::corners}) {
      Pixels cleared = mask;
      remove_small_pieces(height, width, area, touch, cleared.data());
      compact = runs;
      const std::vector<Piece> pieces = find_pieces({mask.data(), height, width}, touch);
      CHECK(remove_small_pieces(area, touch, &compact) ==
            std::any_of(pieces.begin(), pieces.end(), [&](const Piece& piece) { return piece.area < area; }));
      CHECK(same(compact, cleared, height, width));
    }
  }
}

RowRuns rectangle(std::int64_t x0, std::int64_t y0, std::int64_t x1, std::int64_t y1) {
  RowRunsWriter writer;
  for (std::int64_t y = 0; y < y1 - y0; ++y) {
    writer.add(0, x1 - x0);
    writer.end_row(y);
  }
  return writer.take(x0, y0);
}

using Indices = std::vector<std::size_t>;

void check_nms() {
  const std::vector<CornerBox> boxes = {{0, 0, 10, 10}, {0, 0, 10, 5}, {5, 0, 10, 10}, {20, 20, 30, 30}};
  CHECK(box_nms(boxes, {0.5F, 0.9F, 0.9F, 0.7F}, 0.4) == (Indices{1, 2, 3}));
  CHECK(box_nms(boxes, {0.9F, 0.9F, 0.9F, 0.9F}, 0.4) == (Indices{0, 3}));
  CHECK(box_nms(boxes, {0.9F, 0.9F, 0.9F, 0.9F}, 0.5) == (Indices{0, 1, 2, 3}));  // 0.5 is not above 0.5
  CHECK(box_nms(boxes, {0.9F, test::kNan, 0.9F, 0.1F}, 0.4) == (Indices{1, 2, 3}));
  CHECK(box_nms({{3, 3, 3, 8}, {3, 3, 3, 8}}, {1.0F, 1.0F}, 0.0) == (Indices{0, 1}));  // one column has no area
  CHECK(box_nms({}, {}, 0.5).empty());
  std::vector<CornerBox> apart;
  Indices in_order;
  for (std::size_t i = 0; i < 100; ++i) {
    apart.push_back({static_cast<float>(10 * i), 0, static_cast<float>(10 * i + 5), 5});
    in_order.push_back(i);
  }
  CHECK(box_nms(apart, std::vector<float>(100, 0.5F), 0.5) == in_order);
  const CornerBox corners = corner_box({2, 3, 10, 5});
  CHECK(corners.x0 == 2 && corners.y0 == 3 && corners.x1 == 9 && corners.y1 == 4);
  CHECK(corner_box({}).x1 == 0);

  const RowRuns masks[] = {rectangle(0, 0, 10, 10), rectangle(0, 0, 10, 6), rectangle(4, 0, 10, 10), {}};
  const std::vector<const RowRuns*> all = {&masks[0], &masks[1], &masks[2], &masks[3]};
  CHECK(mask_nms(all, {0.5F, 0.9F, 0.9F, 0.1F}, 0.5) == (Indices{1, 2, 3}));
  CHECK(mask_nms(all, {1.0F, 0.9F, 0.9F, 0.1F}, 0.5) == (Indices{0, 3}));
  CHECK(mask_nms(all, {1.0F, 0.9F, 0.9F, 0.1F}, 0.6) == (Indices{0, 1, 2, 3}));
  CHECK(mask_nms(all, {1.0F, 0.9F, 0.9F, 0.1F}, 0.0) == (Indices{0, 3}));
}

void check_moved() {
  const RowRuns moved = rectangle(5, 7, 9, 12);
  CHECK(moved.area == 20 && moved.box.x0 == 5 && moved.box.y0 == 7 && moved.box.x1 == 9 && moved.box.y1 == 12);
  CHECK(moved.row_begin(7)->x0 == 5 && moved.row_begin(11)->x1 == 9 && moved.row_end(11) - moved.row_begin(11) == 1);
  RowRunsWriter writer;
  writer.end_row(0);
  writer.add(1, 2);
  writer.add(2, 4);
  writer.end_row(3);
  writer.end_row(4);
  writer.add(0, 1);
  writer.end_row(5);
  const RowRuns made = writer.take();
  CHECK(made.box.y0 == 3 && made.box.y1 == 6 && made.area == 4 && made.runs.size() == 2);
  CHECK(made.row_begin(4) == made.row_end(4) && made.row_begin(5)->x1 == 1);
  CHECK(writer.take(3, 3).box.x1 == 0);
}

// Distances and lengths of one byte to four, and rows without runs.
void check_packed() {
  RowRunsWriter writer;
  for (const std::int64_t step : {1, 127, 128, 16383, 16384, 2097151, 2097152}) {
    writer.add(step, 2 * step);
    writer.add(3 * step + 1, 3 * step + 2);
    writer.end_row(step);
  }
  const RowRuns runs = writer.take(5, 7);
  CHECK(runs.area == 2097152 * 2 - 1 + 16384 * 2 - 1 + 128 * 2 - 1 + 1 + 7);
  CHECK(equal(PackedRuns(runs).unpack(), runs));
  CHECK(equal(PackedRuns(RowRuns{}).unpack(), {}) && PackedRuns().bytes() == 0);
}

}  // namespace

int main() {
  for (const Kernels* kernels : runnable_kernels()) check_scans(*kernels->mask_upsample);
  unsigned seed = 1;
  for (const std::int64_t height : {1, 2, 9, 60}) {
    for (const std::int64_t width : {1, 3, 8, 37}) {
      for (const double mean : {-9.0, -1.5, 0.0, 1.5, 9.0}) check_row_runs(height, width, mean, seed += 2);
    }
  }
  check_nms();
  check_moved();
  check_packed();
  return test::test_result();
}
