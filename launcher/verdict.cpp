#include "launcher/verdict.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMostEventBytes = 16u << 20;
constexpr std::size_t kMostBlockLines = 40;
constexpr std::size_t kMostLineBytes = 1u << 16;

std::string text_at(const json& object, const char* key) {
  const auto place = object.find(key);
  if (place == object.end()) return {};
  return place->is_string() ? place->get<std::string>() : std::string();
}

std::int64_t number_at(const json& object, const char* key, std::int64_t otherwise) {
  const auto place = object.find(key);
  if (place == object.end() || !place->is_number_integer()) return otherwise;
  return place->get<std::int64_t>();
}

Verdict verdict_of(const json& event) {
  Verdict verdict;
  verdict.cause = text_at(event, "cause");
  verdict.message = text_at(event, "message");
  verdict.advice = text_at(event, "advice");
  verdict.host = text_at(event, "host");
  verdict.phase = text_at(event, "phase");
  verdict.rank =
      static_cast<int>(std::clamp<std::int64_t>(number_at(event, "rank", -1), -1, 1 << 30));
  verdict.step = number_at(event, "step", -1);
  verdict.exit_code =
      static_cast<int>(std::clamp<std::int64_t>(number_at(event, "exit_code", 1), 0, 255));
  return verdict;
}

bool is_ruler(std::string_view line) {
  return line.size() >= 70 && line.find_first_not_of('-') == std::string_view::npos;
}

/// Words that are in every notice about ended ranks, in Open MPI 4.1 and 5.0.
bool is_end_notice(std::string_view text) {
  for (const char* words :
       {"noticed that process rank", "detected that one or more processes exited with non-zero",
        "Primary job  terminated normally", "MPI_ABORT was invoked on rank",
        "has exited due to a signal", "exited improperly", "forwarding signal"}) {
    if (text.find(words) != std::string_view::npos) return true;
  }
  return false;
}

/// Single lines of mpirun that say nothing about the run.
bool is_chatter(std::string_view line) {
  for (const char* words :
       {"mpirun: Forwarding signal", "orte_base_help_aggregate", "srun: launch/slurm: _step_signal",
        "Exited with exit code 75", "srun: Warning: can't run"}) {
    if (line.find(words) != std::string_view::npos) return true;
  }
  return line.find("more process") != std::string_view::npos &&
         line.find("help-") != std::string_view::npos;
}

/// The number that follows `words` in `text`.
std::optional<int> number_after(std::string_view text, std::string_view words) {
  const auto place = text.find(words);
  if (place == std::string_view::npos) return std::nullopt;
  const auto begin = std::min(text.find_first_not_of(' ', place + words.size()), text.size());
  int number = 0;
  const auto* end = text.data() + text.size();
  if (std::from_chars(text.data() + begin, end, number).ec != std::errc()) return std::nullopt;
  return number;
}

std::string word_after(std::string_view text, std::string_view words) {
  const auto place = text.find(words);
  if (place == std::string_view::npos) return {};
  text.remove_prefix(place + words.size());
  return std::string(text.substr(0, text.find_first_of(" \n")));
}

/// The first rank's death in the text of a notice: `process rank 1 with PID 0 on node vm exited
/// on signal 9`, or `Process name: [[40410,1],3]` and `Exit code:    6`.
std::optional<RankDeath> death_in(std::string_view text) {
  const auto rank = number_after(text, "process rank");
  const auto signal = number_after(text, "exited on signal");
  if (rank && signal) return RankDeath{*rank, word_after(text, "on node "), *signal, 0};
  const auto name = text.find("Process name: [[");
  const auto code = number_after(text, "Exit code:");
  if (name == std::string_view::npos || !code) return std::nullopt;
  const auto exited = number_after(text.substr(name), "],");
  return exited ? std::optional(RankDeath{*exited, {}, 0, *code}) : std::nullopt;
}

/// `rank 3: warning: text` -> `warning: text`, else nothing.
std::optional<std::string> warning_in(std::string_view line) {
  if (!line.starts_with("rank ")) return std::nullopt;
  const auto digits_end = line.find_first_not_of("0123456789", 5);
  if (digits_end == 5 || digits_end == std::string_view::npos) return std::nullopt;
  const auto rest = line.substr(digits_end);
  if (!rest.starts_with(": warning: ")) return std::nullopt;
  return std::string(rest.substr(2));
}

}  // namespace

