#include "base/stop_signal.hpp"

#include <array>
#include <atomic>
#include <csignal>

#include "base/error.hpp"

namespace lockstep::base {
namespace {

constexpr std::array kSignals{SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGHUP};

std::atomic<int> request_count{0};
std::atomic<int> first_number{0};
std::array<struct sigaction, kSignals.size()> former_actions;
std::atomic<bool> installed{false};

extern "C" void count_request(int number) {
  int none = 0;
  first_number.compare_exchange_strong(none, number);
  request_count.fetch_add(1);
}

}  // namespace

StopSignal::StopSignal() {
  LOCKSTEP_EXPECT(!installed.exchange(true), "a second StopSignal in one process");
  request_count = 0;
  first_number = 0;
  struct sigaction action {};
  action.sa_handler = count_request;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &action, &former_actions[i]);
    // nohup(1) has a command outlive its terminal.
    const bool ignored = former_actions[i].sa_handler == SIG_IGN;
    if (kSignals[i] == SIGHUP && ignored) sigaction(SIGHUP, &former_actions[i], nullptr);
  }
}

StopSignal::~StopSignal() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &former_actions[i], nullptr);
  }
  installed = false;
}

int StopSignal::requests() const { return request_count.load(); }
int StopSignal::first_signal() const { return first_number.load(); }

}  // namespace lockstep::base
