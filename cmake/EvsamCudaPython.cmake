# The Python module of the CUDA kernels, _cuda: for GPUs, installed beside _C; or, with EVSAM_CUDA_EMULATION, in place of
# _C with the kernels emulated on the CPU, for tests, never installed.

# `library` holds the kernels and their launchers.
function(evsam_add_cuda_python_module library)
  find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
  find_package(pybind11 2.13 CONFIG REQUIRED)
  set(folder csrc/bindings/cuda)
  set(sources ${folder}/module.cpp ${folder}/bind_device_array.cpp ${folder}/call.cpp ${folder}/device_array.cpp
    ${folder}/device_tensor.cpp csrc/bindings/bindings.cpp)
  foreach(op IN LISTS EVSAM_CUDA_OPS)
    list(APPEND sources ${folder}/bind_cuda_${op}.cpp)
  endforeach()
  if(EVSAM_CUDA_EMULATION)
    list(APPEND sources ${folder}/bind_emulation.cpp)
  endif()
  pybind11_add_module(_cuda MODULE NO_EXTRAS ${sources})
  evsam_target_defaults(_cuda)
  evsam_compile_together(_cuda)
  target_link_libraries(_cuda PRIVATE ${library})
  if(EVSAM_CUDA_EMULATION)
    target_compile_options(_cuda PRIVATE -O1)  # tests wait for it
  else()
    install(TARGETS _cuda LIBRARY DESTINATION evsam COMPONENT python)
  endif()
endfunction()
