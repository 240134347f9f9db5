// The extension amx_bf16 on emulated tile registers, beside the real one.
#define EVSAM_EMULATE_EXTENSION 1
#define amx_bf16 emulated_amx_bf16
#include "narrow/amx_bf16.cpp"
