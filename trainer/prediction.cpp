#include "trainer/prediction.hpp"

#include <optional>

#include "data/dataset_writer.hpp"
#include "data/evaluation_plan.hpp"
#include "trainer/inference.hpp"

namespace lockstep::trainer {
namespace {

/// Rank 0's end: takes the batches in order and writes their rows one after the other.
class PredictionFile {
 public:
  PredictionFile(const std::string& path, std::int64_t samples)
      : writer_(path), samples_(samples) {}

  void append(const std::string& bytes, std::int64_t rows, const std::vector<std::int64_t>& shape) {
    if (written_ == 0) {
      auto full = shape;
      full.insert(full.begin(), samples_);
      writer_.add_column("predictions", data::DType::kF32, full);
    }
    writer_.write_rows("predictions", written_, rows,
                       std::as_bytes(std::span(bytes.data(), bytes.size())));
    written_ += rows;
  }

  void commit() { writer_.commit(); }

 private:
  data::DatasetWriter writer_;
  std::int64_t samples_;
  std::int64_t written_ = 0;
};

}  // namespace

std::int64_t predict(RankGroup group, ParameterSpace& space, data::SampleSource& source,
                     std::int64_t batch_samples, const std::string& output) {
  const data::EvaluationPlan plan(source.info().samples, batch_samples);
  const int ranks = group.world.size();
  std::optional<PredictionFile> file;
  if (group.world.rank() == 0) file.emplace(output, source.info().samples);

  // Rounds of one batch a rank: rank order is sample order, and memory stays bounded.
  Inference inference(space, source);
  std::vector<std::int64_t> shape;
  for (std::int64_t first = 0; first < plan.batches(); first += ranks) {
    std::string mine;
    const auto index = first + group.world.rank();
    if (index < plan.batches()) {
      const auto outputs = inference.run(plan.samples_of(index)).outputs.contiguous();
      shape = outputs.sizes().slice(1).vec();
      mine.assign(static_cast<const char*>(outputs.data_ptr()), outputs.nbytes());
    }
    const auto texts = group.world.all_gather_texts(mine, "predictions");
    if (!file) continue;
    for (int rank = 0; rank < ranks && first + rank < plan.batches(); ++rank) {
      file->append(texts[static_cast<std::size_t>(rank)], plan.samples_of(first + rank).size(),
                   shape);
    }
  }
  if (file) file->commit();
  group.world.barrier("the finished file of predictions");
  return source.info().samples;
}

}  // namespace lockstep::trainer
