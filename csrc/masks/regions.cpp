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

Parts pieces_of(const RowRuns& mask, Touch touch) {
  return Parts(mask.box.y1 - mask.box.y0, touch, [&](std::int64_t y, const auto& f) {
    const std::int64_t row = mask.box.y0 + y;
    for (const RowRun* run = mask.row_begin(row); run != mask.row_end(row); ++run) f(run->x0, run->x1);
  });
}

// The parts that are not in the mask.
Parts gaps_of(std::int64_t height, std::int64_t width, const RowRuns& mask) {
  return Parts(height, Touch::corners, [&](std::int64_t y, const auto& f) {
    std::int64_t x0 = 0;
    if (y >= mask.box.y0 && y < mask.box.y1) {
      for (const RowRun* run = mask.row_begin(y); run != mask.row_end(y); ++run) {
        if (x0 < run->x0) f(x0, run->x0);
        x0 = run->x1;
      }
    }
    if (x0 < width) f(x0, width);
  });
}

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

// The run that stands for the largest part, the first of these; 0 where there are no parts.
std::size_t largest_of(Parts& parts) {
  std::size_t largest = 0;
  for (std::size_t i = 1; i < parts.runs().size(); ++i) {
    if (parts.part_of(i).area > parts.part_of(largest).area) largest = parts.part_of(i).part;
  }
  return largest;
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
  const std::size_t largest = largest_of(parts);
  for (std::size_t i = 0; i < parts.runs().size(); ++i) {
    const Run& part = parts.part_of(i);
    if (part.area < min_area && part.part != largest) set(parts.runs()[i], width, 0, pixels);
  }
}

bool remove_small_pieces(std::int64_t min_area, Touch touch, RowRuns* mask) {
  Parts parts = pieces_of(*mask, touch);
  const std::size_t largest = largest_of(parts);
  const std::vector<Run>& runs = parts.runs();
  bool any = false;
  RowRunsWriter writer;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Run& part = parts.part_of(i);
    const bool small = part.area < min_area;
    any = any || small;
    if (!small || part.part == largest) writer.add(runs[i].x0, runs[i].x1);
    if (i + 1 == runs.size() || runs[i + 1].y != runs[i].y) writer.end_row(mask->box.y0 + runs[i].y);
  }
  if (any) *mask = writer.take();
  return any;
}

bool fill_small_gaps(std::int64_t height, std::int64_t width, std::int64_t min_area, RowRuns* mask) {
  Parts parts = gaps_of(height, width, *mask);
  const std::vector<Run>& gaps = parts.runs();
  bool any = false;
  for (std::size_t i = 0; i < gaps.size() && !any; ++i) any = parts.part_of(i).area < min_area;
  if (!any) return false;
  RowRunsWriter writer;
  std::size_t gap = 0;
  for (std::int64_t y = 0; y < height; ++y) {
    std::int64_t x = 0;  // runs and gaps follow on each other, to the end of the row
    while (x < width) {
      if (gap < gaps.size() && gaps[gap].y == y && gaps[gap].x0 == x) {
        if (parts.part_of(gap).area < min_area) writer.add(x, gaps[gap].x1);
        x = gaps[gap++].x1;
      } else {
        const std::int64_t end = gap < gaps.size() && gaps[gap].y == y ? gaps[gap].x0 : width;
        writer.add(x, end);
        x = end;
      }
    }
    writer.end_row(y);
  }
  *mask = writer.take();
  return true;
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
