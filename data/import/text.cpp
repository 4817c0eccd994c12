#include "data/import/text.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/file_descriptor.hpp"
#include "data/import/import_writer.hpp"
#include "data/import/utf8.hpp"

namespace lockstep::data {
namespace {

using detail::ColumnFiller;
using detail::FileDescriptor;
using detail::ImportWriter;
using detail::Utf8Check;

[[noreturn]] void refuse(const std::string& path, std::uint64_t line, std::uint64_t byte,
                         const std::string& problem) {
  throw base::DataError("text file " + base::quote(path) + " is not UTF-8 in line " +
                        std::to_string(line) + ", byte " + std::to_string(byte) + " (" + problem +
                        "); convert it, for example with iconv, or take its bytes as they are with "
                        "--bytes");
}

/// Appends all bytes of a file and checks them on the way.
void append_file(const std::string& path, const FileDescriptor& file, TextEncoding encoding,
                 const ImportWriter& writer, ColumnFiller& tokens) {
  Utf8Check check;
  std::uint64_t line = 1;
  for (std::uint64_t done = 0; done < file.size();) {
    const auto left =
        std::min<std::uint64_t>(file.size() - done, static_cast<std::uint64_t>(tokens.rows()));
    const auto room = tokens.next_rows(static_cast<std::int64_t>(left));
    file.read_at(done, room);
    if (encoding == TextEncoding::kUtf8) {
      const auto bad = check.feed(room);
      const auto good = room.first(bad.value_or(room.size()));
      line += static_cast<std::uint64_t>(std::ranges::count(good, std::byte{'\n'}));
      if (bad) refuse(path, line, done + *bad, "no character has this byte here");
    }
    done += room.size();
    writer.progress("writing tokens", static_cast<std::uint64_t>(tokens.filled()),
                    static_cast<std::uint64_t>(tokens.rows()));
  }
  if (!check.complete()) {
    refuse(path, line, file.size(), "it ends within a character");
  }
}

void append(std::string_view separator, ColumnFiller& tokens) {
  for (auto left = std::as_bytes(std::span(separator)); !left.empty();) {
    const auto room = tokens.next_rows(static_cast<std::int64_t>(left.size()));
    std::ranges::copy(left.first(room.size()), room.begin());
    left = left.subspan(room.size());
  }
}

}  // namespace

ImportResult import_text(std::span<const std::string> files, const ImportOutput& output,
                         const ImportTextOptions& options) {
  ImportWriter writer(output, "text", files);
  std::uint64_t bytes = 0;
  for (const auto& path : files) bytes += FileDescriptor(path).size() + options.separator.size();
  bytes -= files.empty() ? 0 : options.separator.size();
  if (bytes == 0) {
    throw base::DataError("there is no text in " +
                          (files.size() == 1 ? base::quote(files[0]) : "the files") +
                          " (a dataset has at least one token); give another file");
  }
  auto& tokens = writer.add_column("tokens", DType::kU8, {static_cast<std::int64_t>(bytes)});
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (i > 0) append(options.separator, tokens);
    append_file(files[i], FileDescriptor(files[i]), options.encoding, writer, tokens);
  }
  writer.set_attribute("tokenizer", "bytes");
  return writer.commit();
}

}  // namespace lockstep::data
