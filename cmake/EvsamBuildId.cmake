# generated/evsam_build_id.inc: a constant kBuildId that is another one whenever the engine's sources, the compiler or its
# settings are. Packed weights are kept on disk under it (csrc/engine/packed_cache.h), since any of these may change them.
#
# The same file is the script that writes it, when the sources are newer: cmake -D... -P EvsamBuildId.cmake.
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB_RECURSE sources LIST_DIRECTORIES FALSE ${PATTERNS})
  list(SORT sources)
  set(text "${SETTINGS}")
  foreach(source IN LISTS sources)
    file(SHA256 "${source}" sum)
    string(APPEND text "${sum}")
  endforeach()
  string(SHA256 id "${text}")
  string(SUBSTRING "${id}" 0 32 id)
  file(WRITE "${OUTPUT}" "constexpr char kBuildId[] = \"${id}\";\n")
  return()
endif()

function(evsam_add_build_id)
  set(patterns "")
  foreach(folder core engine isa narrow ops)
    foreach(ending cpp h inl)
      list(APPEND patterns "${PROJECT_SOURCE_DIR}/csrc/${folder}/*.${ending}")
    endforeach()
  endforeach()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS LIST_DIRECTORIES FALSE ${patterns})
  set(settings "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_SYSTEM_PROCESSOR} ${CMAKE_BUILD_TYPE} ")
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  string(APPEND settings "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${type}} ${EVSAM_SANITIZE} ${EVSAM_EMULATE_AVX512}")
  set(output "${PROJECT_BINARY_DIR}/generated/evsam_build_id.inc")
  add_custom_command(OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" "-DPATTERNS=${patterns}" "-DSETTINGS=${settings}" "-DOUTPUT=${output}"
            -P "${CMAKE_CURRENT_FUNCTION_LIST_FILE}"
    DEPENDS ${sources} "${CMAKE_CURRENT_FUNCTION_LIST_FILE}" VERBATIM)
  target_sources(evsam_core PRIVATE "${output}")
endfunction()
