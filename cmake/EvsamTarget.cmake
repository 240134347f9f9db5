# Compile settings shared by all targets of the project, applied per target. NO_SANITIZER: without EVSAM_SANITIZE's
# instrumentation.

function(evsam_target_defaults target)
  target_compile_features(${target} PUBLIC cxx_std_17)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${target} PUBLIC
    "${PROJECT_SOURCE_DIR}/csrc" "${PROJECT_SOURCE_DIR}/csrc/include" "${PROJECT_BINARY_DIR}/generated")
  set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast)
  if(EMSCRIPTEN)
    # Programs without threads are linked from the same objects. Pointers have 32 bits, and so has what is counted in
    # memory.
    target_compile_options(${target} PRIVATE -pthread)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)  # modules load no libraries
    list(APPEND warnings -Wno-shorten-64-to-32)
  endif()
  if(EVSAM_WERROR)
    list(APPEND warnings -Werror)
  endif()
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${warnings}>")
  if(EVSAM_SANITIZE AND NOT "NO_SANITIZER" IN_LIST ARGN)
    target_compile_options(${target} PRIVATE
      -fsanitize=${EVSAM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${EVSAM_SANITIZE})
  endif()
  if(EVSAM_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# For files of bindings, most of whose compilation is pybind11's headers: several of them are compiled as one.
function(evsam_compile_together target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 9)
endfunction()

function(evsam_add_python_module)
  find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
  find_package(pybind11 2.13 CONFIG REQUIRED)
  # NO_EXTRAS: link-time optimisation would mix code compiled with different instruction sets.
  pybind11_add_module(_C MODULE NO_EXTRAS
    csrc/bindings/module.cpp csrc/bindings/bindings.cpp csrc/bindings/kernels.cpp csrc/bindings/bind_engine.cpp
    csrc/bindings/bind_everything.cpp csrc/bindings/bind_masks.cpp csrc/bindings/bind_prompts.cpp csrc/bindings/bind_safetensors.cpp
    csrc/bindings/bind_track.cpp
    csrc/bindings/packed_op.cpp
    ${EVSAM_OP_BINDINGS})
  evsam_target_defaults(_C)
  evsam_compile_together(_C)
  target_link_libraries(_C PRIVATE evsam_core)
  install(TARGETS _C LIBRARY DESTINATION evsam COMPONENT python)
endfunction()
