#pragma once
// The text of the exception of a given class that an action ends in. For tests.

#include <gtest/gtest.h>

#include <string>

namespace lockstep::tests {

/// Fails the test when `action` throws nothing or something else.
template <class Exception, class Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const Exception& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
    return {};
  }
  ADD_FAILURE() << "no exception";
  return {};
}

}  // namespace lockstep::tests
