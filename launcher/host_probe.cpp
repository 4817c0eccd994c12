#include "launcher/host_probe.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "launcher/child_process.hpp"

namespace lockstep::launcher {
namespace {

using std::chrono::steady_clock;

constexpr int kPollMilliseconds = 50;
constexpr std::chrono::milliseconds kGrace{200};
constexpr std::size_t kAtATime = 16;

struct Question {
  std::string host;
  std::unique_ptr<ChildProcess> child;
  bool answered = false, over = false;
};

/// What a launcher says is nobody's concern, but it must not wait for a reader.
void drain(int descriptor) {
  std::array<char, 4096> buffer{};
  while (read(descriptor, buffer.data(), buffer.size()) > 0) {
  }
}

Question ask(const LaunchRequest& request, const std::string& host, const std::string& program,
             std::map<std::string, std::string> environment) {
  LaunchRequest one = request;
  one.launcher = "mpirun";
  one.ranks = 1;
  one.micro_batches = 0;
  one.hosts = {{.host = host, .slots = 1}};
  one.additions.clear();
  one.worker = {program};
  const auto plan = plan_launch(one);
  for (const auto& [name, value] : plan.environment) environment[name] = value;
  return {host,
          std::make_unique<ChildProcess>(ChildOptions{plan.argv, std::move(environment), kGrace})};
}

void wait_for_answers(std::vector<Question>& questions, std::chrono::milliseconds patience,
                      const std::function<bool()>& stopped) {
  const auto deadline = steady_clock::now() + patience;
  while (steady_clock::now() < deadline && !stopped() &&
         !std::ranges::all_of(questions, [](const auto& each) { return each.over; })) {
    std::vector<pollfd> polled;
    for (const auto& each : questions) {
      if (!each.over) polled.push_back({each.child->events(), POLLIN, 0});
    }
    poll(polled.data(), polled.size(), kPollMilliseconds);
    for (auto& each : questions) {
      drain(each.child->messages());
      if (each.over) continue;
      const auto end = each.child->ended();
      each.over = end.has_value();
      each.answered = end && !end->signalled && end->value == 0;
    }
  }
}

}  // namespace

std::vector<std::string> silent_hosts(const LaunchRequest& request, const std::string& program,
                                      const std::map<std::string, std::string>& environment,
                                      std::chrono::milliseconds patience,
                                      const std::function<bool()>& stopped) {
  std::vector<std::string> hosts;
  for (const auto& host : request.hosts) {
    if (std::ranges::find(hosts, host.host) == hosts.end()) hosts.push_back(host.host);
  }
  std::vector<std::string> silent;
  for (std::size_t begin = 0; begin < hosts.size(); begin += kAtATime) {
    std::vector<Question> questions;
    for (auto i = begin; i < std::min(begin + kAtATime, hosts.size()); ++i) {
      questions.push_back(ask(request, hosts[i], program, environment));
    }
    wait_for_answers(questions, patience, stopped);
    if (stopped()) return {};
    for (const auto& each : questions) {
      if (!each.answered) silent.push_back(each.host);
    }
  }
  return silent;
}

}  // namespace lockstep::launcher
