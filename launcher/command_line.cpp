#include "launcher/command_line.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <build_id.hpp>
#include <cctype>
#include <new>
#include <optional>

#include "base/error.hpp"
#include "base/text.hpp"
#include "configs/reader.hpp"
#include "launcher/commands/command.hpp"

namespace lockstep::launcher {
namespace {

using Words = std::vector<std::string>;

/// Global words taken out of the command line, wherever they stand in front of the command.
struct Globals {
  bool help = false;
  bool version = false;
  std::optional<std::string> color;
};

std::string root_help() {
  std::string text = fmt::format(
      "lockstep {}: training whose result depends on configuration, seed and data alone\n\n"
      "usage: lockstep COMMAND [options]\n\n"
      "examples:\n"
      "  lockstep train configs/examples/fashion_mnist.yaml --ranks 2\n"
      "  lockstep show latest\n",
      kVersion);
  std::string_view heading;
  for (const auto& entry : command_table()) {
    if (heading != entry.heading) text += fmt::format("\n{}\n", heading = entry.heading);
    const auto left = fmt::format("{} {}", entry.name, entry.synopsis);
    text += fmt::format("  {:<44} {}\n", left, entry.summary);
  }
  return text +
         "\n'lockstep COMMAND -h' lists a command's options. RUN is a name, a directory or "
         "'latest'.\n--color=auto|always|never is taken by all commands; NO_COLOR is respected.\n";
}

bool take_global(const std::string& word, Globals& globals) {
  if (word == "-h" || word == "--help" || word == "help") {
    globals.help = true;
  } else if (word == "--version") {
    globals.version = true;
  } else if (word.starts_with("--color=")) {
    globals.color = word.substr(8);
  } else {
    return false;
  }
  return true;
}

std::size_t words_in(std::string_view name) {
  return 1 + static_cast<std::size_t>(std::ranges::count(name, ' '));
}

/// The command that `words` begin with, the most specific one.
const CommandEntry* find_command(const Words& words) {
  const CommandEntry* found = nullptr;
  for (const auto& entry : command_table()) {
    const auto parts = base::split(entry.name, ' ');
    if (words.size() < parts.size() || !std::equal(parts.begin(), parts.end(), words.begin())) {
      continue;
    }
    if (found == nullptr || parts.size() > words_in(found->name)) found = &entry;
  }
  return found;
}

/// Throws what to say about words that are no command, or prints a group's help.
std::string explain_no_command(const Words& words) {
  std::string group;
  std::vector<std::string> choices;
  // The longest start of the words that is a group; then what may follow it.
  for (std::size_t depth = 0; depth <= words.size(); ++depth) {
    const auto prefix = base::joined(std::span(words).first(depth), " ");
    std::vector<std::string> next;
    for (const auto& entry : command_table()) {
      const std::string name = entry.name;
      if (depth > 0 && !name.starts_with(prefix + " ")) continue;
      const auto part = base::split(name, ' ')[depth];
      if (std::ranges::find(next, part) == next.end()) next.push_back(part);
    }
    if (next.empty()) break;
    group = prefix;
    choices = next;
  }
  const auto depth = group.empty() ? 0 : words_in(group);
  const auto program = group.empty() ? std::string("lockstep") : "lockstep " + group;
  if (words.size() == depth || words[depth] == "-h" || words[depth] == "--help") {
    std::string text = fmt::format("usage: {} COMMAND [options]\n\n", program);
    for (const auto& entry : command_table()) {
      const std::string name = entry.name;
      if (!name.starts_with(group + " ")) continue;
      text +=
          fmt::format("  {:<44} {}\n", fmt::format("{} {}", name, entry.synopsis), entry.summary);
    }
    return text;
  }
  const auto nearest = base::nearest_name(words[depth], choices);
  throw base::ConfigError(fmt::format("{} is no command of '{}' (it has {}); {}",
                                      base::quote(words[depth]), program, base::joined(choices),
                                      nearest
                                          ? fmt::format("did you mean '{} {}'?", program, *nearest)
                                          : fmt::format("see '{} -h'", program)));
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    for (const auto& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

/// CLI11's refusal in the words of this project.
base::ConfigError usage_error(const CLI::ParseError& error, const CLI::App& app) {
  const auto& program = app.get_name();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const auto extras = app.remaining();
    const auto word = extras.empty() ? std::string() : extras.front();
    const auto name = word.substr(0, word.find('='));
    const auto nearest = name.starts_with('-') ? base::nearest_name(name, option_names(app))
                                               : std::optional<std::string>();
    return base::ConfigError(
        fmt::format("{} is not taken by '{}' (it is neither an option nor an operand of it); {}",
                    base::quote(word), program,
                    nearest ? "did you mean " + base::quote(*nearest) + "?"
                            : fmt::format("see '{} -h'", program)));
  }
  std::string reason = error.what();
  if (!reason.empty() && reason.size() > 1 && std::islower(static_cast<unsigned char>(reason[1]))) {
    reason.front() = static_cast<char>(std::tolower(static_cast<unsigned char>(reason.front())));
  }
  while (reason.ends_with('.') || reason.ends_with('\n')) reason.pop_back();
  return base::ConfigError(fmt::format("the command line of '{}' cannot be read ({}); see '{} -h'",
                                       program, reason, program));
}

int run_command(const CommandEntry& entry, const Words& operands, Globals& globals,
                Session& session) {
  const auto command = entry.make();
  CLI::App app(entry.summary, std::string("lockstep ") + entry.name);
  app.get_formatter()->column_width(34);
  std::string color = globals.color.value_or("auto");
  app.add_option("--color", color, "where colors are shown: auto, always or never");
  command->declare(app);
  if (globals.help) {
    print(app.help());
    return 0;
  }
  try {
    // CLI11 takes the words from the back.
    app.parse(Words(operands.rbegin(), operands.rend()));
  } catch (const CLI::CallForHelp&) {
    print(app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    throw usage_error(error, app);
  }
  const auto choice = color_choice(color);
  session.output = choose_style(choice, session.environment, terminal_columns(STDOUT_FILENO));
  session.messages = choose_style(choice, session.environment, terminal_columns(STDERR_FILENO));
  return command->run(session);
}

int dispatch(const Words& words, Globals& globals, Session& session) {
  Words rest;
  auto word = words.begin();
  while (word != words.end() && take_global(*word, globals)) ++word;
  rest.assign(word, words.end());
  if (globals.version) rest = {"version"};
  if (rest.empty()) {
    print(root_help());
    return 0;
  }
  const auto* entry = find_command(rest);
  if (entry == nullptr) {
    print(explain_no_command(rest));
    return 0;
  }
  return run_command(
      *entry, {rest.begin() + static_cast<std::ptrdiff_t>(words_in(entry->name)), rest.end()},
      globals, session);
}

/// The one place where an error becomes text.
int report(const Session& session, const std::string& text, base::ExitCode code) {
  print_message(session.messages,
                paint(session.messages, Tone::kError, "error:") + " " + text + "\n");
  return static_cast<int>(code);
}

}  // namespace

int run_command_line(const std::vector<std::string>& words,
                     const std::map<std::string, std::string>& environment) {
  Session session;
  session.environment = environment;
  session.command = {"lockstep"};
  session.command.insert(session.command.end(), words.begin(), words.end());
  session.messages = choose_style(ColorChoice::kAuto, environment, terminal_columns(STDERR_FILENO));
  Globals globals;
  try {
    return dispatch(words, globals, session);
  } catch (const configs::ConfigErrors& errors) {
    print_message(session.messages, configs::render(errors.diagnostics, session.messages.color));
    return static_cast<int>(errors.code());
  } catch (const base::Error& error) {
    return report(session, error.what(), error.code());
  } catch (const std::bad_alloc&) {
    return report(session, "memory is used up (the system gave no more); close other programs",
                  base::ExitCode::kEnvironment);
  } catch (const std::exception& error) {
    return report(session, fmt::format("{} (not expected here); report this bug", error.what()),
                  base::ExitCode::kFailed);
  }
}

}  // namespace lockstep::launcher
