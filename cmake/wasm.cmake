# Cross-compiles for WebAssembly with Debian's emscripten; tests run under node.
execute_process(COMMAND em-config EMSCRIPTEN_ROOT OUTPUT_VARIABLE evsam_emscripten OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE evsam_failed ERROR_QUIET)
if(evsam_failed)
  message(FATAL_ERROR "emscripten: expected it in PATH (Debian: apt-get install emscripten), got none.")
endif()
# Debian's emscripten counts on Debian's node to look here.
set(CMAKE_CXX_LINKER_LAUNCHER ${CMAKE_COMMAND} -E env NODE_PATH=/usr/share/nodejs CACHE STRING "")
include("${evsam_emscripten}/cmake/Modules/Platform/Emscripten.cmake")
