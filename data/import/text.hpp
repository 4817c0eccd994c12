#pragma once
// Import of text files as tokens, one a byte. Local; any thread.

#include <span>
#include <string>

#include "data/import/import.hpp"

namespace lockstep::data {

enum class TextEncoding {
  kUtf8,  ///< anything else is refused
  kAny,   ///< bytes are taken as they are
};

struct ImportTextOptions {
  std::string separator = "\n";  ///< bytes between two files
  TextEncoding encoding = TextEncoding::kUtf8;
};

/// Writes the bytes of `files`, one file after the other, as `tokens` u8 [bytes]; the attribute
/// `tokenizer` is `bytes`. Throws DataError with file, line and byte for what is not UTF-8.
ImportResult import_text(std::span<const std::string> files, const ImportOutput& output,
                         const ImportTextOptions& options = {});

}  // namespace lockstep::data
