#include "trainer/prediction.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "base/text.hpp"
#include "comm/agreement.hpp"
#include "data/dataset_writer.hpp"
#include "data/evaluation_plan.hpp"
#include "trainer/class_counts.hpp"
#include "trainer/inference.hpp"
#include "trainer/prediction_stage.hpp"

namespace lockstep::trainer {
namespace {

/// A round of batches is to take about as long: ranks meet rarely, and a stop is answered soon.
constexpr std::chrono::milliseconds kShortRound{50}, kLongRound{200};

std::int64_t product(std::span<const std::int64_t> lengths) {
  return std::accumulate(lengths.begin(), lengths.end(), std::int64_t{1}, std::multiplies<>());
}

void softmax(float* values, std::int64_t count) {
  const double largest = *std::max_element(values, values + count);
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += std::exp(values[i] - largest);
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>(std::exp(values[i] - largest) / sum);
  }
}

/// The file itself, made in one go when all rows are known. Rank 0.
class PredictionFile {
 public:
  PredictionFile(const PredictionOptions& options, std::vector<std::int64_t> shape)
      : options_(options), writer_(options.output), width_(shape.back()) {
    const bool raw = options.answer == Answer::kOutputs;
    column_ = raw ? "predictions" : "probabilities";
    writer_.add_column(column_, data::DType::kF32, shape);
    row_floats_ = product(std::span(shape).subspan(1));
    if (options.classes == AnswerClasses::kNo) return;
    shape.pop_back();
    writer_.add_column("classes", data::DType::kI64, shape);
  }

  /// `rows` holds whole rows of outputs; their memory is used.
  void write(std::int64_t begin, std::span<std::byte> rows) {
    auto* values = reinterpret_cast<float*>(rows.data());
    const auto count = static_cast<std::int64_t>(rows.size() / sizeof(float));
    if (options_.classes == AnswerClasses::kYes) {
      std::vector<std::int64_t> classes;
      for (std::int64_t i = 0; i < count; i += width_) {
        classes.push_back(largest_class(values + i, width_));
      }
      writer_.write_rows("classes", begin, count / row_floats_, std::as_bytes(std::span(classes)));
    }
    if (options_.answer == Answer::kProbabilities) {
      for (std::int64_t i = 0; i < count; i += width_) softmax(values + i, width_);
    }
    writer_.write_rows(column_, begin, count / row_floats_, rows);
  }

  void commit() { writer_.commit(); }

 private:
  const PredictionOptions& options_;
  data::DatasetWriter writer_;
  std::int64_t width_;  // of the last axis
  std::string column_;
  std::int64_t row_floats_ = 1;
};

class Prediction {
 public:
  Prediction(RankGroup group, ParameterSpace& space, data::SampleSource& source,
             const PredictionOptions& options)
      : world_(group.world),
        options_(options),
        samples_(source.info().samples),
        plan_(samples_, options.batch),
        inference_(space, source),
        // One sample tells what a row is.
        shape_(inference_.run({0, 1}).outputs.sizes().vec()),
        row_floats_(product(std::span(shape_).subspan(1))) {
    shape_[0] = samples_;
  }

  PredictionOutcome operator()() {
    open_stage();
    for (auto batch = (committed_ + options_.batch - 1) / options_.batch;
         batch < plan_.batches();) {
      batch = run_round(batch);
      const bool last = batch == plan_.batches();
      comm::together(world_, "writing of predictions", [&] {
        if (stage_ && (last || stop_requests_ > 0 || commit_due())) commit();
      });
      if (stop_requests_ > 1) {
        throw base::Error(base::ExitCode::kTerminated,
                          "stopped at once (a second request came); the same command goes on from "
                          "the rows that are there");
      }
      if (stop_requests_ > 0 && !last) return outcome(base::ExitCode::kStopped);
    }
    write_file();
    return outcome(base::ExitCode::kDone);
  }

 private:
  void open_stage() {
    const auto found = comm::on_first_rank(world_, "rows of an earlier prediction", [&] {
      // What is wrong with the output's name is found before the work, not after it.
      data::remove_unfinished(options_.output);
      const data::DatasetWriter probe(options_.output);
      nlohmann::ordered_json identity{{"lockstep_predictions", 1},
                                      {"identity", options_.identity},
                                      {"batch", options_.batch},
                                      {"shape", shape_}};
      stage_.emplace(base::FileSystem::posix(), StagedRows{.output = options_.output,
                                                           .identity = identity.dump(),
                                                           .rows = samples_,
                                                           .unit = options_.batch,
                                                           .row_bytes = row_bytes()});
      return std::to_string(stage_->ranges());
    });
    // A range at a time: no rank may wait for all of a large stage to be read.
    const auto ranges = std::stoull(found);
    std::size_t good = 0;
    while (good < ranges && comm::on_first_rank(world_, "check of earlier predictions", [&] {
                              return std::string(stage_->read(good) ? "right" : "damaged");
                            }) == "right") {
      ++good;
    }
    const auto kept = comm::on_first_rank(world_, "start of the predictions", [&] {
      stage_->keep(good);
      if (!stage_->dropped().empty()) {
        options_.tell("what an earlier prediction left beside " + base::quote(options_.output) +
                      " is not used (" + stage_->dropped() + ")");
      }
      if (stage_->committed() > 0) {
        options_.tell("going on after the first " + rows_text(stage_->committed()));
      }
      last_commit_ = options_.clock.now();
      return std::to_string(stage_->committed());
    });
    committed_ = std::stoll(kept);
  }

