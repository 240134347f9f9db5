// The part of Winograd convolution that does not depend on the instruction set: choosing a scheme, packing, cutting.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/packed_archive.h"
#include "core/scratch.h"
#include "ops/conv3x3/winograd_kernel.h"

namespace evsam::winograd {

// Weights as multiply() reads them: [block of columns][filter][panel][depth][panel columns].
struct Weights {
  Scheme scheme = Scheme::f2;
  Blocking blocking;
  std::int64_t channels = 0;
  std::int64_t depth = 0;         // channels in whole vectors
  std::int64_t out_channels = 0;  // padded to whole panels
  std::int64_t panel = 0;
  AlignedBuffer<float> values;
  AlignedBuffer<float> zeros;  // depth zeros
};

inline const Geometry& geometry(Scheme scheme) { return kGeometries[static_cast<int>(scheme)]; }

// Columns and tiles for layers of this size; measured, see the README.
Blocking choose_blocking(std::int64_t in_channels, std::int64_t out_channels, std::int64_t panel);

// weight: OIHW. panel, lanes: of the kernel. Transformed in float64, rounded once.
void pack(Scheme scheme, const Blocking& blocking, const float* weight, std::int64_t in_channels,
          std::int64_t out_channels, std::int64_t panel, std::int64_t lanes, Weights* weights);

// Of packed weights, for a file and back (core/packed_archive.h).
void fields(PackedArchive& archive, Weights& weights);

// How an image is cut into tasks.
struct Tiling {
  std::int64_t tiles_x = 0;
  std::int64_t tiles = 0;
  std::int64_t tasks = 0;
  std::int64_t task_tiles = 0;  // at most
  std::int64_t v_stride = 0;
  std::int64_t m_stride = 0;
  std::int64_t products = 0;
};

Tiling cut(const Weights& weights, std::int64_t out_height, std::int64_t out_width, int threads);

// What a worker transforms and multiplies in.
struct Memory {
  PerWorker<float> v;
  PerWorker<float> m;

  Memory(Scratch& scratch, const Tiling& tiling, int threads)
      : v(scratch.take_each<float>(threads, tiling.products * tiling.v_stride)),
        m(scratch.take_each<float>(threads, tiling.products * tiling.m_stride)) {}
};

// The tiles of a task.
Tiles task_tiles(const Weights& weights, const Tiling& tiling, std::int64_t task, const ConstFeatureMap& x,
                 const Memory& memory, int worker);

}  // namespace evsam::winograd
