// The extension avx_vnni on emulated instructions, beside the real one.
#define EVSAM_EMULATE_EXTENSION 1
#define avx_vnni emulated_avx_vnni
#include "narrow/avx_vnni.cpp"
