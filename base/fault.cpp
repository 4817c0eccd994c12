#include "base/fault.hpp"

#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::base {
namespace {

using Kind = Fault::Kind;

constexpr std::array kKinds{std::pair{"kill", Kind::kKill},
                            std::pair{"segfault", Kind::kSegfault},
                            std::pair{"freeze", Kind::kFreeze},
                            std::pair{"slow", Kind::kSlow},
                            std::pair{"hang", Kind::kHang},
                            std::pair{"exit", Kind::kExit},
                            std::pair{"nan", Kind::kNan},
                            std::pair{"corrupt", Kind::kCorrupt},
                            std::pair{"disk-full", Kind::kDiskFull},
                            std::pair{"mismatch", Kind::kMismatch}};

[[noreturn]] void not_understood(std::string_view word) {
  throw ConfigError("LOCKSTEP_FAULT has " + quote(word) +
                    " (not a fault or a place of one); write it as 'kill rank=1 phase=step "
                    "step=4', or unset it");
}

std::int64_t number_of(std::string_view text, std::string_view word) {
  std::int64_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc{} || end != text.data() + text.size()) not_understood(word);
  return number;
}

Phase phase_of(std::string_view text, std::string_view word) {
  for (int i = 0; i < kPhases; ++i) {
    if (text == name_of(static_cast<Phase>(i))) return static_cast<Phase>(i);
  }
  not_understood(word);
}

Kind kind_of(std::string_view word) {
  for (const auto& [name, kind] : kKinds) {
    if (word == name) return kind;
  }
  not_understood(word);
}

void set(Fault& fault, std::string_view word) {
  const auto equals = word.find('=');
  if (equals == std::string_view::npos) not_understood(word);
  const auto name = word.substr(0, equals);
  const auto value = word.substr(equals + 1);
  if (name == "rank") {
    fault.rank = static_cast<int>(number_of(value, word));
  } else if (name == "phase") {
    fault.phase = phase_of(value, word);
  } else if (name == "step") {
    fault.step = number_of(value, word);
  } else if (name == "delay_us") {
    fault.delay_us = number_of(value, word);
  } else if (name == "milliseconds") {
    fault.milliseconds = number_of(value, word);
  } else if (name == "attempt") {
    fault.attempt = static_cast<int>(number_of(value, word));
  } else {
    not_understood(word);
  }
}

bool is_due(const Fault& fault, Phase phase, std::int64_t step) {
  return fault.phase == phase && (fault.step < 0 || fault.step == step);
}

void strike_now(const Fault& fault) {
  switch (fault.kind) {
    case Kind::kKill: ::kill(::getpid(), SIGKILL); break;
    case Kind::kSegfault: ::kill(::getpid(), SIGSEGV); break;
    case Kind::kFreeze: ::kill(::getpid(), SIGSTOP); break;
    case Kind::kExit: ::_exit(1);
    case Kind::kSlow:
      std::this_thread::sleep_for(std::chrono::milliseconds(fault.milliseconds));
      break;
    case Kind::kHang:
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    case Kind::kNan:
    case Kind::kCorrupt:
    case Kind::kDiskFull:
    case Kind::kMismatch: break;
  }
}

}  // namespace

FaultPlan FaultPlan::parse(std::string_view text) {
  FaultPlan plan;
  for (const auto& part : split(text, ';')) {
    bool first = true;
    for (const auto& word : split(part, ' ')) {
      if (word.empty()) continue;
      if (first) {
        plan.faults_.push_back({.kind = kind_of(word)});
      } else {
        set(plan.faults_.back(), word);
      }
      first = false;
    }
  }
  return plan;
}

FaultPlan FaultPlan::for_rank(int rank, int attempt) const {
  FaultPlan plan;
  for (const auto& fault : faults_) {
    const bool now = fault.attempt < 0 || fault.attempt == attempt;
    if (now && fault.rank == rank) plan.faults_.push_back(fault);
  }
  return plan;
}

bool FaultPlan::wants(Kind kind, Phase phase, std::int64_t step) const {
  for (const auto& fault : faults_) {
    if (fault.kind == kind && is_due(fault, phase, step)) return true;
  }
  return false;
}

void FaultPlan::strike(Phase phase, std::int64_t step) const {
  for (const auto& fault : faults_) {
    if (!is_due(fault, phase, step)) continue;
    if (fault.delay_us == 0) {
      strike_now(fault);
    } else {
      std::thread([fault] {
        std::this_thread::sleep_for(std::chrono::microseconds(fault.delay_us));
        strike_now(fault);
      }).detach();
    }
  }
}

}  // namespace lockstep::base
