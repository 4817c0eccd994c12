#include "data/import/csv_rows.hpp"

#include <csv.h>

#include <algorithm>
#include <array>
#include <new>
#include <vector>

#include "base/error.hpp"
#include "data/import/gzip_reader.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 16;
/// A quote that is never closed makes the rest of the file one field.
constexpr std::size_t kMostFieldBytes = std::size_t{1} << 20;
constexpr std::size_t kMostFields = 1'000'000;
constexpr std::size_t kMostRowBytes = std::size_t{256} << 20;
constexpr int kBetweenRows = 0;  ///< csv_parser::pstate, see libcsv.c

const char* const kQuoteAdvice = "put quotes around the whole field and double those in it";

}  // namespace

struct CsvRows::State {
  State(const std::string& path, char delimiter) : file("CSV file", path) {
    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0) throw std::bad_alloc();
    csv_set_delim(&parser, static_cast<unsigned char>(delimiter));
  }
  ~State() { csv_free(&parser); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  static void add_field(void* bytes, std::size_t size, void* state) {
    auto& self = *static_cast<State*>(state);
    self.text.append(static_cast<const char*>(bytes), size);
    self.ends.push_back(self.text.size());
  }
  static void end_row(int, void* state) { static_cast<State*>(state)->complete = true; }

  /// Bytes up to the next end of a line, or to the buffer's end.
  std::string_view next_piece() {
    if (used == filled) {
      used = 0;
      filled = file.read(std::as_writable_bytes(std::span(buffer)));
      if (first_buffer) skip_mark();
      first_buffer = false;
    }
    auto end = used;
    while (end < filled && buffer[end] != '\n' && buffer[end] != '\r') ++end;
    if (end < filled) ++end;
    const std::string_view piece(buffer.data() + used, end - used);
    used = end;
    return piece;
  }

  void skip_mark() {
    const std::string_view start(buffer.data(), filled);
    if (start.starts_with("\xEF\xBB\xBF")) used = 3;
    if (start.starts_with("\xFF\xFE") || start.starts_with("\xFE\xFF")) {
      file.refuse("is UTF-16 (CSV files are read as UTF-8)", "save it as UTF-8");
    }
  }

  void feed(std::string_view piece) {
    if (parser.pstate == kBetweenRows) row_line = line;
    const auto parsed =
        csv_parse(&parser, piece.data(), piece.size(), &State::add_field, &State::end_row, this);
    if (parsed != piece.size()) refuse_parse();
    const bool second_half = piece == "\n" && after_return;
    after_return = piece.back() == '\r';
    if ((piece.back() == '\n' && !second_half) || after_return) ++line;
    if (parser.entry_pos > kMostFieldBytes || ends.size() > kMostFields ||
        text.size() > kMostRowBytes) {
      file.refuse("has a row from line " + std::to_string(row_line) +
                      " that is larger than any row is (1 MiB a field, 1,000,000 fields)",
                  "look for a quote there that is not closed");
    }
  }

  [[noreturn]] void refuse_parse() {
    if (csv_error(&parser) == CSV_ENOMEM) throw std::bad_alloc();
    file.refuse("has a quote out of place in line " + std::to_string(line), kQuoteAdvice);
  }

  GzipReader file;
  csv_parser parser{};
  std::array<char, kBufferBytes> buffer{};
  std::size_t used = 0;
  std::size_t filled = 0;
  bool first_buffer = true;
  bool after_return = false;
  bool finished = false;
  std::uint64_t line = 1;
  std::uint64_t row_line = 1;
  bool complete = false;
  std::string text;               ///< of the row's fields
  std::vector<std::size_t> ends;  ///< of each field in `text`
};

CsvRows::CsvRows(const std::string& path, char delimiter)
    : state_(std::make_unique<State>(path, delimiter)) {}
CsvRows::~CsvRows() = default;
CsvRows::CsvRows(CsvRows&&) noexcept = default;
CsvRows& CsvRows::operator=(CsvRows&&) noexcept = default;

bool CsvRows::next() {
  auto& state = *state_;
  state.text.clear();
  state.ends.clear();
  state.complete = false;
  while (!state.complete && !state.finished) {
    const auto piece = state.next_piece();
    if (!piece.empty()) {
      state.feed(piece);
      continue;
    }
    state.file.check_end();
    state.finished = true;
    if (csv_fini(&state.parser, &State::add_field, &State::end_row, &state) != 0) {
      state.file.refuse(
          "ends within quotes that open in the row of line " + std::to_string(state.row_line),
          kQuoteAdvice);
    }
  }
  return state.complete;
}

std::size_t CsvRows::fields() const { return state_->ends.size(); }

std::string_view CsvRows::field(std::size_t index) const {
  const auto begin = index == 0 ? 0 : state_->ends[index - 1];
  return std::string_view(state_->text).substr(begin, state_->ends[index] - begin);
}

std::uint64_t CsvRows::line() const { return state_->row_line; }

std::uint64_t CsvRows::stored_bytes() const { return state_->file.stored_bytes(); }

std::uint64_t CsvRows::stored_offset() const { return state_->file.stored_offset(); }

}  // namespace lockstep::data::detail
