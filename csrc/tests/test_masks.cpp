// Masks under the sanitizers, on noise of odd sizes: runs and their text there and back, rings that fill to their
// masks, parts against a flood fill, and painting in bands. tests/sdk has the comparisons with other programs.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "check.h"
#include "core/thread_pool.h"
#include "masks/depth.h"
#include "masks/outlines.h"
#include "masks/paint.h"
#include "masks/regions.h"
#include "masks/runs.h"

namespace {

using namespace evsam::masks;
using Pixels = std::vector<std::uint8_t>;

std::uint32_t random_state = 1;
std::uint32_t next_random() { return random_state = random_state * 1664525U + 1013904223U; }

Pixels noise(std::int64_t height, std::int64_t width, std::uint32_t percent) {
  Pixels mask(static_cast<std::size_t>(height * width));
  for (std::uint8_t& pixel : mask) pixel = (next_random() >> 8) % 100 < percent ? 1 : 0;
  return mask;
}

// Counts come back from their text; a damaged one gives whatever it gives, but is read to its end at most.
void check_text(const std::vector<std::int64_t>& counts) {
  std::string text = text_of_counts(counts.data(), static_cast<std::int64_t>(counts.size()));
  std::vector<std::int64_t> found;
  CHECK(read_counts(text, found) == CountsText::kRead);
  CHECK(found == counts);
  text[next_random() % text.size()] = static_cast<char>(next_random() >> 8);
  read_counts(text, found);
}

void check_runs(const Pixels& mask, std::int64_t height, std::int64_t width) {
  std::vector<std::int64_t> ends = count_runs({mask.data(), height, width});
  check_text(ends);
  for (std::size_t i = 1; i < ends.size(); ++i) ends[i] += ends[i - 1];
  Pixels filled(mask.size());
  fill_runs(ends.data(), static_cast<std::int64_t>(ends.size()), height, width, filled.data());
  CHECK(filled == mask);
  const Extent extent = find_extent({mask.data(), height, width});
  CHECK(extent.area == std::count(mask.begin(), mask.end(), 1));
  const Extent of_runs = find_extent(ends.data(), static_cast<std::int64_t>(ends.size()), height);
  CHECK(of_runs.area == extent.area);
  CHECK(of_runs.box.x0 == extent.box.x0 && of_runs.box.y0 == extent.box.y0);
  CHECK(of_runs.box.x1 == extent.box.x1 && of_runs.box.y1 == extent.box.y1);
}

// Every vertical edge toggles what lies to its right.
void check_outlines(const Pixels& mask, std::int64_t height, std::int64_t width) {
  Outlines outlines = trace_outlines({mask.data(), height, width});
  Pixels filled(mask.size());
  std::size_t begin = 0;
  for (const std::size_t end : outlines.ends) {
    for (std::size_t i = begin; i < end; ++i) {
      const Corner a = outlines.corners[i];
      const Corner b = outlines.corners[i + 1 < end ? i + 1 : begin];
      if (a.x != b.x) continue;
      for (std::int64_t y = std::min(a.y, b.y); y < std::max(a.y, b.y); ++y) {
        for (std::int64_t x = a.x; x < width; ++x) filled[static_cast<std::size_t>(y * width + x)] ^= 1;
      }
    }
    begin = end;
  }
  CHECK(filled == mask);
  const std::size_t rings = outlines.ends.size();
  simplify(1.5, &outlines);
  CHECK(outlines.ends.size() == rings);
  begin = 0;
  for (const std::size_t end : outlines.ends) {
    CHECK(end >= begin + 3);
    begin = end;
  }
}

// Pixels of value `from` that hang together at (y, x) become `to`; how many there were.
std::int64_t flood(Pixels* mask, std::int64_t height, std::int64_t width, std::int64_t y, std::int64_t x,
                   std::uint8_t from, std::uint8_t to, Touch touch = Touch::corners) {
  if (y < 0 || y >= height || x < 0 || x >= width) return 0;
  std::uint8_t& pixel = (*mask)[static_cast<std::size_t>(y * width + x)];
  if (pixel != from) return 0;
  pixel = to;
  std::int64_t count = 1;
  for (std::int64_t dy = -1; dy <= 1; ++dy) {
    for (std::int64_t dx = -1; dx <= 1; ++dx) {
      if (touch == Touch::sides && dx != 0 && dy != 0) continue;
      count += flood(mask, height, width, y + dy, x + dx, from, to, touch);
    }
  }
  return count;
}

void check_gaps(const Pixels& mask, std::int64_t height, std::int64_t width, std::int64_t area) {
  Pixels expected = mask;
  for (std::int64_t i = 0; i < height * width; ++i) {
    const std::int64_t holes = flood(&expected, height, width, i / width, i % width, 0, 2);
    if (holes > 0) flood(&expected, height, width, i / width, i % width, 2, holes < area ? 1 : 3);
  }
  for (std::uint8_t& pixel : expected) pixel = pixel == 1 ? 1 : 0;
  Pixels filled = mask;
  fill_small_gaps(height, width, area, filled.data());
  CHECK(filled == expected);

  Pixels padded(static_cast<std::size_t>((height + 2) * (width + 2)));
  for (std::int64_t y = 0; y < height; ++y) {
    std::copy_n(mask.begin() + y * width, width, padded.begin() + (y + 1) * (width + 2) + 1);
  }
  flood(&padded, height + 2, width + 2, 0, 0, 0, 2);
  filled = mask;
  fill_holes(height, width, filled.data());
  for (std::int64_t i = 0; i < height * width; ++i) {
    const std::size_t at = static_cast<std::size_t>((i / width + 1) * (width + 2) + i % width + 1);
    CHECK(filled[static_cast<std::size_t>(i)] == (padded[at] == 2 ? 0 : 1));
  }
}

// Area and box of each piece, by the order of their first pixels.
void check_found(const Pixels& mask, std::int64_t height, std::int64_t width, Touch touch) {
  const std::vector<Piece> pieces = find_pieces({mask.data(), height, width}, touch);
  std::size_t found = 0;
  Pixels rest = mask;
  for (std::int64_t i = 0; i < height * width; ++i) {
    const std::int64_t area = flood(&rest, height, width, i / width, i % width, 1, 2, touch);
    if (area == 0) continue;
    Box box = {width, height, 0, 0};
    for (std::int64_t j = 0; j < height * width; ++j) {
      if (rest[static_cast<std::size_t>(j)] != 2) continue;
      rest[static_cast<std::size_t>(j)] = 0;
      box = {std::min(box.x0, j % width), std::min(box.y0, j / width), std::max(box.x1, j % width + 1), j / width + 1};
    }
    CHECK(found < pieces.size() && pieces[found].area == area);
    if (found < pieces.size()) {
      const Box& given = pieces[found].box;
      CHECK(given.x0 == box.x0 && given.y0 == box.y0 && given.x1 == box.x1 && given.y1 == box.y1);
    }
    ++found;
  }
  CHECK(found == pieces.size());
}

void check_pieces(const Pixels& mask, std::int64_t height, std::int64_t width, std::int64_t area, Touch touch) {
  std::int64_t largest = 0;
  Pixels expected = mask;
  for (std::int64_t i = 0; i < height * width; ++i) {
    const std::int64_t piece = flood(&expected, height, width, i / width, i % width, 1, 2, touch);
    if (piece > 0) flood(&expected, height, width, i / width, i % width, 2, piece < area ? 0 : 3, touch);
    largest = std::max(largest, piece);
  }
  for (std::uint8_t& pixel : expected) pixel = pixel == 3 ? 1 : 0;
  Pixels kept = mask;
  remove_small_pieces(height, width, area, touch, kept.data());
  if (largest >= area) {
    CHECK(kept == expected);
  } else {
    CHECK(std::count(kept.begin(), kept.end(), 1) == largest);
  }
}

// Several threads and bands give what one thread gives, and what is not near the mask stays.
void check_paint(const Pixels& mask, std::int64_t height, std::int64_t width) {
  const MaskView view = {mask.data(), height, width};
  Outlines outlines = trace_outlines(view);
  simplify(0.75, &outlines);
  Pixels pictures[2];
  for (const int threads : {1, 3}) {
    Pixels& picture = pictures[threads / 2];
    picture.assign(3 * mask.size(), 100);
    const Pixels photo = picture;
    const Canvas canvas = {picture.data(), height, width};
    evsam::RunContext context;
    context.threads = threads;
    fill(context, canvas, photo.data(), view, 0, 0, {200, 100, 0}, 0.5);
    for (std::size_t i = 0; i < mask.size(); ++i) {
      const int expected = mask[i] == 0 ? 100 : 150;
      CHECK(std::abs(picture[3 * i] - expected) <= 1);
      CHECK(picture[3 * i + 1] == 100);
    }
    stroke(context, canvas, outlines, 3.0, {0, 0, 255}, 0.8);
  }
  CHECK(pictures[0] == pictures[1]);
}

// Every set pixel against every unset one, and those around the mask.
void check_deepest(const Pixels& mask, std::int64_t height, std::int64_t width) {
  const Pixels passed = noise(height, width, 20);
  for (const std::uint8_t* left_out : {static_cast<const std::uint8_t*>(nullptr), passed.data()}) {
    Depth expected;
    for (std::int64_t i = 0; i < height * width; ++i) {
      if (mask[static_cast<std::size_t>(i)] == 0 || (left_out && left_out[i] != 0)) continue;
      const std::int64_t y = i / width, x = i % width;
      const std::int64_t border = std::min(std::min(x, width - 1 - x), std::min(y, height - 1 - y)) + 1;
      std::int64_t nearest = border * border;
      for (std::int64_t j = 0; j < height * width; ++j) {
        if (mask[static_cast<std::size_t>(j)] != 0) continue;
        const std::int64_t dy = j / width - y, dx = j % width - x;
        nearest = std::min(nearest, dx * dx + dy * dy);
      }
      if (nearest > expected.squared) expected = {nearest, x, y};
    }
    const Depth found = find_deepest({mask.data(), height, width}, left_out);
    CHECK(found.squared == expected.squared);
    CHECK(found.x == expected.x);
    CHECK(found.y == expected.y);
  }
}

}  // namespace