std::string describe(const Verdict& verdict) {
  std::vector<std::string> place;
  if (!verdict.host.empty()) place.push_back("host " + verdict.host);
  if (!verdict.phase.empty()) place.push_back("phase " + verdict.phase);
  if (verdict.step >= 0) place.push_back(fmt::format("step {}", verdict.step));
  const auto& what = verdict.message.empty() ? verdict.cause : verdict.message;
  return place.empty() ? what : fmt::format("{} ({})", what, base::joined(place));
}

EventsSince read_events(base::FileSystem& files, const std::string& path, std::uint64_t offset) {
  EventsSince result;
  const auto size = files.file_size(path);
  if (!size || *size <= offset) return result;
  // A launch that wrote more than this still has its verdict at the end.
  const auto begin = std::max(offset, *size > kMostEventBytes ? *size - kMostEventBytes : 0);
  std::string text(*size - begin, '\0');
  files.read_at(path, begin, std::as_writable_bytes(std::span(text.data(), text.size())));
  for (const auto& line : base::split(text, '\n')) {
    const auto event = json::parse(line, nullptr, false);
    if (!event.is_object()) continue;
    const auto kind = text_at(event, "event");
    if (kind == "failure" && !result.verdict) result.verdict = verdict_of(event);
    if (kind == "end" && event.contains("exit_code")) {
      result.exit_code =
          static_cast<int>(std::clamp<std::int64_t>(number_at(event, "exit_code", 1), 0, 255));
    }
  }
  return result;
}

std::string MessageFilter::take(std::string_view bytes) {
  std::string shown;
  partial_ += bytes;
  std::size_t begin = 0;
  for (;;) {
    const auto end = partial_.find('\n', begin);
    if (end == std::string::npos) break;
    take_line(partial_.substr(begin, end - begin), shown);
    begin = end + 1;
  }
  partial_.erase(0, begin);
  if (partial_.size() > kMostLineBytes) shown += flush();
  return shown;
}

void MessageFilter::take_line(std::string line, std::string& shown) {
  const bool ruler = is_ruler(line);
  if (!block_.empty()) {
    block_.push_back(std::move(line));
    if (ruler || block_.size() >= kMostBlockLines) end_block(shown);
    return;
  }
  if (ruler) {
    block_.push_back(std::move(line));
    return;
  }
  if (const auto warning = warning_in(line)) {
    auto known = std::ranges::find(warnings_, *warning, &Warning::text);
    if (known == warnings_.end()) known = warnings_.insert(known, {*warning, {}});
    known->lines.push_back(std::move(line));
    return;
  }
  flush_warnings(shown);
  if (is_chatter(line)) return;
  shown += line + "\n";
}

void MessageFilter::end_block(std::string& shown) {
  const auto text = base::joined(block_, "\n");
  block_.clear();
  if (const auto death = death_in(text); death && !death_) death_ = death;
  if (text.find("lost communication with a remote daemon") != std::string::npos) {
    // `Remote daemon: [[40410,0],1] on node b`, after the line of the daemon that tells.
    const auto remote = text.find("Remote daemon");
    if (remote != std::string::npos) {
      lost_host_ = word_after(std::string_view(text).substr(remote), "on node ");
    }
    return;
  }
  if (is_end_notice(text)) return;
  flush_warnings(shown);
  shown += text + "\n";
}

void MessageFilter::flush_warnings(std::string& shown) {
  for (const auto& warning : warnings_) {
    if (warning.lines.size() == 1) {
      shown += warning.lines.front() + "\n";
    } else {
      shown += fmt::format("{} (x{} ranks)\n", warning.text, warning.lines.size());
    }
  }
  warnings_.clear();
}

bool MessageFilter::holds_something() const {
  return !partial_.empty() || !block_.empty() || !warnings_.empty();
}

std::string MessageFilter::flush() {
  std::string shown;
  if (!block_.empty()) end_block(shown);
  flush_warnings(shown);
  if (!partial_.empty()) {
    shown += partial_ + "\n";
    partial_.clear();
  }
  return shown;
}

std::string name_of_signal(int number) {
  const char* words = number > 0 && number < NSIG ? strsignal(number) : nullptr;
  return words == nullptr ? fmt::format("signal {}", number)
                          : fmt::format("signal {} ({})", number, words);
}

}  // namespace lockstep::launcher
