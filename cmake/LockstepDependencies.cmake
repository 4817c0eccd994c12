# Everything the project links, each as one target.

find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(fyaml REQUIRED IMPORTED_TARGET libfyaml)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(zlib REQUIRED IMPORTED_TARGET zlib)
# The serial library by its own pkg-config name: a parallel HDF5 beside it is not taken by accident.
pkg_check_modules(hdf5_serial REQUIRED IMPORTED_TARGET hdf5-serial)
find_package(MPI REQUIRED COMPONENTS C)

find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
add_library(lockstep_cli11 INTERFACE)
target_include_directories(lockstep_cli11 SYSTEM INTERFACE ${CLI11_INCLUDE_DIR})

if(LOCKSTEP_BUILD_TRAINER)
  include(LibTorch)
endif()

if(LOCKSTEP_BUILD_TESTS)
  find_package(GTest REQUIRED)
  find_package(rapidcheck REQUIRED)
  include(GoogleTest)
endif()
