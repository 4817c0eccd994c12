# What `cmake --install` lays down: binaries, floors with their headers, and a package that a
# consumer finds with find_package(lockstep).
#
#   lockstep-targets.cmake           the torch-free floors
#   lockstep-trainer-targets.cmake   the trainer, read when the component `trainer` is asked for
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/lockstep)
set(header_dir ${CMAKE_INSTALL_INCLUDEDIR}/lockstep)

get_property(floors GLOBAL PROPERTY LOCKSTEP_FLOORS)
# The command line is a program, not a library to build on.
list(REMOVE_ITEM floors lockstep_launcher)
set(trainer_floors ${floors})
list(FILTER trainer_floors INCLUDE REGEX "^lockstep_(trainer|jobs)$")
list(FILTER floors EXCLUDE REGEX "^lockstep_(trainer|jobs)$")

install(TARGETS ${floors} EXPORT lockstep-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  FILE_SET HEADERS DESTINATION ${header_dir})
install(EXPORT lockstep-targets NAMESPACE lockstep:: DESTINATION ${package_dir})
if(trainer_floors)
  install(TARGETS ${trainer_floors} EXPORT lockstep-trainer-targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    FILE_SET HEADERS DESTINATION ${header_dir})
  install(EXPORT lockstep-trainer-targets NAMESPACE lockstep:: DESTINATION ${package_dir})
endif()

foreach(binary lockstep lockstep-worker)
  if(TARGET ${binary})
    set_target_properties(${binary} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
    install(TARGETS ${binary} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()

if(TARGET lockstep-worker)
  # LibTorch stays where it was found. Said by name, since CMake leaves link paths below the source
  # folder out, and .deps/ lies there.
  set_target_properties(lockstep-worker PROPERTIES INSTALL_RPATH ${torch_root}/lib)
endif()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/lockstep-config.cmake.in
  ${PROJECT_BINARY_DIR}/lockstep-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lockstep-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/lockstep-config.cmake
  ${PROJECT_BINARY_DIR}/lockstep-config-version.cmake
  ${PROJECT_SOURCE_DIR}/cmake/LibTorch.cmake
  ${PROJECT_SOURCE_DIR}/cmake/LockstepLibraries.cmake
  DESTINATION ${package_dir})
