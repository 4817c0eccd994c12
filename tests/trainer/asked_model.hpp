#pragma once
// A model that answers what its inputs say, on ranks that are threads: for tests of evaluation and
// prediction that choose the outputs. One thread a rank.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/thread_communicator.hpp"
#include "data/dataset_writer.hpp"
#include "data/source.hpp"
#include "trainer/parameter_space.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::tests {

/// Outputs are its inputs times its one parameter, 1.
class EchoModel final : public trainer::Model {
 public:
  EchoModel() : scale_(register_parameter("scale", torch::ones({1}))) {}
  torch::Tensor forward(const torch::Tensor& inputs, const trainer::ForwardContext&) override {
    return inputs * scale_;
  }

 private:
  torch::Tensor scale_;
};

/// A dataset file with columns `x` [samples, width] f32 and `y`: [samples] i64 or [samples, width]
/// f32.
inline void write_classes(const std::string& path, const std::vector<float>& x,
                          const std::vector<std::int64_t>& y) {
  const auto samples = static_cast<std::int64_t>(y.size());
  data::DatasetWriter writer(path);
  writer.add_column("x", data::DType::kF32,
                    std::vector{samples, static_cast<std::int64_t>(x.size()) / samples});
  writer.add_column("y", data::DType::kI64, std::vector{samples});
  writer.write_rows("x", 0, samples, std::as_bytes(std::span(x)));
  writer.write_rows("y", 0, samples, std::as_bytes(std::span(y)));
  writer.commit();
}

inline void write_numbers(const std::string& path, std::int64_t samples,
                          const std::vector<float>& x, const std::vector<float>& y) {
  const std::vector shape{samples, static_cast<std::int64_t>(x.size()) / samples};
  data::DatasetWriter writer(path);
  for (const auto& [name, values] : {std::pair("x", &x), std::pair("y", &y)}) {
    writer.add_column(name, data::DType::kF32, shape);
    writer.write_rows(name, 0, samples, std::as_bytes(std::span(*values)));
  }
  writer.commit();
}

/// Runs `body` on every rank with an EchoModel of its own. `source` is opened by each rank.
inline void ask_on_ranks(int ranks, const data::SourceOptions& source,
                         const std::function<void(trainer::RankGroup, trainer::ParameterSpace&,
                                                  data::SampleSource&)>& body) {
  comm::run_on_threads(ranks, [&](comm::Communicator& world) {
    const auto topology = comm::discover_topology(world, comm::this_host(), 0);
    const auto node = world.split(topology.node, topology.local_rank, "node");
    auto model = std::make_shared<EchoModel>();
    auto layout = trainer::layout_of(*model);
    std::vector<float> flat(static_cast<std::size_t>(layout.flat_count()));
    trainer::ParameterSpace space(model, layout, {flat.data(), nullptr},
                                  trainer::InitialValues::kCopyFromModel);
    data::SampleSource samples(source);
    body({world, *node, topology}, space, samples);
  });
}

}  // namespace lockstep::tests
