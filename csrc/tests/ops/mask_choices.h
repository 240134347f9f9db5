// For the two ops that end in masks: any of the masks may be wanted.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "core/kernels.h"
#include "ops/op_harness.h"

namespace evsam::test {

// Some of the masks, also in another order: each has the bits that it has among all of them, and the planes of others
// are left alone. all: the logits of all masks; vectors: theirs, (masks, features). run(count, vectors, logits) is the
// op with `count` vectors and planes.
template <typename Run>
void check_mask_choices(const Kernels& kernels, const std::vector<float>& all, const std::vector<float>& vectors,
                        int masks, const Run& run) {
  const std::size_t plane = all.size() / size(masks);
  const std::size_t features = vectors.size() / size(masks);
  const std::vector<std::vector<int>> choices = {{0}, {3}, {2, 1}, {1, 2, 3}, {0, 1, 2, 3}};
  for (const std::vector<int>& chosen : choices) {
    std::vector<float> chosen_vectors;
    std::vector<float> logits(all.size(), kNan);
    std::vector<float*> planes;
    for (const int mask : chosen) {
      const float* vector = vectors.data() + size(mask) * features;
      chosen_vectors.insert(chosen_vectors.end(), vector, vector + features);
      planes.push_back(logits.data() + size(mask) * plane);
    }
    run(static_cast<int>(chosen.size()), chosen_vectors.data(), planes.data());
    for (int mask = 0; mask < masks; ++mask) {
      const bool wanted = std::find(chosen.begin(), chosen.end(), mask) != chosen.end();
      bool right = true;
      for (std::size_t i = size(mask) * plane; i < size(mask + 1) * plane; ++i) {
        right = right && (wanted ? logits[i] == all[i] : std::isnan(logits[i]));
      }
      CHECK_MSG(right, std::string(isa_name(kernels.isa)) + ": mask " + std::to_string(mask) + " where " +
                           std::to_string(chosen.size()) + " are wanted");
    }
  }
}

}  // namespace evsam::test
