// Between two rows of pixels the outlines run where one pixel is set and the other is not. Such a stretch of the same
// kind (the set pixels above it, or below) is one horizontal edge. Its two ends are corners, where an outline turns
// into a vertical edge, down to the next corner in that column. So corners pair up along rows by construction, and
// along columns by remembering for each column the corner that still waits for its partner below. Rings are found by
// walking along the two pairings in turns.
#include "masks/outlines.h"

#include <algorithm>
#include <utility>

namespace evsam::masks {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

// Corner 2 * i is the left end of edge i and 2 * i + 1 the right one.
struct Edge {
  std::int32_t y;
  std::int32_t x0;
  std::int32_t x1;
  bool set_below;      // where the set pixels are
  std::size_t region;  // of an edge whose set pixels are above: a corner of the region left of its left end, or kNone
};

class Tracer {
 public:
  explicit Tracer(const MaskView& mask) : mask_(mask), waiting_(static_cast<std::size_t>(mask.width) + 1, kNone) {}

  Outlines trace() {
    const std::vector<std::uint8_t> blank(static_cast<std::size_t>(mask_.width), 0);
    for (std::int64_t y = 0; y <= mask_.height; ++y) {
      const std::uint8_t* above = y > 0 ? mask_.row(y - 1) : blank.data();
      const std::uint8_t* below = y < mask_.height ? mask_.row(y) : blank.data();
      const std::size_t first = edges_.size();
      find_edges(y, above, below);
      pair_in_columns(first);
      find_regions(first, below);
    }
    return walk();
  }

 private:
  void find_edges(std::int64_t y, const std::uint8_t* above, const std::uint8_t* below) {
    const std::int64_t width = mask_.width;
    std::int64_t x = 0;
    int open = 0;  // 1: in an edge with the set pixels below it, -1: above it
    const auto see = [&](int kind) {
      if (kind == open) return;
      if (open != 0) edges_.back().x1 = static_cast<std::int32_t>(x);
      const auto at = static_cast<std::int32_t>(x);
      if (kind != 0) edges_.push_back({static_cast<std::int32_t>(y), at, at, kind > 0, kNone});
      open = kind;
    };
    while (x < width) {
      for (std::uint64_t a, b; open == 0 && x + 8 <= width; x += 8) {  // most rows are nearly as the one above
        std::memcpy(&a, above + x, 8);
        std::memcpy(&b, below + x, 8);
        if (a != b) break;
      }
      for (const std::int64_t stop = std::min(x + 8, width); x < stop; ++x) see((below[x] != 0) - (above[x] != 0));
    }
    see(0);
  }

  // The corners of the edges from `first` on, from left to right. Where two edges meet, two set pixels touch at a
  // corner; they are kept apart: the corner of the upper one has the vertical edge above, the other one that below.
  void pair_in_columns(std::size_t first) {
    column_partner_.resize(2 * edges_.size(), kNone);
    for (std::size_t i = first; i < edges_.size(); ++i) {
      const Edge& edge = edges_[i];
      const bool meets_left = i > first && edges_[i - 1].x1 == edge.x0;
      if (!meets_left) pair(edge.x0, 2 * i);
      const bool meets_right = i + 1 < edges_.size() && edges_[i + 1].x0 == edge.x1;
      if (!meets_right) {
        pair(edge.x1, 2 * i + 1);
      } else if (edge.set_below) {  // the upper one is on the right
        pair(edge.x1, 2 * i + 2);
        pair(edge.x1, 2 * i + 1);
      } else {
        pair(edge.x1, 2 * i + 1);
        pair(edge.x1, 2 * i + 2);
      }
    }
  }

  void pair(std::int32_t x, std::size_t corner) {
    std::size_t& waiting = waiting_[static_cast<std::size_t>(x)];
    if (waiting == kNone) {
      waiting = corner;
      return;
    }
    column_partner_[corner] = waiting;
    column_partner_[waiting] = corner;
    waiting = kNone;
  }

  // A hole begins at the left end of an edge whose set pixels are above it, with a set pixel on the left of what is
  // below. The run of that pixel begins at a vertical edge of the region that the hole is in.
  void find_regions(std::size_t first, const std::uint8_t* below) {
    std::int64_t run = 0;  // where the last run of set pixels that was looked at begins; edges go from left to right
    std::int64_t x = 0;
    for (std::size_t i = first; i < edges_.size(); ++i) {
      Edge& edge = edges_[i];
      if (edge.set_below || edge.x0 == 0 || below[edge.x0 - 1] == 0) continue;
      while (x < edge.x0) {
        run = next_set(below, x, edge.x0);
        x = next_unset(below, run, edge.x0);
      }
      edge.region = waiting_[static_cast<std::size_t>(run)];
    }
  }

