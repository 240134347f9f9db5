# CUDA kernels, from the same sources for two targets: EVSAM_CUDA compiles them with nvcc for GPUs (library evsam_cuda),
# EVSAM_CUDA_EMULATION as C++ for the CPU (library evsam_cuda_emulated), for tests only. csrc/cuda/README.md says more.
#
# The ops with CUDA kernels. Each has csrc/ops/<op>/<op>.cu, <op>_cuda_args.h and <op>_cuda.cpp,
# csrc/bindings/cuda/bind_cuda_<op>.cpp, and csrc/tests/cuda/test_cuda_<op>.cpp.
set(EVSAM_CUDA_OPS conv3x3 fused_mbconv layer_norm lite_mla mask_upsample mbconv pointwise preprocess
  relu_linear_attention resize)

# evsam_cuda_ops.h: EVSAM_CUDA_OPS(row), a row(op) for each of them, and the headers with their lists of kernels.
function(evsam_write_cuda_ops)
  set(includes "#pragma once\n")
  set(rows "#define EVSAM_CUDA_OPS(row)")
  foreach(op IN LISTS EVSAM_CUDA_OPS)
    string(APPEND includes "#include \"ops/${op}/${op}_cuda_args.h\"\n")
    string(APPEND rows " row(${op})")
  endforeach()
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/generated/evsam_cuda_ops.h" CONTENT "${includes}${rows}\n" @ONLY)
endfunction()

function(evsam_add_cuda_ops)
  if(EVSAM_CUDA AND EVSAM_CUDA_EMULATION)
    message(FATAL_ERROR "EVSAM_CUDA and EVSAM_CUDA_EMULATION: expected at most one of them, got both.")
  endif()
  evsam_write_cuda_ops()
  set(launchers csrc/core/status.cpp csrc/cuda/arguments.cpp csrc/cuda/kernel_list.cpp
    csrc/ops/preprocess/fitted_size.cpp)
  set(kernels "")
  foreach(op IN LISTS EVSAM_CUDA_OPS)
    list(APPEND launchers csrc/ops/${op}/${op}_cuda.cpp)
    list(APPEND kernels csrc/ops/${op}/${op}.cu)
  endforeach()
  if(EVSAM_CUDA)
    evsam_add_cuda_library("${kernels}" "${launchers}")
  endif()
  if(EVSAM_CUDA_EMULATION)
    evsam_add_emulated_cuda_library("${kernels}" "${launchers}")
  endif()
endfunction()

function(evsam_add_cuda_library kernels launchers)
  add_library(evsam_cuda STATIC ${kernels} ${launchers} csrc/cuda/runtime_cuda.cpp)
  evsam_target_defaults(evsam_cuda)
  evsam_cuda_target_defaults(evsam_cuda)
endfunction()

function(evsam_add_emulated_cuda_library kernels launchers)
  # The scheduler switches between threads that share memory on purpose: no sanitizer may look at it.
  add_library(evsam_cuda_scheduler OBJECT
    csrc/cuda/emulation/fiber.cpp csrc/cuda/emulation/scheduler.cpp csrc/cuda/emulation/warp_operations.cpp)
  evsam_target_defaults(evsam_cuda_scheduler NO_SANITIZER)
  target_compile_options(evsam_cuda_scheduler PRIVATE -O2)

  add_library(evsam_cuda_emulated STATIC ${kernels} ${launchers}
    csrc/cuda/emulation/async_copies.cpp csrc/cuda/emulation/runtime.cpp
    $<TARGET_OBJECTS:evsam_cuda_scheduler>)
  set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
  evsam_target_defaults(evsam_cuda_emulated)
  foreach(target evsam_cuda_scheduler evsam_cuda_emulated)
    target_compile_definitions(${target} PUBLIC EVSAM_CUDA_EMULATION=1)
    # No contraction: kernels say where a product and a sum are one rounding. Kernels read and write memory as vectors.
    target_compile_options(${target} PRIVATE -ffp-contract=off -fno-strict-aliasing)
    if(EVSAM_SANITIZE MATCHES "address")
      target_compile_definitions(${target} PRIVATE EVSAM_SANITIZE_ADDRESS=1)
    elseif(EVSAM_SANITIZE MATCHES "thread")
      target_compile_definitions(${target} PRIVATE EVSAM_SANITIZE_THREAD=1)
    endif()
  endforeach()
endfunction()
