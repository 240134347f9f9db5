# One line adds an op: evsam_add_op(<op>) takes csrc/ops/<op>/<op>.cpp, <op>_scalar.cpp and the <op>_<isa>.cpp there are,
# csrc/bindings/bind_<op>.cpp, and csrc/tests/test_<op>.cpp.

set(EVSAM_OPS "")
set(EVSAM_OP_BINDINGS "")

macro(evsam_add_op op)
  list(APPEND EVSAM_OPS ${op})
  list(APPEND EVSAM_OP_BINDINGS "${PROJECT_SOURCE_DIR}/csrc/bindings/bind_${op}.cpp")
  target_sources(evsam_core PRIVATE
    "${PROJECT_SOURCE_DIR}/csrc/ops/${op}/${op}.cpp" "${PROJECT_SOURCE_DIR}/csrc/ops/${op}/${op}_scalar.cpp")
  evsam_add_isa_sources("csrc/ops/${op}/${op}")
endmacro()

# Writes the list of ops for C++ (evsam_ops.inc) after the last evsam_add_op.
function(evsam_finish_ops)
  set(lines "")
  foreach(op IN LISTS EVSAM_OPS)
    string(APPEND lines "EVSAM_OP(${op})\n")
  endforeach()
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/generated/evsam_ops.inc" CONTENT "${lines}" @ONLY)
endfunction()
