// The probe loops with this instruction set.
#include "core/simd/avx2.h"
#include "probes/probes_simd.inl"
