#include "launcher/supervise.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/process_status.hpp"
#include "base/stop_signal.hpp"
#include "base/text.hpp"
#include "launcher/rank_watch.hpp"
#include "launcher/scratch_folder.hpp"
#include "launcher/status_board.hpp"

namespace lockstep::launcher {
namespace {

using std::chrono::steady_clock;

constexpr int kPollMilliseconds = 100;
constexpr std::chrono::milliseconds kLook{250};  // from one search for a hang to the next
constexpr std::chrono::milliseconds kStacksPatience{300};
constexpr std::chrono::seconds kLeastTimeToStop{2};
/// For ranks to be started, before they are told to stop.
constexpr std::chrono::seconds kStartPatience{10};
/// For ranks that do not show whether they have heard of it.
constexpr std::chrono::seconds kUnseenPatience{5};
/// From a rank's failure, which it tells the others, to the end of those that did not listen.
constexpr std::chrono::seconds kFarewell{5};

/// Reads everything that is there now. Returns false at the end of the stream.
bool read_available(int descriptor, std::string& bytes) {
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto size = read(descriptor, buffer.data(), buffer.size());
    if (size > 0) {
      bytes.append(buffer.data(), static_cast<std::size_t>(size));
    } else if (size == 0) {
      return false;
    } else if (errno != EINTR) {
      return errno == EAGAIN;
    }
  }
}

std::map<std::string, std::string> merged(std::map<std::string, std::string> base,
                                          const std::map<std::string, std::string>& additions) {
  for (const auto& [name, value] : additions) base[name] = value;
  return base;
}

/// Has Open MPI (4.1 and 5.0) put there what a killed mpirun would leave behind: it tidies up by
/// itself only where it ends by itself. What the user has set stands.
void add_scratch(const std::string& folder, std::map<std::string, std::string>& environment) {
  static constexpr std::array kSettings{"OMPI_MCA_btl_vader_backing_directory",
                                        "OMPI_MCA_btl_sm_backing_directory",
                                        "OMPI_MCA_orte_tmpdir_base", "PRTE_MCA_prte_tmpdir_base"};
  if (folder.empty()) return;
  for (const auto* setting : kSettings) environment.emplace(setting, folder);
}

/// When the newest file of a folder was written.
std::optional<std::filesystem::file_time_type> newest_in(const std::string& folder) {
  std::optional<std::filesystem::file_time_type> newest;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(folder, code)) {
    const auto time = entry.last_write_time(code);
    if (!code && (!newest || time > *newest)) newest = time;
  }
  return newest;
}

/// One launch, from its start to the end of its ranks.
class Launch {
 public:
  /// Of the requests to stop, the first `requests_taken` are not this launch's.
  Launch(const LaunchPlan& plan, const SuperviseOptions& options, int requests_taken)
      : options_(options),
        stop_(*options.stop),
        old_health_(newest_in(options.health_path)),
        board_(plan.ranks),
        watch_(board_),
        hang_(options.hang),
        all_here_(plan.all_here),
        requests_taken_(requests_taken) {
    facts_.kind = plan.kind;
    auto environment = merged(options.environment, plan.environment);
    environment[kBoardVariable] = board_.address();
    if (plan.kind == LaunchKind::kMpirun && plan.all_here) {
      scratch_ = make_scratch_folder();
      add_scratch(scratch_, environment);
    }
    child_ = std::make_unique<ChildProcess>(
        ChildOptions{plan.argv, std::move(environment), options.grace, scratch_});
  }

  /// Returns what is known when no rank is left.
  LaunchFacts follow() {
    while (!over_) {
      wait();
      take_messages();
      follow_stop_requests();
      follow_ranks();
      look_for_a_hang();
      look_for_a_start();
    }
    take_account();
    return std::move(facts_);
  }

  std::int64_t steps_done() const { return watch_.steps_done(); }
  int requests_taken() const { return requests_taken_; }
  /// The launcher when it has not ended though its ranks have.
  std::unique_ptr<ChildProcess> take_leftover() {
    return facts_ended_ ? nullptr : std::move(child_);
  }

 private:
  void wait() {
    std::vector<pollfd> polled{{messages_open_ ? child_->messages() : -1, POLLIN, 0},
                               {child_->events(), POLLIN, 0}};
    watch_.add_to(polled);
    quiet_ = poll(polled.data(), polled.size(), kPollMilliseconds) == 0;
    if (const auto end = child_->ended()) {
      facts_.end = *end;
      facts_ended_ = over_ = true;
    }
  }

