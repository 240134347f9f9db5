# Cross-compiles for WebAssembly with Debian's emscripten; tests run under node.
execute_process(COMMAND em-config EMSCRIPTEN_ROOT OUTPUT_VARIABLE evsam_emscripten OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE evsam_failed ERROR_QUIET)
if(evsam_failed)
  message(FATAL_ERROR "emscripten: expected it in PATH (Debian: apt-get install emscripten), got none.")
endif()
include("${evsam_emscripten}/cmake/Modules/Platform/Emscripten.cmake")
