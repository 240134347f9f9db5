# EVSAM_CUDA=ON: which nvcc, for which architectures, with which flags.

# What the kernels are compiled for: A100, GeForce 30, Jetson Orin, GeForce 40, H100, B200, Jetson Thor, GeForce 50; later
# devices compile the PTX of the last one when they load it.
set(EVSAM_CUDA_ARCHITECTURES 80 86 87 89 90 100 110 120)

# Sets `result` to nvcc: CMAKE_CUDA_COMPILER or CUDACXX, else that of the pip packages in the environment of the Python
# that CMake finds, else one on PATH or in the usual folders.
function(evsam_find_nvcc result)
  if(CMAKE_CUDA_COMPILER)
    set(${result} "${CMAKE_CUDA_COMPILER}" PARENT_SCOPE)
    return()
  endif()
  if(DEFINED ENV{CUDACXX})
    set(${result} "$ENV{CUDACXX}" PARENT_SCOPE)
    return()
  endif()
  set(packaged "")
  find_package(Python COMPONENTS Interpreter)
  if(Python_Interpreter_FOUND)
    # Of the interpreter itself, also where pip builds in isolation and shows it other packages.
    execute_process(COMMAND "${Python_EXECUTABLE}" -c "import sysconfig; print(sysconfig.get_path('purelib'))"
      OUTPUT_VARIABLE packages OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    file(GLOB packaged "${packages}/nvidia/cu*/bin/nvcc")
  endif()
  if(packaged)
    list(SORT packaged COMPARE NATURAL ORDER DESCENDING)
    list(GET packaged 0 newest)
    set(${result} "${newest}" PARENT_SCOPE)
    return()
  endif()
  find_program(EVSAM_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
  mark_as_advanced(EVSAM_NVCC)
  if(NOT EVSAM_NVCC)
    message(FATAL_ERROR "EVSAM_CUDA=ON: expected a CUDA compiler (nvcc) in CUDACXX, on PATH, in CUDA_PATH or from pip, "
      "got none. docs/cuda.md says how to install one.")
  endif()
  set(${result} "${EVSAM_NVCC}" PARENT_SCOPE)
endfunction()

# A macro, because enable_language has to be called at file scope.
macro(evsam_enable_cuda)
  evsam_find_nvcc(evsam_nvcc)
  set(CMAKE_CUDA_COMPILER "${evsam_nvcc}")
  # The pip packages have their libraries in lib, and their nvcc looks in lib64. Only CMake's trial programs are linked by
  # nvcc; what it reads from them it keeps for the links of the project.
  get_filename_component(evsam_nvcc_real "${evsam_nvcc}" REALPATH)
  get_filename_component(evsam_nvcc_root "${evsam_nvcc_real}/../.." ABSOLUTE)
  set(evsam_append_flags "$ENV{NVCC_APPEND_FLAGS}")
  if(EXISTS "${evsam_nvcc_root}/lib/libcudart_static.a" AND NOT EXISTS "${evsam_nvcc_root}/lib64")
    set(ENV{NVCC_APPEND_FLAGS} "${evsam_append_flags} -L${evsam_nvcc_root}/lib")
  endif()
  if(NOT DEFINED CMAKE_CUDA_HOST_COMPILER AND NOT DEFINED ENV{CUDAHOSTCXX})
    set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}")
  endif()
  set(evsam_given_architectures "${CMAKE_CUDA_ARCHITECTURES}")
  if(NOT evsam_given_architectures AND DEFINED ENV{CUDAARCHS})
    set(evsam_given_architectures "$ENV{CUDAARCHS}")
  endif()
  set(CMAKE_CUDA_ARCHITECTURES 80)  # for the trial programs
  enable_language(CUDA)
  set(ENV{NVCC_APPEND_FLAGS} "${evsam_append_flags}")
  if(evsam_given_architectures)
    set(CMAKE_CUDA_ARCHITECTURES "${evsam_given_architectures}")
  else()
    evsam_default_architectures(CMAKE_CUDA_ARCHITECTURES)
  endif()
  message(STATUS "CUDA kernels: nvcc ${CMAKE_CUDA_COMPILER_VERSION} (${CMAKE_CUDA_COMPILER}) for ${CMAKE_CUDA_ARCHITECTURES}")
endmacro()

# Those of EVSAM_CUDA_ARCHITECTURES that this nvcc knows: 12.x does not know the last ones.
function(evsam_default_architectures result)
  execute_process(COMMAND "${CMAKE_CUDA_COMPILER}" --list-gpu-code OUTPUT_VARIABLE known COMMAND_ERROR_IS_FATAL ANY)
  set(chosen "")
  set(unknown "")
  foreach(architecture IN LISTS EVSAM_CUDA_ARCHITECTURES)
    if("${known}" MATCHES "sm_${architecture}\n")
      list(APPEND chosen ${architecture})
    else()
      list(APPEND unknown ${architecture})
    endif()
  endforeach()
  if(NOT chosen)
    message(FATAL_ERROR "EVSAM_CUDA=ON: expected an nvcc that compiles for one of ${EVSAM_CUDA_ARCHITECTURES}, got "
      "${CMAKE_CUDA_COMPILER_VERSION}.")
  endif()
  if(unknown)
    message(WARNING "nvcc ${CMAKE_CUDA_COMPILER_VERSION} cannot compile for ${unknown}: those devices compile the PTX of "
      "${chosen} when they load it, where their driver can.")
  endif()
  list(POP_BACK chosen last)
  list(TRANSFORM chosen APPEND "-real")
  set(${result} ${chosen} ${last} PARENT_SCOPE)
endfunction()

# Flags of a library that holds kernels. Local memory of a thread lies in DRAM: a kernel that spills registers to it, or
# indexes an array that should be in registers, does not get into a library.
function(evsam_cuda_target_defaults target)
  set_target_properties(${target} PROPERTIES
    CUDA_STANDARD 17
    CUDA_STANDARD_REQUIRED ON
    CUDA_EXTENSIONS OFF
    CUDA_VISIBILITY_PRESET hidden
    CUDA_RUNTIME_LIBRARY Static
    CUDA_SEPARABLE_COMPILATION OFF)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=-warn-spills,-warn-lmem-usage,-Werror;-Xcompiler=-Wall,-Wextra,-Wshadow,-Wconversion>")
  # 177, declared but never referenced: also said of a template's constants in instantiations without a use for them. The
  # emulated build, of the same files, has the C++ compiler's warning of that kind.
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:--diag-suppress=177>")
  if(EVSAM_WERROR)
    target_compile_options(${target} PRIVATE
      "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Werror>")
  endif()
  target_include_directories(${target} SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
endfunction()
