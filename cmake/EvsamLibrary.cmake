# The C interface as libraries that other projects link: evsam (shared, exports the functions of evsam/evsam.h and
# nothing else) and evsam_static, with their headers and a package: find_package(evsam), then evsam::evsam or
# evsam::evsam_static.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Its objects, evsam_capi.
function(evsam_add_c_interface)
  add_library(evsam_capi OBJECT csrc/capi/evsam.cpp csrc/capi/everything.cpp csrc/capi/tracker.cpp)
  evsam_target_defaults(evsam_capi)
  target_link_libraries(evsam_capi PRIVATE evsam_core)
  target_compile_definitions(evsam_capi PRIVATE "EVSAM_VERSION=\"${PROJECT_VERSION}\"" EVSAM_BUILDS_LIBRARY)
endfunction()

function(evsam_add_c_library)
  evsam_add_c_interface()
  add_library(evsam SHARED $<TARGET_OBJECTS:evsam_capi>)
  set_target_properties(evsam PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  target_link_libraries(evsam PRIVATE evsam_core)
  if(NOT APPLE AND NOT WIN32)  # Windows exports what is marked
    # Templates of the standard library would be visible otherwise, whatever the default visibility.
    set(exports "${PROJECT_SOURCE_DIR}/csrc/capi/evsam.map")
    target_link_options(evsam PRIVATE "LINKER:--version-script=${exports}")
    set_target_properties(evsam PROPERTIES LINK_DEPENDS "${exports}")
  endif()

  # An archive is not linked, so it has to hold the objects of everything.
  add_library(evsam_static STATIC $<TARGET_OBJECTS:evsam_capi> $<TARGET_OBJECTS:evsam_core>)
  foreach(kernels IN LISTS EVSAM_ISAS EVSAM_EXTENSIONS)
    target_sources(evsam_static PRIVATE $<TARGET_OBJECTS:evsam_${kernels}>)
  endforeach()
  target_link_libraries(evsam_static PUBLIC Threads::Threads)

  foreach(library evsam evsam_static)
    set_target_properties(${library} PROPERTIES LINKER_LANGUAGE CXX)
    target_include_directories(${library} INTERFACE
      "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/csrc/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  endforeach()

  set(package "${CMAKE_INSTALL_LIBDIR}/cmake/evsam")
  install(TARGETS evsam evsam_static EXPORT evsamTargets COMPONENT library
    RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
  install(FILES csrc/include/evsam/evsam.h csrc/include/evsam/evsam.hpp
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/evsam" COMPONENT library)
  install(EXPORT evsamTargets NAMESPACE evsam:: DESTINATION "${package}" COMPONENT library)
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/evsamConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
  # Wherever the files are installed, and wherever they are moved to.
  set(pkgconfig "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
  file(RELATIVE_PATH prefix_from_pkgconfig "/prefix/${pkgconfig}" "/prefix")
  configure_file(cmake/evsam.pc.in "${PROJECT_BINARY_DIR}/evsam.pc" @ONLY)
  install(FILES cmake/evsamConfig.cmake "${PROJECT_BINARY_DIR}/evsamConfigVersion.cmake"
    DESTINATION "${package}" COMPONENT library)
  install(FILES "${PROJECT_BINARY_DIR}/evsam.pc" DESTINATION "${pkgconfig}" COMPONENT library)
endfunction()
