# Tests of the C interface: as C99, as C++, and as what other projects see.
enable_language(C)
set(weights "${PROJECT_SOURCE_DIR}/evsam/data/nano.safetensors")

# Each library once: the C program links the shared one, the C++ program the archive.
add_executable(test_c_api test_c_api.c)
set_target_properties(test_c_api PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
target_compile_options(test_c_api PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes)
if(EVSAM_WERROR)
  target_compile_options(test_c_api PRIVATE -Werror)
endif()
if(EVSAM_SANITIZE)
  target_compile_options(test_c_api PRIVATE -fsanitize=${EVSAM_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(test_c_api PRIVATE -fsanitize=${EVSAM_SANITIZE})
endif()
target_link_libraries(test_c_api PRIVATE evsam Threads::Threads m)
add_test(NAME test_c_api COMMAND test_c_api "${weights}")

add_executable(test_cpp_api test_cpp_api.cpp)
evsam_target_defaults(test_cpp_api)
target_link_libraries(test_cpp_api PRIVATE evsam_static)
add_test(NAME test_cpp_api COMMAND test_cpp_api "${weights}")

add_test(NAME test_exported_symbols
  COMMAND "${CMAKE_COMMAND}" "-DNM=${CMAKE_NM}" "-DLIBRARY=$<TARGET_FILE:evsam>"
          "-DHEADER=${PROJECT_SOURCE_DIR}/csrc/include/evsam/evsam.h"
          -P "${PROJECT_SOURCE_DIR}/cmake/CheckExportedSymbols.cmake")
set_tests_properties(test_c_api test_cpp_api PROPERTIES TIMEOUT 300)

# Memory is refused within the process alone.
evsam_add_test(test_out_of_memory)
target_compile_definitions(test_out_of_memory PRIVATE EVSAM_NANO="${weights}")
target_link_libraries(test_out_of_memory PRIVATE evsam_static)
set_tests_properties(test_out_of_memory PROPERTIES SKIP_RETURN_CODE 77)