  Outlines walk() const {
    Outlines outlines;
    outlines.corners.reserve(2 * edges_.size());
    std::vector<std::size_t> ring_of(2 * edges_.size(), kNone);
    for (std::size_t i = 0; i < edges_.size(); ++i) {
      const std::size_t start = 2 * i;
      if (ring_of[start] != kNone) continue;
      const std::size_t ring = outlines.ends.size();
      const std::size_t begin = outlines.corners.size();
      for (std::size_t corner = start; ring_of[corner] == kNone; corner = column_partner_[corner ^ 1]) {
        ring_of[corner] = ring_of[corner ^ 1] = ring;
        outlines.corners.push_back(position(corner));
        outlines.corners.push_back(position(corner ^ 1));
      }
      outlines.ends.push_back(outlines.corners.size());
      if (edges_[i].set_below) {
        outlines.outer_of.push_back(ring);
      } else {
        // An edge further left or higher, so its ring has been walked: the outer one, or another hole of the region.
        outlines.outer_of.push_back(outlines.outer_of[ring_of[edges_[i].region]]);
        std::reverse(outlines.corners.begin() + static_cast<std::ptrdiff_t>(begin) + 1, outlines.corners.end());
      }
    }
    return outlines;
  }

  Corner position(std::size_t corner) const {
    const Edge& edge = edges_[corner / 2];
    return {corner % 2 == 0 ? edge.x0 : edge.x1, edge.y};
  }

  MaskView mask_;
  std::vector<Edge> edges_;
  std::vector<std::size_t> column_partner_;  // of each corner
  std::vector<std::size_t> waiting_;         // for each column of corners
};

double squared_distance(Corner point, Corner from, Corner to) {
  const double dx = to.x - from.x;
  const double dy = to.y - from.y;
  double px = point.x - from.x;
  double py = point.y - from.y;
  const double length = dx * dx + dy * dy;
  const double along = length > 0 ? std::clamp((px * dx + py * dy) / length, 0.0, 1.0) : 0.0;
  px -= along * dx;
  py -= along * dy;
  return px * px + py * py;
}

// A side of a simplified ring: from one corner that is kept to the next one, by their indices. The last side of a ring
// ends where the ring does, and so at its first corner.
struct Side {
  std::size_t first;
  std::size_t last;
  Corner from;
  Corner to;
};

// Which side of the line from a to b a corner is on: positive, negative, or 0 on it.
std::int64_t turn(Corner a, Corner b, Corner corner) {
  return (std::int64_t{b.x} - a.x) * (std::int64_t{corner.y} - a.y) -
         (std::int64_t{b.y} - a.y) * (std::int64_t{corner.x} - a.x);
}

// Whether two sides cross, which is more than to touch.
bool cross(const Side& a, const Side& b) {
  const auto apart = [](std::int64_t p, std::int64_t q) { return (p < 0 && q > 0) || (p > 0 && q < 0); };
  return apart(turn(a.from, a.to, b.from), turn(a.from, a.to, b.to)) &&
         apart(turn(b.from, b.to, a.from), turn(b.from, b.to, a.to));
}

class Simplifier {
 public:
  Simplifier(double tolerance, const Outlines& outlines)
      : limit_(tolerance * tolerance), outlines_(outlines), keep_(outlines.corners.size(), 0) {}

  Outlines run() {
    for_each_ring([this](std::size_t begin, std::size_t end) { simplify_ring(begin, end); });
    // Lines may cross where an outline comes close to itself or to another. Such ones get a corner back, until none do:
    // with all of their corners, outlines touch at most.
    while (refine_crossing_sides()) {
    }
    Outlines kept;
    kept.outer_of = outlines_.outer_of;
    for_each_ring([&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        if (keep_[i] != 0) kept.corners.push_back(outlines_.corners[i]);
      }
      kept.ends.push_back(kept.corners.size());
    });
    return kept;
  }

 private:
  template <typename F>
  void for_each_ring(const F& f) const {
    std::size_t begin = 0;
    for (const std::size_t end : outlines_.ends) {
      f(begin, end);
      begin = end;
    }
  }

