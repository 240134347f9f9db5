# EVSAM_TENSORRT=ON: the plugins for TensorRT, libevsam_plugins_trt<major>.so, from the kernels of EVSAM_CUDA or, for
# tests, of EVSAM_CUDA_EMULATION, and the Python module _trt<major> that registers them. Of TensorRT, only
# the headers are needed.
set(TENSORRT_ROOT "" CACHE PATH
  "Folder whose include/ has TensorRT's NvInfer.h; empty: that of the environment, or the system's")
set(EVSAM_KERNELS_BUILD "" CACHE PATH
  "Tests only: a build with the same options whose kernels are linked, not built again")

# Sets EVSAM_TENSORRT_INCLUDE, EVSAM_TENSORRT_VERSION and EVSAM_TENSORRT_MAJOR.
function(evsam_find_tensorrt)
  set(root "${TENSORRT_ROOT}")
  if(NOT root)
    set(root "$ENV{TENSORRT_ROOT}")
  endif()
  if(root)
    set(include "${root}/include")
  else()
    find_path(EVSAM_TENSORRT_SYSTEM_INCLUDE NvInfer.h)
    mark_as_advanced(EVSAM_TENSORRT_SYSTEM_INCLUDE)
    set(include "${EVSAM_TENSORRT_SYSTEM_INCLUDE}")
  endif()
  if(NOT EXISTS "${include}/NvInfer.h" OR NOT EXISTS "${include}/NvInferVersion.h")
    if(root)
      set(got "${root}")
    else()
      set(got "none")
    endif()
    message(FATAL_ERROR "TENSORRT_ROOT: expected a folder with TensorRT's headers, include/NvInfer.h and others, got "
      "${got}. docs/tensorrt-plugins.md says where they come from.")
  endif()

  set(version "")
  foreach(part MAJOR MINOR PATCH)
    file(STRINGS "${include}/NvInferVersion.h" line REGEX "#define (NV_TENSORRT|TRT)_${part}(_ENTERPRISE)? [0-9]+")
    if(NOT "${line}" MATCHES "_${part}(_ENTERPRISE)? ([0-9]+)")
      message(FATAL_ERROR "TENSORRT_ROOT: expected a version in ${include}/NvInferVersion.h, got none")
    endif()
    list(APPEND version ${CMAKE_MATCH_2})
    set(${part} ${CMAKE_MATCH_2})
  endforeach()
  list(JOIN version "." version)
  if(version VERSION_LESS 10.3)
    message(FATAL_ERROR "TENSORRT_ROOT: expected TensorRT 10.3 or newer, got ${version} in ${include}")
  endif()
  message(STATUS "TensorRT plugins: headers of ${version} (${include})")
  set(EVSAM_TENSORRT_INCLUDE "${include}" PARENT_SCOPE)
  set(EVSAM_TENSORRT_VERSION "${version}" PARENT_SCOPE)
  set(EVSAM_TENSORRT_MAJOR "${MAJOR}" PARENT_SCOPE)
endfunction()

