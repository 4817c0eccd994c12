#pragma once
// The world of a GoogleTest program that mpirun started: all ranks run all tests together.
// mpi_test_main.cpp makes it before the first test and ends it after the last.

#include "comm/communicator.hpp"

namespace lockstep::tests {

comm::Communicator& mpi_world();

}  // namespace lockstep::tests
