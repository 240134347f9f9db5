#include "ops/conv3x3/winograd.h"

#include <algorithm>

#include "core/math.h"
#include "core/thread_pool.h"
#include "core/workspace.h"

namespace evsam::winograd {
namespace {

constexpr std::int64_t kMaxFilters = 8;
constexpr std::int64_t kMaxPanel = 64;

// G of each scheme: the Toom-Cook evaluation of the filter's polynomial at the scheme's points p, divided by the
// product of p - q over the other finite points q; the row of infinity is the leading coefficient. winograd_simd.inl
// has the matching B and A.
struct Filter {
  double rows[kMaxFilters][3];
};

void toom_cook(const double* points, int count, int taps, const int (&position)[3], Filter* filter) {
  for (int i = 0; i < count; ++i) {
    double scale = 1.0;
    for (int j = 0; j < count; ++j) {
      if (j != i) scale *= points[i] - points[j];
    }
    double power = 1.0;
    for (int k = 0; k < taps; ++k) {
      filter->rows[i][position[k]] = power / scale;
      power *= points[i];
    }
  }
  filter->rows[count][position[taps - 1]] = 1.0;
}

Filter make_filter(Scheme scheme) {
  Filter filter = {};
  switch (scheme) {
    case Scheme::f2: {
      const double points[] = {0.0, 1.0, -1.0};
      toom_cook(points, 3, 3, {0, 1, 2}, &filter);
      break;
    }
    case Scheme::f4: {
      const double points[] = {0.0, 0.625, -0.625, 1.5, -1.5};
      toom_cook(points, 5, 3, {0, 1, 2}, &filter);
      break;
    }
    case Scheme::f6: {
      const double points[] = {0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5};
      toom_cook(points, 7, 3, {0, 1, 2}, &filter);
      break;
    }
    case Scheme::polyphase: {
      const double points[] = {0.5, -0.5, 1.25, -1.25};
      toom_cook(points, 4, 2, {0, 2, 1}, &filter);  // w0 and w2 see the odd samples
      filter.rows[5][1] = 1.0;                      // w1 the even ones
      break;
    }
  }
  return filter;
}

std::int64_t cache_line_floats(std::int64_t floats) {
  return static_cast<std::int64_t>(align_up(static_cast<std::size_t>(floats) * sizeof(float)) / sizeof(float));
}

}  // namespace

Blocking choose_blocking(std::int64_t in_channels, std::int64_t out_channels, std::int64_t panel) {
  // Every byte of the weights that is read serves a task's tiles, so tiles want to be many; V and M of a task grow with
  // them and want to stay in L2 where there are few products per value of M, that is few input channels.
  // Those whose panels are wider have an L2 of 1 MiB and more.
  Blocking blocking;
  blocking.tiles = in_channels < 64 ? (panel > 16 ? 48 : 24) : in_channels < 128 ? 48 : 64;
  blocking.columns = std::min(divide_up(64, panel), divide_up(out_channels, panel)) * panel;
  return blocking;
}

void pack(Scheme scheme, const Blocking& blocking, const float* weight, std::int64_t in_channels,
          std::int64_t out_channels, std::int64_t panel, std::int64_t lanes, Weights* weights) {
  const std::int64_t filters = geometry(scheme).filters;
  weights->scheme = scheme;
  weights->blocking = blocking;
  weights->channels = in_channels;
  weights->depth = divide_up(in_channels, lanes) * lanes;
  weights->out_channels = divide_up(out_channels, panel) * panel;
  weights->panel = panel;
  const std::int64_t depth = weights->depth;
  weights->values = AlignedBuffer<float>(static_cast<std::size_t>(filters * filters * depth * weights->out_channels));
  weights->zeros = AlignedBuffer<float>(static_cast<std::size_t>(depth));
  const Filter g = make_filter(scheme);

  const auto pack_panel = [&](std::int64_t p, int) {
    const std::int64_t column = p * panel;
    const std::int64_t first = column / blocking.columns * blocking.columns;  // of the block of columns
    const std::int64_t columns = std::min(blocking.columns, weights->out_channels - first);
    float* to = weights->values.data() + first * filters * filters * depth + (column - first) * depth;
    const std::int64_t valid = std::min(panel, out_channels - column);
    for (std::int64_t k = 0; k < in_channels; ++k) {
      double half[kMaxFilters][3][kMaxPanel];  // G w, columns last: the compiler's vectors
      float w[9][kMaxPanel];
      for (std::int64_t c = 0; c < valid; ++c) {
        for (int tap = 0; tap < 9; ++tap) w[tap][c] = weight[((column + c) * in_channels + k) * 9 + tap];
      }
      for (std::int64_t i = 0; i < filters; ++i) {
        for (int x = 0; x < 3; ++x) {
          for (std::int64_t c = 0; c < valid; ++c) {
            half[i][x][c] = g.rows[i][0] * static_cast<double>(w[x][c]) +
                            g.rows[i][1] * static_cast<double>(w[3 + x][c]) +
                            g.rows[i][2] * static_cast<double>(w[6 + x][c]);
          }
        }
      }
      for (std::int64_t i = 0; i < filters; ++i) {
        for (std::int64_t j = 0; j < filters; ++j) {
          float* u = to + (i * filters + j) * columns * depth + k * panel;
          for (std::int64_t c = 0; c < valid; ++c) {
            u[c] = static_cast<float>(half[i][0][c] * g.rows[j][0] + half[i][1][c] * g.rows[j][1] +
                                      half[i][2][c] * g.rows[j][2]);
          }
        }
      }
    }
  };
  default_pool().parallel_for(weights->out_channels / panel, default_threads(), pack_panel);
}

void fields(PackedArchive& archive, Weights& weights) {
  archive.values(weights.scheme, weights.blocking.columns, weights.blocking.tiles, weights.channels, weights.depth,
                 weights.out_channels, weights.panel);
  archive.buffer(weights.values);
  archive.buffer(weights.zeros);
}

Tiling cut(const Weights& weights, std::int64_t out_height, std::int64_t out_width, int threads) {
  const Geometry& shape = geometry(weights.scheme);
  Tiling tiling;
  tiling.tiles_x = divide_up(out_width, shape.outputs);
  tiling.tiles = tiling.tiles_x * divide_up(out_height, shape.outputs);
  // As many tasks for every thread as for the others.
  tiling.tasks = divide_up(divide_up(tiling.tiles, weights.blocking.tiles), threads) * threads;
  tiling.tasks = std::min(tiling.tasks, tiling.tiles);
  tiling.task_tiles = divide_up(tiling.tiles, std::max<std::int64_t>(tiling.tasks, 1));
  // Products a multiple of the L1 cache's 4 KiB apart would all fall into the same few lines; one line more spreads
  // them.
  tiling.v_stride = cache_line_floats(tiling.task_tiles * weights.depth) + 16;
  tiling.m_stride = cache_line_floats(tiling.task_tiles * weights.blocking.columns) + 16;
  tiling.products = shape.products * shape.products;
  return tiling;
}

Tiles task_tiles(const Weights& weights, const Tiling& tiling, std::int64_t task, const ConstFeatureMap& x,
                 const Memory& memory, int worker) {
  Tiles tiles;
  tiles.x = x.data;
  tiles.x_stride = x.stride;
  tiles.height = x.height;
  tiles.width = x.width;
  tiles.channels = weights.channels;
  tiles.depth = weights.depth;
  tiles.zeros = weights.zeros.data();
  tiles.weights = weights.values.data();
  tiles.columns = weights.blocking.columns;
  tiles.tiles_x = tiling.tiles_x;
  tiles.first = task * tiling.tiles / tiling.tasks;
  tiles.tiles = (task + 1) * tiling.tiles / tiling.tasks - tiles.first;
  tiles.v = memory.v.of(worker);
  tiles.v_stride = tiling.v_stride;
  tiles.m = memory.m.of(worker);
  tiles.m_stride = tiling.m_stride;
  return tiles;
}

}  // namespace evsam::winograd
