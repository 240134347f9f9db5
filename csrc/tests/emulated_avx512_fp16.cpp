// The extension avx512_fp16 on emulated instructions, beside the real one.
#define EVSAM_EMULATE_EXTENSION 1
#define avx512_fp16 emulated_avx512_fp16
#include "narrow/avx512_fp16.cpp"
