#include "masks/regions.h"

#include <algorithm>
#include <vector>

namespace evsam::masks {
namespace {

struct Run {
  std::int64_t y;
  std::int64_t x0;
  std::int64_t x1;
  std::size_t part;   // index of a run of the same part; of itself for the one that stands for the part
  std::int64_t area;  // of the part, in the run that stands for it
};

// The runs of all rows, joined to parts by union-find: a run belongs to those above it that it touches.
class Parts {
 public:
  template <typename ForEachRun>
  Parts(std::int64_t height, Touch touch, const ForEachRun& for_each_run_of_row) {
    const std::int64_t reach = touch == Touch::corners ? 1 : 0;  // how far runs may be apart, and touch
    std::size_t above = 0;
    for (std::int64_t y = 0; y < height; ++y) {
      const std::size_t row = runs_.size();
      std::size_t candidate = above;
      for_each_run_of_row(y, [&](std::int64_t x0, std::int64_t x1) {
        const std::size_t index = runs_.size();
        runs_.push_back({y, x0, x1, index, x1 - x0});
        while (candidate < row && runs_[candidate].x1 + reach <= x0) ++candidate;
        for (std::size_t other = candidate; other < row && runs_[other].x0 < x1 + reach; ++other) join(other, index);
      });
      above = row;
    }
  }

  const std::vector<Run>& runs() const { return runs_; }

  const Run& part_of(std::size_t run) { return runs_[root(run)]; }

 private:
  std::size_t root(std::size_t run) {
    while (runs_[run].part != run) {
      runs_[run].part = runs_[runs_[run].part].part;
      run = runs_[run].part;
    }
    return run;
  }

  void join(std::size_t first, std::size_t second) {
    first = root(first);
    second = root(second);
    if (first == second) return;
    if (first > second) std::swap(first, second);  // the first run of a part stands for it
    runs_[second].part = first;
    runs_[first].area += runs_[second].area;
  }

  std::vector<Run> runs_;
};

Parts pieces_of(const MaskView& mask, Touch touch) {
  return Parts(mask.height, touch, [&](std::int64_t y, const auto& f) { for_each_run(mask.row(y), 0, mask.width, f); });
}

// The parts that are not in the mask.
Parts gaps_of(std::int64_t height, std::int64_t width, const std::uint8_t* pixels) {
  return Parts(height, Touch::corners, [&](std::int64_t y, const auto& f) {
    std::int64_t x0 = 0;
    for_each_run(pixels + y * width, 0, width, [&](std::int64_t set_x0, std::int64_t set_x1) {
      if (x0 < set_x0) f(x0, set_x0);
      x0 = set_x1;
    });
    if (x0 < width) f(x0, width);
  });
}

void set(const Run& run, std::int64_t width, std::uint8_t value, std::uint8_t* pixels) {
  std::fill(pixels + run.y * width + run.x0, pixels + run.y * width + run.x1, value);
}

}  // namespace

std::vector<Piece> find_pieces(const MaskView& mask, Touch touch) {
  Parts parts = pieces_of(mask, touch);
  const std::vector<Run>& runs = parts.runs();
  std::vector<Piece> pieces;
  std::vector<std::size_t> piece_of(runs.size());  // of the run that stands for a part, the first one
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Run& run = runs[i];
    const Run& part = parts.part_of(i);
    if (part.part == i) {
      piece_of[i] = pieces.size();
      pieces.push_back({part.area, {run.x0, run.y, run.x1, run.y + 1}});
    }
    Box& box = pieces[piece_of[part.part]].box;
    box = {std::min(box.x0, run.x0), box.y0, std::max(box.x1, run.x1), run.y + 1};
  }
  return pieces;
}

void remove_small_pieces(std::int64_t height, std::int64_t width, std::int64_t min_area, Touch touch,
                         std::uint8_t* pixels) {
  Parts parts = pieces_of({pixels, height, width}, touch);
  const std::vector<Run>& runs = parts.runs();
  std::size_t largest = 0;
  for (std::size_t i = 1; i < runs.size(); ++i) {
    if (parts.part_of(i).area > parts.part_of(largest).area) largest = parts.part_of(i).part;
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Run& part = parts.part_of(i);
    if (part.area >= min_area || part.part == largest) continue;
    set(runs[i], width, 0, pixels);
  }
}

void fill_small_gaps(std::int64_t height, std::int64_t width, std::int64_t min_area, std::uint8_t* pixels) {
  Parts parts = gaps_of(height, width, pixels);
  for (std::size_t i = 0; i < parts.runs().size(); ++i) {
    if (parts.part_of(i).area < min_area) set(parts.runs()[i], width, 1, pixels);
  }
}

void fill_holes(std::int64_t height, std::int64_t width, std::uint8_t* pixels) {
  Parts parts = gaps_of(height, width, pixels);
  std::vector<char> open(parts.runs().size(), 0);  // for the run that stands for a part: whether that is no hole
  for (std::size_t i = 0; i < open.size(); ++i) {
    const Run& run = parts.runs()[i];
    const bool at_border = run.y == 0 || run.y == height - 1 || run.x0 == 0 || run.x1 == width;
    if (at_border) open[parts.part_of(i).part] = 1;
  }
  for (std::size_t i = 0; i < open.size(); ++i) {
    if (open[parts.part_of(i).part] == 0) set(parts.runs()[i], width, 1, pixels);
  }
}

}  // namespace evsam::masks