# Sets `result` to folders with the headers of the CUDA runtime, which TensorRT's include: those of nvcc or, where the
# kernels are emulated, of the pip packages in the environment of the Python that CMake finds, or of the system.
function(evsam_find_cuda_headers result)
  if(EVSAM_CUDA)
    set(${result} "${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}" PARENT_SCOPE)
    return()
  endif()
  find_package(Python COMPONENTS Interpreter)
  set(packaged "")
  if(Python_Interpreter_FOUND)
    execute_process(COMMAND "${Python_EXECUTABLE}" -c "import sysconfig; print(sysconfig.get_path('purelib'))"
      OUTPUT_VARIABLE packages OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    file(GLOB packaged "${packages}/nvidia/cu*/include")
  endif()
  find_path(EVSAM_CUDA_RUNTIME_INCLUDE cuda_runtime_api.h HINTS ${packaged} ENV CUDA_PATH ENV CUDA_HOME
    PATHS /usr/local/cuda PATH_SUFFIXES include)
  mark_as_advanced(EVSAM_CUDA_RUNTIME_INCLUDE)
  if(NOT EVSAM_CUDA_RUNTIME_INCLUDE)
    message(FATAL_ERROR "EVSAM_TENSORRT=ON: expected the headers of the CUDA runtime (cuda_runtime_api.h) in CUDA_PATH "
      "or from pip (nvidia-cuda-runtime), got none.")
  endif()
  set(${result} "${EVSAM_CUDA_RUNTIME_INCLUDE}" PARENT_SCOPE)
endfunction()

function(evsam_tensorrt_target_defaults target)
  evsam_target_defaults(${target})
  target_include_directories(${target} SYSTEM PRIVATE "${EVSAM_TENSORRT_INCLUDE}" ${EVSAM_CUDA_HEADERS})
  target_compile_definitions(${target} PRIVATE
    "EVSAM_VERSION=\"${PROJECT_VERSION}\"" "EVSAM_TENSORRT_VERSION=\"${EVSAM_TENSORRT_VERSION}\"")
endfunction()

# Sets `result` to the target of a static library: `target` of this build or, of EVSAM_KERNELS_BUILD, `file`.
function(evsam_built_library target file result)
  if(NOT EVSAM_KERNELS_BUILD)
    set(${result} ${target} PARENT_SCOPE)
    return()
  endif()
  add_library(${target}_built STATIC IMPORTED GLOBAL)
  set_target_properties(${target}_built PROPERTIES IMPORTED_LOCATION "${EVSAM_KERNELS_BUILD}/${file}")
  if(EVSAM_CUDA)
    set_target_properties(${target}_built PROPERTIES IMPORTED_LINK_INTERFACE_LANGUAGES CUDA)
  else()
    target_compile_definitions(${target}_built INTERFACE EVSAM_CUDA_EMULATION=1)
  endif()
  set(${result} ${target}_built PARENT_SCOPE)
endfunction()

# After the kernels.
function(evsam_add_tensorrt)
  if(NOT EVSAM_CUDA AND NOT EVSAM_CUDA_EMULATION)
    message(FATAL_ERROR "EVSAM_TENSORRT=ON: expected EVSAM_CUDA=ON, whose kernels the plugins start, got OFF.")
  endif()
  evsam_find_tensorrt()
  evsam_find_cuda_headers(EVSAM_CUDA_HEADERS)
  if(EVSAM_CUDA)
    evsam_built_library(evsam_cuda libevsam_cuda.a kernels)
  else()
    evsam_built_library(evsam_cuda_emulated libevsam_cuda_emulated.a kernels)
    evsam_built_library(evsam_oracles csrc/tests/cuda/libevsam_oracles.a oracles)
  endif()

  set(folder csrc/tensorrt)
  add_library(evsam_plugins SHARED
    ${folder}/fields.cpp ${folder}/library.cpp ${folder}/log.cpp ${folder}/plugin.cpp ${folder}/tensors.cpp
    ${folder}/fused_mbconv.cpp ${folder}/layer_norm_2d.cpp ${folder}/lite_mla.cpp ${folder}/relu_linear_attention.cpp
    ${folder}/upsample_add.cpp)
  evsam_tensorrt_target_defaults(evsam_plugins)
  target_link_libraries(evsam_plugins PRIVATE ${kernels})
  # Not unloaded: engines and the registry hold what is in it.
  set(exports "${PROJECT_SOURCE_DIR}/${folder}/evsam_plugins.map")
  target_link_options(evsam_plugins PRIVATE "LINKER:--version-script=${exports}" "LINKER:-z,nodelete")
  set_target_properties(evsam_plugins PROPERTIES
    OUTPUT_NAME evsam_plugins_trt${EVSAM_TENSORRT_MAJOR} LINK_DEPENDS "${exports}")

  if(EVSAM_PYTHON)
    evsam_add_tensorrt_python_module()
  endif()
  if(EVSAM_CUDA_EMULATION)
    add_subdirectory(csrc/tests/tensorrt)
  elseif(EVSAM_PYTHON)
    install(TARGETS evsam_plugins _trt LIBRARY DESTINATION evsam COMPONENT python)
  else()
    include(GNUInstallDirs)
    install(TARGETS evsam_plugins LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library)
  endif()
endfunction()

# It opens the library of plugins that lies beside it.
function(evsam_add_tensorrt_python_module)
  find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
  find_package(pybind11 2.13 CONFIG REQUIRED)
  pybind11_add_module(_trt MODULE NO_EXTRAS
    csrc/bindings/tensorrt/module.cpp csrc/bindings/tensorrt/libraries.cpp csrc/bindings/bindings.cpp
    csrc/core/status.cpp)
  evsam_tensorrt_target_defaults(_trt)
  target_compile_definitions(_trt PRIVATE
    EVSAM_TENSORRT_MODULE=_trt${EVSAM_TENSORRT_MAJOR} "EVSAM_TENSORRT_MAJOR=${EVSAM_TENSORRT_MAJOR}")
  target_link_libraries(_trt PRIVATE ${CMAKE_DL_LIBS})
  set_target_properties(_trt PROPERTIES OUTPUT_NAME _trt${EVSAM_TENSORRT_MAJOR})
  add_dependencies(_trt evsam_plugins)
endfunction()