  // The corner between two others that is furthest from the line to `to`, and its squared distance; `first` and -1 if
  // there is none between them.
  std::pair<std::size_t, double> furthest(std::size_t first, std::size_t last, Corner to) const {
    std::pair<std::size_t, double> found{first, -1.0};
    for (std::size_t i = first + 1; i < last; ++i) {
      const double distance = squared_distance(outlines_.corners[i], outlines_.corners[first], to);
      if (distance > found.second) found = {i, distance};
    }
    return found;
  }

  Corner end_of(std::size_t last, std::size_t begin, std::size_t end) const {
    return outlines_.corners[last == end ? begin : last];
  }

  void simplify_ring(std::size_t begin, std::size_t end) {
    const Corner start = outlines_.corners[begin];
    const std::size_t opposite = furthest(begin, end, start).first;
    keep_[begin] = keep_[opposite] = 1;
    const double before = furthest(begin, opposite, outlines_.corners[opposite]).second;
    const double after = furthest(opposite, end, start).second;
    // Where both halves are flat a third corner is kept all the same, that there is something inside.
    const bool flat = std::max(before, after) <= limit_;
    divide({begin, opposite, start, outlines_.corners[opposite]}, flat && before >= after ? -1 : limit_);
    divide({opposite, end, outlines_.corners[opposite], start}, flat && before < after ? -1 : limit_);
  }

  // Keeps the corner of a side that is furthest from its line, where it is further than the square root of `limit`, and
  // then more of them until all are near enough to the lines.
  void divide(const Side& side, double limit) {
    std::vector<std::pair<Side, double>> parts = {{side, limit}};
    while (!parts.empty()) {
      const auto [part, most] = parts.back();
      parts.pop_back();
      const auto [middle, distance] = furthest(part.first, part.last, part.to);
      if (distance <= most) continue;
      keep_[middle] = 1;
      const Corner corner = outlines_.corners[middle];
      parts.push_back({{part.first, middle, part.from, corner}, limit_});
      parts.push_back({{middle, part.last, corner, part.to}, limit_});
    }
  }

  std::vector<Side> sides() const {
    std::vector<Side> found;
    for_each_ring([&](std::size_t begin, std::size_t end) {
      std::size_t first = begin;
      for (std::size_t i = begin + 1; i <= end; ++i) {
        if (i < end && keep_[i] == 0) continue;
        found.push_back({first, i, outlines_.corners[first], end_of(i, begin, end)});
        first = i;
      }
    });
    return found;
  }

  // Keeps one more corner of each side that crosses another; false if none do. Sides are compared with those of the
  // same band of rows, from left to right, as long as their columns overlap.
  bool refine_crossing_sides() {
    constexpr int kBandBits = 4;
    const std::vector<Side> all = sides();
    std::vector<std::vector<std::uint32_t>> bands;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto [top, bottom] = std::minmax(all[i].from.y, all[i].to.y);
      const auto last = static_cast<std::size_t>(bottom >> kBandBits);
      if (bands.size() <= last) bands.resize(last + 1);
      for (auto band = static_cast<std::size_t>(top >> kBandBits); band <= last; ++band) {
        bands[band].push_back(static_cast<std::uint32_t>(i));
      }
    }
    const auto left = [&](std::uint32_t i) { return std::min(all[i].from.x, all[i].to.x); };
    bool crossing = false;
    for (std::vector<std::uint32_t>& band : bands) {
      std::sort(band.begin(), band.end(), [&](std::uint32_t a, std::uint32_t b) { return left(a) < left(b); });
      for (std::size_t i = 0; i < band.size(); ++i) {
        const Side& side = all[band[i]];
        const std::int32_t right = std::max(side.from.x, side.to.x);
        for (std::size_t j = i + 1; j < band.size() && left(band[j]) < right; ++j) {
          if (!cross(side, all[band[j]])) continue;
          crossing = true;
          for (const Side& each : {side, all[band[j]]}) divide(each, -1);
        }
      }
    }
    return crossing;
  }

  double limit_;
  const Outlines& outlines_;
  std::vector<char> keep_;
};

}  // namespace

Outlines trace_outlines(const MaskView& mask) { return Tracer(mask).trace(); }

void simplify(double tolerance, Outlines* outlines) { *outlines = Simplifier(tolerance, *outlines).run(); }

}  // namespace evsam::masks
