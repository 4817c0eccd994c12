#include "launcher/plan_text.hpp"

#include <fmt/core.h>

#include "base/file_system.hpp"
#include "base/text.hpp"
#include "checkpoints/cadence.hpp"

namespace lockstep::launcher {
namespace {

std::string count(std::int64_t number) {
  return base::format_count(static_cast<std::uint64_t>(number));
}

std::string model_text(const configs::RunConfig& config, const PlanFacts& facts) {
  if (!facts.parameters) return config.model.name + ", size unknown (the worker did not say)";
  return fmt::format("{}, {} parameters ({})", config.model.name,
                     base::format_count(*facts.parameters),
                     base::format_bytes(*facts.parameters * sizeof(float)));
}

std::string data_text(const configs::RunConfig& config, const PlanFacts& facts) {
  const auto names = base::joined(config.data.train);
  if (facts.samples) return fmt::format("{}, {} samples", names, count(*facts.samples));
  return fmt::format("{}, samples unknown ({})", names, facts.no_samples);
}

std::int64_t steps_an_epoch(const configs::RunConfig& config, const PlanFacts& facts) {
  return facts.samples.value_or(0) / config.train.global_batch;
}

/// 0 = not known.
std::int64_t steps_in_all(const configs::RunConfig& config, const PlanFacts& facts) {
  const auto& train = config.train;
  return train.steps > 0 ? train.steps : train.epochs * steps_an_epoch(config, facts);
}

std::string steps_text(const configs::RunConfig& config, const PlanFacts& facts) {
  const auto& train = config.train;
  if (!facts.samples) {
    return train.steps > 0 ? fmt::format("{}, {} samples", count(train.steps),
                                         count(train.steps * train.global_batch))
                           : fmt::format("{} epochs", train.epochs);
  }
  const auto a_epoch = steps_an_epoch(config, facts);
  if (a_epoch == 0) {
    return fmt::format("none: {} samples are fewer than train.global_batch {}",
                       count(*facts.samples), train.global_batch);
  }
  const auto steps = steps_in_all(config, facts);
  const double epochs = static_cast<double>(steps) / static_cast<double>(a_epoch);
  return fmt::format("{} = {:.4g} epochs of {} steps, {} samples", count(steps), epochs,
                     count(a_epoch), count(steps * train.global_batch));
}

std::string promise_text(const configs::RunConfig& config) {
  if (config.train.micro_batch == 0) {
    return "off: without train.micro_batch the number of ranks changes the result (reduction "
           "fast)";
  }
  if (config.train.reduction == "fast") {
    return "off: reduction fast sums in the order of the ranks";
  }
  const auto& checkpoint = config.checkpoint;
  if (config.train.divergence.policy == "rollback" && checkpoint.every_steps == 0 &&
      checkpoint.every_epochs == 0) {
    return "the same state_digest on any number of ranks until a step diverges: a rollback goes "
           "to a checkpoint that the clock chose (set checkpoint.every_steps)";
  }
  return "the same state_digest on any number of ranks";
}

/// `every epoch, 500 steps, and at the end or a stop`
std::string saves_text(const configs::RunConfig& config, const PlanFacts& facts) {
  const auto& checkpoint = config.checkpoint;
  const auto duration = [](std::chrono::duration<double> time) {
    return base::format_duration(std::chrono::duration_cast<std::chrono::nanoseconds>(time));
  };
  std::vector<std::string> parts;
  if (checkpoint.every_epochs > 0) {
    parts.push_back(
        checkpoint.every_epochs == 1 ? "epoch" : fmt::format("{} epochs", checkpoint.every_epochs));
  }
  if (checkpoint.every_steps > 0) parts.push_back(fmt::format("{} steps", checkpoint.every_steps));
  if (checkpoint.every_seconds > 0) {
    parts.push_back(duration(std::chrono::duration<double>(checkpoint.every_seconds)));
  }
  if (checkpoint.every == "auto" && facts.state_bytes) {
    const int nodes = std::max(1, static_cast<int>(config.launch.hosts.size()));
    const auto interval = checkpoints::best_interval(
        checkpoints::guessed_cost(*facts.state_bytes),
        checkpoints::time_between_failures(nodes, 0, std::chrono::duration<double>(0)));
    parts.push_back(duration(interval) + " at first (auto, until a save was measured)");
  }
  return (parts.empty() ? std::string() : "every " + base::joined(parts) + ", and ") +
         "at the end or a stop";
}

std::string disk_text(const configs::RunConfig& config, const PlanFacts& facts) {
  if (!facts.state_bytes) return "unknown (the worker did not say)";
  checkpoints::DiskNeed need{.state_bytes = *facts.state_bytes,
                             .keep = config.checkpoint.keep,
                             .best = config.checkpoint.best != "none"};
  if (config.checkpoint.keep_every_steps > 0) {
    need.kept_for_good = steps_in_all(config, facts) / config.checkpoint.keep_every_steps;
  }
  auto text = fmt::format("up to {} for checkpoints of {}", base::format_bytes(need.whole_bytes()),
                          base::format_bytes(need.state_bytes));
  if (facts.free_disk_bytes) {
    text += fmt::format(", {} free", base::format_bytes(*facts.free_disk_bytes));
    if (*facts.free_disk_bytes < need.whole_bytes()) {
      text += ": TOO LITTLE, lower checkpoint.keep or set run.directory to another disk";
    }
  }
  return text;
}

std::string memory_text(const PlanFacts& facts) {
  if (!facts.state_bytes) return "unknown (the worker did not say)";
  auto text = fmt::format("{} of state", base::format_bytes(*facts.state_bytes));
  if (facts.kept_bytes) {
    text +=
        fmt::format(", {} of memory that outlives a rank", base::format_bytes(*facts.kept_bytes));
  }
  if (facts.node_bytes) {
    text += fmt::format(", {} of shared memory a node ({} free in /dev/shm here)",
                        base::format_bytes(*facts.node_bytes),
                        base::format_bytes(facts.free_shared_bytes));
    if (*facts.node_bytes > facts.free_shared_bytes) {
      text += ": TOO LITTLE, see 'lockstep doctor'";
    }
  }
  return text;
}

}  // namespace

/// `4 4 3` micro-batches, or `4 x 8 ranks` where there are many.
std::string split_text(const configs::RunConfig& config, const LaunchPlan& plan) {
  if (plan.micro_batches.empty()) {
    return fmt::format("{} samples a step, one micro-batch a rank", config.train.global_batch);
  }
  std::vector<std::string> parts;
  for (std::size_t first = 0; first < plan.micro_batches.size();) {
    const auto size = plan.micro_batches[first].size();
    auto next = first;
    while (next < plan.micro_batches.size() && plan.micro_batches[next].size() == size) ++next;
    parts.push_back(next - first == 1
                        ? fmt::format("{} on rank {}", size, first)
                        : fmt::format("{} on each of ranks {} to {}", size, first, next - 1));
    first = next;
  }
  return fmt::format("{} samples a step in {} micro-batches of {}: {}", config.train.global_batch,
                     plan.micro_batches.back().end, config.train.micro_batch, base::joined(parts));
}

std::string plan_text(const configs::RunConfig& config, const LaunchPlan& plan,
                      const PlanFacts& facts) {
  const auto name =
      config.run.name.empty() ? std::string("<two words, chosen at the start>") : config.run.name;
  const auto directory = base::join_path(config.run.directory, name);
  std::string text;
  const auto add = [&](const char* label, const std::string& value) {
    text += fmt::format("{:<9}{}\n", label, value);
  };
  add("run", name);
  add("model", model_text(config, facts));
  add("data", data_text(config, facts));
  add("ranks",
      fmt::format("{} ({}), {} {} each", plan.ranks, name_of(plan.kind), config.compute.threads,
                  config.compute.threads == 1 ? "thread" : "threads"));
  add("split", split_text(config, plan));
  add("steps", steps_text(config, facts));
  add("promise", promise_text(config));
  add("saves", saves_text(config, facts));
  add("memory", memory_text(facts));
  add("disk", disk_text(config, facts));
  add("files", directory + "/");
  add("", "run.json, config.yaml, overrides.txt, ledger.jsonl, metrics.jsonl, events.jsonl");
  add("", fmt::format("logs/, checkpoints/ (the newest {} and the best)", config.checkpoint.keep));
  add("command", facts.command);
  return text;
}

}  // namespace lockstep::launcher
