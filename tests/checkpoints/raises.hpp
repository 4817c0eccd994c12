#pragma once
// The text of the error that a piece of code must end in. For tests.

#include <gtest/gtest.h>

#include <string>

namespace lockstep::tests {

/// Runs `action`, which must throw an `Error`, and returns its text.
template <class Error, class Action>
std::string text_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace lockstep::tests