  void take_messages() {
    if (messages_open_) {
      std::string bytes;
      messages_open_ = read_available(child_->messages(), bytes);
      show(filter_.take(bytes));
    }
    if (quiet_ || over_) show(filter_.flush());
  }

  /// Long enough for the step in hand and a save, as far as this launch has shown them.
  std::chrono::nanoseconds time_to_stop() const {
    return kLeastTimeToStop +
           3 * (hang_.longest(base::Phase::kStep) + hang_.longest(base::Phase::kSave));
  }

  void follow_wall_limit() {
    if (!options_.wall_limit) return;
    const auto now = steady_clock::now();
    if (facts_.stop_requests == 0 && now >= *options_.wall_limit - time_to_stop()) {
      facts_.stop_requests = 1;
      facts_.by_wall_limit = true;
      child_->signal(SIGUSR1);
      show("stopping: the wall limit is near; the ranks finish their step and save\n");
    } else if (facts_.stop_requests == 1 && now >= *options_.wall_limit) {
      facts_.stop_requests = 2;
      facts_.by_wall_limit = true;
      show("the wall limit is reached: the ranks are ended\n");
      child_->stop();
    }
  }

  void follow_stop_requests() {
    follow_wall_limit();
    const int asked = stop_.requests();
    for (; requests_taken_ < asked; ++requests_taken_) take_stop_request();
    tell_ranks_to_stop();
  }

  /// A rank that has no handler yet would end by the signal, and with it what memory holds of the
  /// run: it is sent when all are there. Those of other hosts are not seen.
  void tell_ranks_to_stop() {
    const auto now = steady_clock::now();
    const bool absent = all_here_ && !watch_.complete();
    if (tell_at_ && !over_ && (!absent || now >= *tell_at_ + kStartPatience)) {
      child_->signal(SIGUSR1);
      tell_at_.reset();
      if (absent) give_up_at_ = now + kUnseenPatience;
    }
    // What never started does not hear of it either.
    if (!give_up_at_ || over_ || now < *give_up_at_) return;
    give_up_at_.reset();
    show("not all ranks were there yet: they are ended\n");
    facts_.stop_requests = 2;
    child_->stop();
  }

  /// Whether all ranks are on the board, or, where they are not all seen, a host shows that it has
  /// started: it does when its ranks have met the others.
  bool have_started() {
    if (all_here_) return watch_.complete();
    return options_.health_path.empty() || newest_in(options_.health_path) != old_health_;
  }

  /// A rank that is not there cannot be seen to hang.
  void look_for_a_start() {
    const auto longest = options_.hang.longest;
    if (longest.count() <= 0 || steady_clock::now() < started_ + longest) return;
    if (over_ || facts_.hang || have_started()) return;
    Verdict verdict;
    verdict.cause = "hang";
    verdict.exit_code = static_cast<int>(base::ExitCode::kFailed);
    verdict.message =
        "not all ranks have started within " +
        base::format_duration(std::chrono::duration_cast<std::chrono::nanoseconds>(longest));
    verdict.advice = "see what their processes do (ps), or raise launch.deadline_seconds";
    facts_.hang = std::move(verdict);
    child_->stop();
  }

  void take_stop_request() {
    if (++facts_.stop_requests == 1) {
      tell_at_ = steady_clock::now();
      show("stopping: the ranks finish their step and save; once more ends them at once\n");
    } else {
      tell_at_.reset();
      // The launcher takes seconds over it. Ranks of other hosts are its to end.
      watch_.signal_all(SIGKILL);
      end_launcher(all_here_);
    }
  }

  void look_for_a_hang() {
    const auto now = steady_clock::now();
    if (over_ || death_ || options_.hang.longest.count() <= 0 || now < next_look_) return;
    next_look_ = now + kLook;
    const auto views = watch_.views();
    const auto verdict = hang_.look(now.time_since_epoch(), views);
    if (!verdict) return;
    facts_.hang = verdict;
    keep_stacks(views);
    watch_.signal_all(SIGKILL);
  }

  /// The ranks write their stacks themselves, all but those that are stopped.
  void keep_stacks(const std::vector<RankView>& views) {
    if (options_.diagnostics_path.empty()) return;
    try {
      auto& files = base::FileSystem::posix();
      files.make_directories(options_.diagnostics_path);
      watch_.signal_all(SIGQUIT);
      files.write_atomically(base::join_path(options_.diagnostics_path, "hang.txt"),
                             describe(views, hang_.waited(steady_clock::now().time_since_epoch())));
      std::this_thread::sleep_for(kStacksPatience);
      show("the ranks hang; what each does is in " + options_.diagnostics_path + "\n");
    } catch (const base::Error& error) {
      show(std::string("warning: ") + error.what() + "\n");
    }
  }

