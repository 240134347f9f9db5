# Instruction sets: each is one object library with its own compiler flags, in which the kernels of all ops are compiled
# on the vectors of csrc/isa/<isa>.h. Code outside these libraries is compiled for the base architecture and picks one of
# their tables (core/kernels.h) at run time.

string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" evsam_processor)
if(EMSCRIPTEN)
  set(EVSAM_ISAS scalar wasm)
elseif(evsam_processor MATCHES "x86_64|amd64")
  set(EVSAM_ISAS scalar avx2 avx512)
elseif(evsam_processor MATCHES "aarch64|arm64")
  set(EVSAM_ISAS scalar neon)
else()
  set(EVSAM_ISAS scalar)
endif()

# Sets EVSAM_SIMDE_INCLUDE_DIR, or fails where SIMDe is not there or older than `least`.
function(evsam_find_simde least)
  find_path(EVSAM_SIMDE_INCLUDE_DIR simde/x86/avx512.h DOC "Folder of SIMDe's headers")
  set(found none)
  if(EVSAM_SIMDE_INCLUDE_DIR)
    file(READ "${EVSAM_SIMDE_INCLUDE_DIR}/simde/simde-common.h" header)
    string(REGEX MATCH "SIMDE_VERSION_MAJOR ([0-9]+)" major "${header}")
    set(found "${CMAKE_MATCH_1}")
    string(REGEX MATCH "SIMDE_VERSION_MINOR ([0-9]+)" minor "${header}")
    string(APPEND found ".${CMAKE_MATCH_1}")
  endif()
  if("${found}" STREQUAL "none" OR "${found}" VERSION_LESS "${least}")
    message(FATAL_ERROR "EVSAM_EMULATE_AVX512: expected SIMDe ${least} or later, got ${found}. Debian 13 has it in "
      "libsimde-dev, PyPI in cmeel-simde: pip install cmeel-simde, then "
      "-DEVSAM_SIMDE_INCLUDE_DIR=<site-packages>/cmeel.prefix/include")
  endif()
endfunction()

set(EVSAM_FLAGS_scalar "")
set(EVSAM_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(EVSAM_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c)
set(EVSAM_FLAGS_neon "")
set(EVSAM_FLAGS_wasm -msimd128)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC's own header builds the "undefined" operand of maskless intrinsics from an uninitialised variable (GCC PR 105593).
  list(APPEND EVSAM_FLAGS_avx512 -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
if(EVSAM_EMULATE_AVX512)
  evsam_find_simde(0.8)
  set(EVSAM_FLAGS_avx512 -DEVSAM_EMULATE_AVX512=1 -Wno-psabi "-isystem${EVSAM_SIMDE_INCLUDE_DIR}")
endif()

# Creates evsam_<isa> for each instruction set of the target architecture and links it into `library`.
function(evsam_add_isa_libraries library)
  foreach(isa IN LISTS EVSAM_ISAS)
    add_library(evsam_${isa} OBJECT)
    evsam_target_defaults(evsam_${isa})
    # Exceptions would bring in shared helper code compiled with this instruction set.
    target_compile_options(evsam_${isa} PRIVATE ${EVSAM_FLAGS_${isa}} -fno-exceptions)
    target_sources(${library} PRIVATE $<TARGET_OBJECTS:evsam_${isa}>)
  endforeach()
  if(EVSAM_EMULATE_AVX512)
    target_compile_definitions(${library} PUBLIC EVSAM_EMULATE_AVX512=1)
  endif()
endfunction()

# Adds a source to each instruction set's library that includes isa/<isa>.h, then `file`. COMPILE_OPTIONS: for it alone.
function(evsam_add_isa_sources name file)
  cmake_parse_arguments(ARG "" "" "COMPILE_OPTIONS" ${ARGN})
  foreach(isa IN LISTS EVSAM_ISAS)
    set(source "${PROJECT_BINARY_DIR}/generated/${isa}/${name}_${isa}.cpp")
    file(CONFIGURE OUTPUT "${source}" CONTENT "#include \"isa/${isa}.h\"\n#include \"${file}\"\n" @ONLY)
    target_sources(evsam_${isa} PRIVATE "${source}")
    set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS "${ARG_COMPILE_OPTIONS}")
  endforeach()
endfunction()