  /// This rank's batches of the round that begins with batch `first`, their way to rank 0, and what
  /// all ranks must know of each other. Returns the batch after the round.
  std::int64_t run_round(std::int64_t first) {
    const auto begin = options_.clock.now();
    const int ranks = world_.size();
    const auto left = plan_.batches() - first;
    const auto share = std::min(batches_a_rank_, (left + ranks - 1) / ranks);
    const auto batches_of = [&](int rank) {
      return data::Range{first + std::min(left, share * rank),
                         first + std::min(left, share * (rank + 1))};
    };
    const auto rows_of = [&](int rank) {
      const auto batches = batches_of(rank);
      if (batches.size() == 0) return std::int64_t{0};
      return plan_.samples_of(batches.end - 1).end - plan_.samples_of(batches.begin).begin;
    };

    std::vector<std::byte> mine;
    const auto batches = batches_of(world_.rank());
    for (auto index = batches.begin; index < batches.end; ++index) {
      const auto outputs = inference_.run(plan_.samples_of(index)).outputs.contiguous();
      const auto* bytes = static_cast<const std::byte*>(outputs.const_data_ptr());
      mine.insert(mine.end(), bytes, bytes + outputs.nbytes());
    }
    const auto busy = options_.clock.now() - begin;

    std::vector<comm::Send> sends;
    std::vector<comm::Receive> receives;
    std::vector<std::byte> others;
    if (world_.rank() != 0) {
      if (!mine.empty()) sends.push_back({0, mine});
    } else {
      std::size_t bytes = 0;
      for (int rank = 1; rank < ranks; ++rank) {
        bytes += static_cast<std::size_t>(rows_of(rank)) * row_bytes();
      }
      others.resize(bytes);
      auto rest = std::span(others);
      for (int rank = 1; rank < ranks && !rest.empty(); ++rank) {
        const auto part = static_cast<std::size_t>(rows_of(rank)) * row_bytes();
        receives.push_back({rank, rest.first(part)});
        rest = rest.subspan(part);
        if (part == 0) receives.pop_back();
      }
    }
    if (!sends.empty() || !receives.empty()) world_.exchange(sends, receives, "predictions");
    if (stage_) {
      stage_->append(mine);
      stage_->append(others);
    }

    std::array<std::int64_t, 2> agreed{options_.stop_requests(), busy.count()};
    world_.all_reduce(std::span(agreed), comm::ReduceOp::kMax, "stop requests");
    stop_requests_ = agreed[0];
    const auto longest = std::chrono::nanoseconds(agreed[1]);
    const auto batch_bytes = static_cast<std::size_t>(options_.batch) * row_bytes();
    const auto most = static_cast<std::int64_t>(std::max<std::size_t>(
        options_.commit_bytes / batch_bytes / static_cast<std::size_t>(ranks), 1));
    if (longest < kShortRound) batches_a_rank_ = std::min(batches_a_rank_ * 2, most);
    if (longest > kLongRound) batches_a_rank_ = std::max<std::int64_t>(batches_a_rank_ / 2, 1);
    return std::min(first + share * ranks, plan_.batches());
  }

  bool commit_due() const {
    return stage_->pending_bytes() >= options_.commit_bytes ||
           options_.clock.now() - last_commit_ >= options_.commit_period;
  }

  void commit() {
    stage_->commit();
    last_commit_ = options_.clock.now();
  }

  void write_file() {
    std::optional<PredictionFile> file;
    const auto ranges = comm::on_first_rank(world_, "output file", [&] {
      file.emplace(options_, shape_);
      return std::to_string(stage_->ranges());
    });
    for (std::size_t range = 0; range < std::stoull(ranges); ++range) {
      comm::together(world_, "rows of the output file", [&] {
        if (!stage_) return;
        auto rows = stage_->read(range);
        if (!rows) {
          throw base::IoError("rows from " + std::to_string(stage_->begin_of(range)) + " on of " +
                                  base::quote(options_.output) +
                                  " were damaged on the disk before they were put together (they "
                                  "are not what was written); run the same command again",
                              EIO);
        }
        file->write(stage_->begin_of(range), *rows);
      });
    }
    comm::together(world_, "end of the output file", [&] {
      if (!stage_) return;
      file->commit();
      stage_->remove();
    });
  }

  PredictionOutcome outcome(base::ExitCode code) {
    const auto committed = comm::on_first_rank(world_, "rows that are there",
                                               [&] { return std::to_string(stage_->committed()); });
    return {.code = code, .samples = samples_, .committed = std::stoll(committed)};
  }

  std::size_t row_bytes() const { return static_cast<std::size_t>(row_floats_) * sizeof(float); }
  std::string rows_text(std::int64_t rows) const {
    return base::format_count(static_cast<std::uint64_t>(rows)) + " of " +
           base::format_count(static_cast<std::uint64_t>(samples_)) +
           " rows, which an earlier prediction left";
  }

  comm::Communicator& world_;
  const PredictionOptions& options_;
  std::int64_t samples_;
  data::EvaluationPlan plan_;
  Inference inference_;
  std::vector<std::int64_t> shape_;  // [samples, ...]
  std::int64_t row_floats_;
  std::optional<PredictionStage> stage_;  // on rank 0
  std::int64_t committed_ = 0;            // by an earlier command
  std::int64_t batches_a_rank_ = 1;
  std::int64_t stop_requests_ = 0;
  std::chrono::nanoseconds last_commit_{0};
};

}  // namespace

PredictionOutcome predict(RankGroup group, ParameterSpace& space, data::SampleSource& source,
                          const PredictionOptions& options) {
  const bool of_classes =
      options.answer == Answer::kProbabilities || options.classes == AnswerClasses::kYes;
  if (of_classes && source.info().kind == data::TaskKind::kRegression) {
    throw base::ConfigError(
        "probabilities and classes of a regression cannot be written (its outputs are numbers); "
        "leave --probabilities and --classes out");
  }
  return Prediction(group, space, source, options)();
}

}  // namespace lockstep::trainer
