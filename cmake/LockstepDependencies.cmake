# Everything the project is built with: what its floors link, and what only its own build needs.
include(LockstepLibraries)

find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
add_library(lockstep_cli11 INTERFACE)
target_include_directories(lockstep_cli11 SYSTEM INTERFACE ${CLI11_INCLUDE_DIR})

include(Arrow)

if(LOCKSTEP_BUILD_TRAINER)
  include(LibTorch)
endif()

if(LOCKSTEP_BUILD_TESTS)
  find_package(GTest REQUIRED)
  find_package(rapidcheck REQUIRED)
  include(GoogleTest)
endif()
