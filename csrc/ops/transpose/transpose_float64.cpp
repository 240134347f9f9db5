// The oracle.
#include "ops/transpose/transpose.h"

namespace evsam::transpose {

void run_float64(const double* x, std::int64_t pixels, std::int64_t channels, double* y) {
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (std::int64_t c = 0; c < channels; ++c) y[c * pixels + p] = x[p * channels + c];
  }
}

}  // namespace evsam::transpose
