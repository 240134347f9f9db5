# Extensions of the instruction sets whose instructions multiply narrow numbers (csrc/narrow). Each is one source file,
# csrc/narrow/<extension>.cpp, in an object library of its own, compiled with its instruction set's flags and its own.
# Of one precision and instruction set, a better one comes later. One that the compiler does not know is left out.

include(CheckCXXCompilerFlag)
set(EVSAM_EXTENSIONS "")
set(EVSAM_NARROW_LIST "")

# evsam_add_extension(<extension> <isa> [flags...])
macro(evsam_add_extension extension isa)
  if("${isa}" IN_LIST EVSAM_ISAS)
    set(known TRUE)
    set(flags ${EVSAM_FLAGS_${isa}} ${ARGN})
    if(EVSAM_EMULATE_AVX512)
      set(flags ${EVSAM_FLAGS_${isa}} -DEVSAM_EMULATE_EXTENSION=1)
    elseif(NOT "${ARGN}" STREQUAL "")
      string(REPLACE ";" " " tested "${ARGN}")
      check_cxx_compiler_flag("${tested}" EVSAM_HAS_${extension})
      set(known ${EVSAM_HAS_${extension}})
    endif()
    if(known)
      add_library(evsam_${extension} OBJECT "${PROJECT_SOURCE_DIR}/csrc/narrow/${extension}.cpp")
      evsam_target_defaults(evsam_${extension})
      target_compile_options(evsam_${extension} PRIVATE ${flags} -fno-exceptions)
      if("${isa}" STREQUAL "neon" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # GCC 12 moves loads so far up that the register tiles no longer fit; and it copies sums to and fro in bfmmla's
        # loop if it colours registers in its usual way.
        target_compile_options(evsam_${extension} PRIVATE -fno-schedule-insns)
        if("${extension}" STREQUAL "neon_bf16")
          target_compile_options(evsam_${extension} PRIVATE -fira-algorithm=priority)
        endif()
      endif()
      target_sources(evsam_core PRIVATE $<TARGET_OBJECTS:evsam_${extension}>)
      list(APPEND EVSAM_EXTENSIONS ${extension})
      list(APPEND EVSAM_NARROW_LIST "${extension}, ${isa}")
    else()
      message(STATUS "evsam: this compiler has no ${ARGN}; without the kernels ${extension}")
    endif()
  endif()
endmacro()

macro(evsam_finish_extensions)
  evsam_write_list(evsam_narrow.inc EVSAM_NARROW ${EVSAM_NARROW_LIST})
endmacro()
