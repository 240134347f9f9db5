// Whether views overlap in memory: what an op must refuse before several threads write.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "evsam/tensor_view.h"

namespace evsam {

// Whether two elements of a view may share memory: axes sorted by stride must each step over all that the smaller ones
// cover.
inline bool overlaps_itself(const TensorView& view) {
  int axes[TensorView::kMaxDims] = {};
  for (int i = 0; i < view.ndim; ++i) {  // insertion sort
    int place = i;
    for (; place > 0 && std::abs(view.strides[axes[place - 1]]) > std::abs(view.strides[i]); --place) {
      axes[place] = axes[place - 1];
    }
    axes[place] = i;
  }
  std::int64_t covered = 1;
  for (int i = 0; i < view.ndim; ++i) {
    const std::int64_t extent = view.shape[axes[i]];
    if (extent == 1) continue;
    if (std::abs(view.strides[axes[i]]) < covered) return true;
    covered = std::abs(view.strides[axes[i]]) * (extent - 1) + covered;
  }
  return false;
}

struct AddressRange {
  std::uintptr_t first;  // byte
  std::uintptr_t last;
};

// Of a view without empty axes.
template <typename Pointer>
AddressRange address_range(const BasicTensorView<Pointer>& view) {
  std::int64_t low = 0;
  std::int64_t high = 0;
  for (int i = 0; i < view.ndim; ++i) {
    const std::int64_t reach = (view.shape[i] - 1) * view.strides[i];
    (reach < 0 ? low : high) += reach;
  }
  const auto base = reinterpret_cast<std::uintptr_t>(view.data);
  const auto size = static_cast<std::int64_t>(dtype_size(view.dtype));
  return {base + static_cast<std::uintptr_t>(low * size), base + static_cast<std::uintptr_t>((high + 1) * size - 1)};
}

// Whether anything lies between the first and the last byte of both.
inline bool ranges_overlap(const ConstTensorView& a, const TensorView& b) {
  const AddressRange of_a = address_range(a);
  const AddressRange of_b = address_range(b);
  return of_b.first <= of_a.last && of_a.first <= of_b.last;
}

}  // namespace evsam
