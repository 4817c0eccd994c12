// The worker's verbs that use a trained model: evaluate, predict and replay.

#include <ATen/Version.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/output_path.hpp"
#include "base/text.hpp"
#include "comm/agreement.hpp"
#include "configs/writer.hpp"
#include "launcher/evaluation_text.hpp"
#include "launcher/replay_text.hpp"
#include "launcher/worker.hpp"
#include "trainer/detailed_evaluation.hpp"
#include "trainer/inference.hpp"
#include "trainer/prediction.hpp"
#include "trainer/replay.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;

/// The model of a run as its newest good checkpoint, or the named one, has it.
struct LoadedModel {
  trainer::InferenceAssembly made;
  std::string run;  ///< its name
  std::int64_t step = 0;
  std::string state_digest;
};

LoadedModel load_model(Worker& worker, WorkerSession& session) {
  const auto& config = worker.loaded.config;
  auto made = trainer::assemble_for_inference(config, configs::config_hash(config),
                                              base::cache_directory(worker.environment),
                                              session.group(), worker.device.get());
  worker.position().enter(base::Phase::kRestore);
  const auto run = checkpoints::RunDirectory::open(files(), ".", worker.run_path);
  checkpoints::CheckpointStore store(files(), run.checkpoints_path());
  std::string path = worker.checkpoint_path;
  if (path.empty()) {
    path = comm::on_first_rank(session.world(), "checkpoint",
                               [&] { return store.newest_good().value_or(""); });
  }
  if (path.empty()) {
    throw base::CheckpointError("run " + base::quote(run.name()) +
                                " has no good checkpoint (nothing to load); train it first, or see "
                                "'lockstep verify'");
  }
  const auto manifest = made.model->load(store, path);
  worker.position().finished(manifest.info.step);
  return {std::move(made), run.name(), manifest.info.step, manifest.state_digest};
}

trainer::RocAuc roc_auc_of(const std::string& word) {
  if (word == "on") return trainer::RocAuc::kOn;
  return word == "off" ? trainer::RocAuc::kOff : trainer::RocAuc::kAuto;
}

/// Only the first rank writes: other nodes need not see the folder.
void require_output(const Worker& worker, WorkerSession& session) {
  if (worker.arguments.output.empty()) return;
  comm::on_first_rank(session.world(), "place of the output", [&] {
    base::require_output_path(worker.arguments.output);
    return std::string();
  });
}

/// Everything that the bits of predictions depend on besides batch and shape.
std::string prediction_identity(const Worker& worker, const LoadedModel& model,
                                const data::SampleSource& source) {
  const nlohmann::ordered_json json{
      {"state_digest", model.state_digest},
      {"data_fingerprint", source.fingerprint()},
      {"config_hash", configs::config_hash(worker.loaded.config)},
      {"torch", TORCH_VERSION},
      {"processor", worker.device_name.empty() ? at::get_cpu_capability() : worker.device_name}};
  return json.dump();
}

}  // namespace

ExitCode evaluate(Worker& worker, WorkerSession& session) {
  const auto& arguments = worker.arguments;
  require_output(worker, session);
  const auto top_k = parse_top_k(arguments.top_k);
  std::vector<Gate> gates;
  for (const auto& text : arguments.least) {
    gates.push_back(parse_gate(text, Gate::Side::kAtLeast));
  }
  for (const auto& text : arguments.most) gates.push_back(parse_gate(text, Gate::Side::kAtMost));

  auto model = load_model(worker, session);
  if (model.made.test == nullptr) {
    throw base::ConfigError(
        "the configuration of the run names no data.test (nothing to evaluate "
        "on); give one with data.test=FILE");
  }
  worker.position().enter(base::Phase::kEvaluation);
  const auto report = trainer::evaluate_in_detail(
      session.group(), model.made.model->parameters(), *model.made.objective, *model.made.test,
      {.batch =
           trainer::inference_batch(worker.loaded.config.evaluate.batch, model.made.test->info()),
       .top_k = top_k,
       .roc_auc = roc_auc_of(arguments.roc_auc)});
  nlohmann::ordered_json json{{"run", model.run},
                              {"step", model.step},
                              {"state_digest", model.state_digest},
                              {"data", model.made.test->name()}};
  json.update(trainer::to_json(report));
  const auto failed = failed_gates(json.at("metrics"), gates);
  comm::on_first_rank(session.world(), "report of the evaluation", [&] {
    const auto text = json.dump(2) + "\n";
    if (!arguments.output.empty()) files().write_atomically(arguments.output, text);
    const auto shown = arguments.json ? text : evaluation_text(json, worker.style);
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    std::fflush(stdout);
    for (const auto& line : failed) std::fprintf(stderr, "gate failed: %s\n", line.c_str());
    return std::string();
  });
  return failed.empty() ? ExitCode::kDone : ExitCode::kGate;
}

ExitCode predict(Worker& worker, WorkerSession& session, base::Log& log) {
  const auto& arguments = worker.arguments;
  require_output(worker, session);
  auto model = load_model(worker, session);
  worker.position().enter(base::Phase::kPrediction);
  auto& source = model.made.test != nullptr ? *model.made.test : *model.made.train;
  trainer::PredictionOptions options;
  options.output = arguments.output;
  if (arguments.probabilities) options.answer = trainer::Answer::kProbabilities;
  if (arguments.classes) options.classes = trainer::AnswerClasses::kYes;
  options.batch = trainer::inference_batch(worker.loaded.config.evaluate.batch, source.info());
  options.identity = comm::on_first_rank(session.world(), "identity of the predictions", [&] {
    return prediction_identity(worker, model, source);
  });
  options.stop_requests = [&] { return worker.stop->requests(); };
  options.tell = [&](const std::string& text) { log.info(text); };
  const auto outcome =
      trainer::predict(session.group(), model.made.model->parameters(), source, options);
  if (session.world().rank() == 0) {
    const auto count = [](std::int64_t rows) {
      return base::format_count(static_cast<std::uint64_t>(rows));
    };
    if (outcome.code == ExitCode::kStopped) {
      log.info("stopped on request with " + count(outcome.committed) + " of " +
               count(outcome.samples) + " rows saved; the same command goes on");
    } else {
      std::printf("%s predictions in %s\n", count(outcome.samples).c_str(),
                  arguments.output.c_str());
    }
  }
  return outcome.code;
}

ExitCode replay(Worker& worker, WorkerSession& session) {
  const auto& config = worker.loaded.config;
  const auto run = checkpoints::RunDirectory::open(files(), ".", worker.run_path);
  const auto report = trainer::replay({.config = config,
                                       .config_hash = configs::config_hash(config),
                                       .cache_directory = base::cache_directory(worker.environment),
                                       .run = run,
                                       .files = files(),
                                       .step = worker.arguments.step,
                                       .micro_batch = worker.arguments.micro_batch,
                                       .device = worker.device.get(),
                                       .anomaly = worker.arguments.anomaly},
                                      session.group(), worker.position());
  const auto text =
      worker.arguments.json ? trainer::to_json(report) : replay_text(report, worker.style);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return report.same() ? ExitCode::kDone : ExitCode::kGate;
}

}  // namespace lockstep::launcher
