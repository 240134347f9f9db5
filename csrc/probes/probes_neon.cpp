// The probe loops with this instruction set.
#include "core/simd/neon.h"
#include "probes/probes_simd.inl"
