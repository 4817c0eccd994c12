#pragma once
// Attributes of many kinds, written to an HDF5 file and read back as texts. For tests of one
// thread.

#include <string>
#include <vector>

namespace lockstep::tests {

/// Gives `object` of the file three numbers, strings of any length, an empty attribute, and one
/// that refers to an object of the file.
void add_odd_attributes(const std::string& path, const std::string& object);

/// `name: values`, by name: of an object that has those above or some of them.
std::vector<std::string> attributes_of(const std::string& path, const std::string& object);

}  // namespace lockstep::tests
