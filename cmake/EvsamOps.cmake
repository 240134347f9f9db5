# One line adds an op: evsam_add_op(<op>) takes csrc/ops/<op>/<op>.cpp, <op>_float64.cpp, its kernels <op>_simd.inl for
# each instruction set, csrc/bindings/bind_<op>.cpp, and csrc/tests/ops/<op>.cpp.
#   NO_KERNEL            it runs the kernels of other ops
#   DTYPE <dtype>        what its kernels are named after; f32 otherwise
#   SEPARATE_ROUNDINGS   compilers may not contract a * b + c to a fused multiply-add, which rounds once
#   SOURCES <file>...    more files of csrc/ops/<op>

set(EVSAM_OPS "")
set(EVSAM_OP_BINDINGS "")
set(EVSAM_KERNELS "")

macro(evsam_add_op op)
  cmake_parse_arguments(OP "NO_KERNEL;SEPARATE_ROUNDINGS" "DTYPE" "SOURCES" ${ARGN})
  list(APPEND EVSAM_OPS ${op})
  list(APPEND EVSAM_OP_BINDINGS "${PROJECT_SOURCE_DIR}/csrc/bindings/bind_${op}.cpp")
  set(OP_OPTIONS "")
  if(OP_SEPARATE_ROUNDINGS)
    set(OP_OPTIONS -ffp-contract=off)
  endif()
  foreach(OP_SOURCE IN ITEMS ${op}.cpp ${op}_float64.cpp ${OP_SOURCES})
    set(OP_SOURCE "${PROJECT_SOURCE_DIR}/csrc/ops/${op}/${OP_SOURCE}")
    target_sources(evsam_core PRIVATE "${OP_SOURCE}")
    set_source_files_properties("${OP_SOURCE}" PROPERTIES COMPILE_OPTIONS "${OP_OPTIONS}")
  endforeach()
  if(NOT OP_NO_KERNEL)
    if(NOT OP_DTYPE)
      set(OP_DTYPE f32)
    endif()
    evsam_add_kernel(${op} "ops/${op}/${op}_simd.inl" ${OP_DTYPE} ${OP_OPTIONS})
  endif()
endmacro()

# An entry of struct Kernels (core/kernels.h): evsam::<isa>::<name>_kernel, which `file` defines.
macro(evsam_add_kernel name file dtype)
  evsam_add_isa_sources(${name} "${file}" COMPILE_OPTIONS ${ARGN})
  list(APPEND EVSAM_KERNELS "${dtype}, ${name}")
endmacro()

# After the last evsam_add_op: the lists for C++, and each instruction set's table.
function(evsam_finish_ops)
  evsam_write_list(evsam_ops.inc EVSAM_OP ${EVSAM_OPS})
  evsam_write_list(evsam_isas.inc EVSAM_ISA ${EVSAM_ISAS})
  evsam_write_list(evsam_kernels.inc EVSAM_KERNEL ${EVSAM_KERNELS})
  evsam_add_isa_sources(table isa/table.inl)
endfunction()

# A line <macro>(<item>) per item.
function(evsam_write_list file macro)
  set(lines "")
  foreach(item IN LISTS ARGN)
    string(APPEND lines "${macro}(${item})\n")
  endforeach()
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/generated/${file}" CONTENT "${lines}" @ONLY)
endfunction()
