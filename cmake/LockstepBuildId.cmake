# lockstep_build_id: a header `build_id.hpp` with the version, the commit and the compiler that a
# binary was made with. Written at build time, only when it changes.
add_custom_target(lockstep_build_id_header
  COMMAND ${CMAKE_COMMAND} -DSOURCE_DIR=${PROJECT_SOURCE_DIR}
    -DOUTPUT=${PROJECT_BINARY_DIR}/generated/build_id.hpp
    -DVERSION=${PROJECT_VERSION} -DCOMPILER=${CMAKE_CXX_COMPILER_ID}-${CMAKE_CXX_COMPILER_VERSION}
    -DBUILD_TYPE=${CMAKE_BUILD_TYPE} -DTORCH_VERSION=${LOCKSTEP_TORCH_VERSION}
    -P ${PROJECT_SOURCE_DIR}/cmake/write_build_id.cmake
  BYPRODUCTS ${PROJECT_BINARY_DIR}/generated/build_id.hpp
  COMMENT "Noting the build id")
add_library(lockstep_build_id INTERFACE)
target_include_directories(lockstep_build_id INTERFACE ${PROJECT_BINARY_DIR}/generated)
add_dependencies(lockstep_build_id lockstep_build_id_header)
