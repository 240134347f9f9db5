// The extension amx_int8 on emulated tile registers, beside the real one.
#define EVSAM_EMULATE_EXTENSION 1
#define amx_int8 emulated_amx_int8
#include "narrow/amx_int8.cpp"
