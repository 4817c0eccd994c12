# Functions that make a floor (a library) and its tests, so that each folder's CMakeLists.txt is
# a list of files and of what it stands on.

# What every source of the project is compiled with.
add_library(lockstep_flags INTERFACE)
target_compile_options(lockstep_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
  # False alarms of g++ 12 in std::string (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # Bits must not depend on which instruction set fuses a multiply with an add.
  -ffp-contract=off)

# lockstep_floor(NAME SOURCES files... HEADERS files... PUBLIC targets... PRIVATE targets...)
function(lockstep_floor name)
  cmake_parse_arguments(arg "" "" "SOURCES;HEADERS;PUBLIC;PRIVATE" ${ARGN})
  set(target lockstep_${name})
  # Interface targets of the build alone: an installed floor must not ask for them.
  list(TRANSFORM arg_PRIVATE REPLACE "^lockstep_(cli11|build_id)$" "$<BUILD_INTERFACE:\\0>")
  add_library(${target} STATIC ${arg_SOURCES})
  add_library(lockstep::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}
    FILES ${arg_HEADERS})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target} PUBLIC ${arg_PUBLIC}
    PRIVATE $<BUILD_INTERFACE:lockstep_flags> ${arg_PRIVATE})
  set_target_properties(${target} PROPERTIES
    VERIFY_INTERFACE_HEADER_SETS ${LOCKSTEP_VERIFY_HEADERS})
  set_property(GLOBAL APPEND PROPERTY LOCKSTEP_FLOORS ${target})
endfunction()

# lockstep_test(FLOOR SOURCES files... LINKS targets... [TIMEOUT seconds])
# One GoogleTest program a folder; each TEST is a ctest with the folder as its label.
function(lockstep_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINKS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  set(target lockstep_${name}_test)
  add_executable(${target} ${arg_SOURCES})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE lockstep_flags ${arg_LINKS}
    GTest::gmock GTest::gtest GTest::gtest_main)
  gtest_discover_tests(${target}
    PROPERTIES LABELS ${name} TIMEOUT ${arg_TIMEOUT} DISCOVERY_TIMEOUT 60)
endfunction()

# What mpirun needs in its environment to run tests on one small machine: as root, with more ranks
# than cores, and with no other network than the loopback. OMPI is Open MPI 4, PRTE is 5.
set(LOCKSTEP_MPI_ENVIRONMENT
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
  OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
  PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
  PRTE_MCA_hwloc_default_binding_policy=none PRTE_MCA_oob_tcp_if_include=lo
  # The MPI library keeps what it allocated until the process ends.
  ASAN_OPTIONS=detect_leaks=0)

# lockstep_mpi_test(FLOOR SOURCES files... LINKS targets... RANKS numbers... [TIMEOUT seconds])
# One GoogleTest program whose tests all ranks run together, once for each number of ranks under
# mpirun. Its world is tests/comm/mpi_world.hpp.
function(lockstep_mpi_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINKS;RANKS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  set(target lockstep_${name}_mpi_test)
  add_executable(${target} ${arg_SOURCES} ${PROJECT_SOURCE_DIR}/tests/comm/mpi_test_main.cpp)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE lockstep_flags lockstep::comm ${arg_LINKS}
    GTest::gmock GTest::gtest)
  foreach(ranks ${arg_RANKS})
    add_test(NAME ${name}.mpirun_${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} ${MPIEXEC_PREFLAGS}
        $<TARGET_FILE:${target}> ${MPIEXEC_POSTFLAGS})
    set_tests_properties(${name}.mpirun_${ranks} PROPERTIES LABELS ${name} TIMEOUT ${arg_TIMEOUT}
      PROCESSORS ${ranks} ENVIRONMENT "${LOCKSTEP_MPI_ENVIRONMENT}")
  endforeach()
endfunction()
