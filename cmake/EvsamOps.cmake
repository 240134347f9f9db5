# One line adds an op: evsam_add_op(<op>) takes csrc/ops/<op>/<op>.cpp, <op>_scalar.cpp and the <op>_<isa>.cpp there are,
# csrc/bindings/bind_<op>.cpp, and csrc/tests/test_<op>.cpp. NO_PYTHON: only the engine calls it, there is no binding.

set(EVSAM_OPS "")
set(EVSAM_PYTHON_OPS "")
set(EVSAM_OP_BINDINGS "")

macro(evsam_add_op op)
  list(APPEND EVSAM_OPS ${op})
  if(NOT "${ARGN}" STREQUAL "NO_PYTHON")
    list(APPEND EVSAM_PYTHON_OPS ${op})
    list(APPEND EVSAM_OP_BINDINGS "${PROJECT_SOURCE_DIR}/csrc/bindings/bind_${op}.cpp")
  endif()
  target_sources(evsam_core PRIVATE
    "${PROJECT_SOURCE_DIR}/csrc/ops/${op}/${op}.cpp" "${PROJECT_SOURCE_DIR}/csrc/ops/${op}/${op}_scalar.cpp")
  evsam_add_isa_sources("csrc/ops/${op}/${op}")
endmacro()

# Compilers may otherwise contract a * b + c to a fused multiply-add, which rounds once.
function(evsam_separate_roundings op)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/csrc/ops/${op}/*.cpp")
  set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
endfunction()

# Writes the lists of ops for C++ (evsam_ops.inc, evsam_python_ops.inc) after the last evsam_add_op.
function(evsam_finish_ops)
  evsam_write_ops(evsam_ops.inc ${EVSAM_OPS})
  evsam_write_ops(evsam_python_ops.inc ${EVSAM_PYTHON_OPS})
endfunction()

function(evsam_write_ops file)
  set(lines "")
  foreach(op IN LISTS ARGN)
    string(APPEND lines "EVSAM_OP(${op})\n")
  endforeach()
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/generated/${file}" CONTENT "${lines}" @ONLY)
endfunction()
