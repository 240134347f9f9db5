# The kernels of TensorRT's quickly deployable plugins as PTX, which evsam.export.quick_plugins puts into engines: installed
# as data of the Python package, in builds with EVSAM_CUDA. For compute capability 8.0, so that the driver of any device
# that evsam supports can compile it.
function(evsam_add_quick_plugins)
  if(NOT (EVSAM_CUDA AND EVSAM_PYTHON))
    return()
  endif()
  add_library(evsam_quick_plugins OBJECT
    csrc/tensorrt_qdp/fused_mbconv.cu
    csrc/tensorrt_qdp/layer_norm.cu
    csrc/tensorrt_qdp/relu_linear_attention.cu
    csrc/tensorrt_qdp/resize.cu)
  evsam_target_defaults(evsam_quick_plugins)
  evsam_cuda_target_defaults(evsam_quick_plugins)
  set_target_properties(evsam_quick_plugins PROPERTIES
    CUDA_PTX_COMPILATION ON
    CUDA_ARCHITECTURES 80-virtual)
  install(FILES $<TARGET_OBJECTS:evsam_quick_plugins> DESTINATION evsam/data/ptx COMPONENT python)
endfunction()