int main() {
  for (const std::int64_t height : {1, 2, 7, 70, 150}) {
    for (const std::int64_t width : {1, 3, 8, 17, 41}) {
      for (const std::uint32_t percent : {0U, 3U, 50U, 60U, 97U, 100U}) {
        const Pixels mask = noise(height, width, percent);
        check_runs(mask, height, width);
        check_outlines(mask, height, width);
        if (height * width < 1500) check_deepest(mask, height, width);
        if (height * width < 3000) {
          for (const Touch touch : {Touch::sides, Touch::corners}) check_found(mask, height, width, touch);
          for (const std::int64_t area : {2, 9, 5000}) {
            check_gaps(mask, height, width, area);
            check_pieces(mask, height, width, area, Touch::sides);
            check_pieces(mask, height, width, area, Touch::corners);
          }
        }
        check_paint(mask, height, width);
      }
    }
  }
  CHECK(count_runs({nullptr, 0, 5}) == std::vector<std::int64_t>{0});
  CHECK(trace_outlines({nullptr, 0, 5}).ends.empty());
  check_text({0, std::int64_t{1} << 38, 1, 0, std::int64_t{1} << 37});
  std::vector<std::int64_t> counts;
  for (const char* text : {"", "01P", "~", "0 1"}) CHECK(read_counts(text, counts) == CountsText::kDamaged);
  CHECK(read_counts("PPPPPPPPPP0", counts) == CountsText::kLongNumber);
  CHECK(read_counts(std::string(5000, 'o'), counts) == CountsText::kDamaged);
  CHECK(read_counts(std::string(5000, 'O'), counts) == CountsText::kRead && counts.back() == -2500);
  return evsam::test::test_result();
}