  /// Ranks die with a launcher that is killed.
  bool launcher_is_gone() const {
    const auto status = base::process_status(child_->pid());
    return !status || status->state == 'Z';
  }

  /// `at_once`: it has nothing to tidy up but its own, and that goes with the scratch folder.
  void end_launcher(bool at_once) {
    const bool tidies = facts_.kind != LaunchKind::kLocal && scratch_.empty();
    if (at_once && !tidies) {
      child_->kill();
    } else {
      child_->stop();
    }
  }

  void follow_ranks() {
    watch_.update();
    if (!death_) {
      death_ = watch_.first_death();
      if (!death_) return;
      died_at_ = steady_clock::now();
      launcher_was_killed_ = facts_.kind != LaunchKind::kLocal && launcher_is_gone();
    }
    // Its own account may come a moment later than the end of a rank that it took down.
    if (const auto death = watch_.first_death()) death_ = death;
    const bool told = death_->signal == 0;
    if (!told || steady_clock::now() > died_at_ + kFarewell) watch_.signal_all(SIGKILL);
    if (over_ || told || !watch_.all_gone()) return;
    // Ranks that the board does not show are the launcher's to end, and it is slow.
    over_ = watch_.complete();
    end_launcher(over_);
  }

  /// Puts together what the board, the launcher's words and its end say of the first death.
  void take_account() {
    watch_.update();
    if (const auto death = watch_.first_death()) death_ = death;
    const auto& said = filter_.death();
    if (launcher_was_killed_ && death_ && death_->signal == SIGKILL) {
      facts_.end = {true, SIGKILL};
    } else if (!death_) {
      facts_.death = said;
    } else {
      facts_.death = death_;
      if (said && said->rank == death_->rank && said->signal > 0) {
        facts_.death->signal = said->signal;
      }
      if (facts_.kind == LaunchKind::kLocal && facts_ended_) {
        facts_.death->signal = facts_.end.signalled ? facts_.end.value : 0;
        if (!facts_.end.signalled) facts_.death->exit_code = facts_.end.value;
      }
      if (!facts_ended_) facts_.end = {false, static_cast<int>(base::ExitCode::kFailed)};
    }
    facts_.lost_host = filter_.lost_host();
    if (facts_.stop_requests > 0) facts_.stop_signal = stop_.first_signal();
  }

  void show(const std::string& text) const {
    if (!text.empty() && options_.print) options_.print(text);
  }

  const SuperviseOptions& options_;
  const base::StopSignal& stop_;
  const std::optional<std::filesystem::file_time_type> old_health_;
  StatusBoard board_;
  RankWatch watch_;
  HangWatch hang_;
  steady_clock::time_point next_look_;
  const steady_clock::time_point started_ = steady_clock::now();
  const bool all_here_;
  std::string scratch_;  // folder of the launch, or empty
  std::unique_ptr<ChildProcess> child_;
  MessageFilter filter_;
  LaunchFacts facts_;
  std::optional<RankDeath> death_;
  steady_clock::time_point died_at_;
  std::optional<steady_clock::time_point> tell_at_;     // a request that ranks do not know of yet
  std::optional<steady_clock::time_point> give_up_at_;  // on ranks that never came
  int requests_taken_;                                  // of the user
  bool messages_open_ = true;
  bool launcher_was_killed_ = false;
  bool quiet_ = false;
  bool facts_ended_ = false;  // facts_.end is what the launcher ended with
  bool over_ = false;
};

}  // namespace

Supervisor::Supervisor(SuperviseOptions options) : options_(std::move(options)) {
  if (options_.stop == nullptr) options_.stop = &own_stop_.emplace();
  requests_taken_ = options_.stop->requests();
}

Supervisor::~Supervisor() = default;

LaunchEnd Supervisor::run(const LaunchPlan& plan) {
  const auto& clock = base::Clock::system();
  const auto started = clock.now();
  auto& files = base::FileSystem::posix();
  const auto events_begin =
      options_.events_path.empty() ? 0 : files.file_size(options_.events_path).value_or(0);

  Launch launch(plan, options_, requests_taken_);
  auto facts = launch.follow();
  requests_taken_ = launch.requests_taken();
  if (!options_.events_path.empty()) {
    const auto events = read_events(files, options_.events_path, events_begin);
    facts.verdict = events.verdict;
    facts.agreed_code = events.exit_code;
  }
  auto end = judge(facts);
  end.step = launch.steps_done();
  end.wall = clock.now() - started;
  if (auto leftover = launch.take_leftover()) leftovers_.push_back(std::move(leftover));
  return end;
}

}  // namespace lockstep::launcher
