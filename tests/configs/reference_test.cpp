#include "configs/reference.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "configs/knob_table.hpp"
#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

std::string error_of(const std::string& key) {
  try {
    explain(read_text(kSmall), key);
  } catch (const base::ConfigError& error) {
    return error.what();
  }
  return "none";
}

TEST(Explain, SaysTheValueWhereItCameFromAndWhatItDoes) {
  EXPECT_EQ(explain(read_text(kSmall), "train.micro_batch"),
            "train.micro_batch = 2\n"
            "  from            exp.yaml:4:50\n"
            "  effect          samples of one forward and backward, a divisor of global_batch; 0 = "
            "one micro-batch a rank, which gives up the promise\n"
            "  type            whole number [samples]\n"
            "  allowed         0 to 1,000,000,000 samples\n"
            "  default         0\n"
            "  changes result  yes, and part of the configuration hash\n");
}

TEST(Explain, TakesAUniqueEndOfAName) {
  const auto full = explain(read_text(kSmall), "train.optimizer.lr");

  EXPECT_EQ(explain(read_text(kSmall), "lr"), full);
  EXPECT_EQ(explain(read_text(kSmall), "train.lr"), full);
  EXPECT_EQ(explain(read_text(kSmall), "optimizer.lr"), full);
}

TEST(Explain, ShowsAllKnobsOfASection) {
  const auto text = explain(read_text(kSmall), "compute");

  EXPECT_NE(text.find("compute.threads = 1\n"), std::string::npos);
  EXPECT_NE(text.find("\ncompute.device = auto\n"), std::string::npos);
}

TEST(Explain, SaysWhenAValueFollowsFromAnother) {
  const auto text = explain(read_small({"~train.micro_batch"}), "reduction");

  EXPECT_NE(text.find("from            derived: without train.micro_batch"), std::string::npos);
}

TEST(Explain, NamesWhatWasMeant) {
  EXPECT_EQ(error_of("train.epoch"),
            "key 'train.epoch' is unknown (no knob or section ends like it); "
            "did you mean 'train.epochs'?");
  EXPECT_EQ(error_of("every_steps"),
            "key 'every_steps' is ambiguous (it is short for evaluate.every_steps, "
            "checkpoint.every_steps); write one of them");
  EXPECT_EQ(error_of("qqqqqq"),
            "key 'qqqqqq' is unknown (no knob or section ends like it); "
            "'lockstep config reference' lists all keys");
  EXPECT_NE(error_of(""), "none");
}

TEST(Reference, HasARowForEveryKnob) {
  RunConfig config;

  const auto text = reference_markdown();

  EXPECT_NE(text.find("## train.optimizer\n"), std::string::npos);
  EXPECT_NE(text.find("| `lr` | number | `0.001` | above 0 | learning rate before the schedule | "
                      "yes |\n"),
            std::string::npos);
  for (const auto& row : knob_table(config).knobs) {
    EXPECT_NE(text.find("| `" + split_name(row.name).second + "` | "), std::string::npos)
        << row.name;
  }
}

TEST(KnobTable, DescribesEachKnobInOneLine) {
  RunConfig config;

  for (const auto& row : knob_table(config).knobs) {
    EXPECT_FALSE(row.knob.effect.empty()) << row.name;
    EXPECT_EQ(row.knob.effect.find('\n'), std::string::npos) << row.name;
    EXPECT_NE(row.knob.effect.back(), '.') << row.name;
  }
}

TEST(KnobTable, AllowsItsOwnDefaults) {
  // global_batch has no default: it is required.
  EXPECT_NO_THROW(read_text(kSmall));
  RunConfig config;
  std::vector<std::string> overrides;
  for (const auto& row : knob_table(config).knobs) {
    if (row.name != "train.global_batch" && row.name != "train.epochs" &&
        row.name != "train.micro_batch" && row.name != "data.train") {
      overrides.push_back(row.name + "=" + value_text(row.field));
    }
  }

  EXPECT_EQ(read_small(overrides).config, read_text(kSmall).config);
}

TEST(JsonSchema, DescribesEveryKnobAndNothingElse) {
  RunConfig config;

  const auto schema = nlohmann::json::parse(json_schema());

  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  for (const auto& row : knob_table(config).knobs) {
    const auto* section = &schema;
    for (auto rest = row.name; !rest.empty();) {
      const auto dot = rest.find('.');
      section = &section->at("properties").at(rest.substr(0, dot));
      rest = dot == std::string::npos ? "" : rest.substr(dot + 1);
    }
    EXPECT_TRUE(section->contains("description")) << row.name;
    EXPECT_TRUE(section->contains("default")) << row.name;
  }
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(schema["properties"]["train"]["additionalProperties"], false);
}

TEST(JsonSchema, CarriesBoundsAndWords) {
  const auto schema = nlohmann::json::parse(json_schema());

  const auto& train = schema["properties"]["train"]["properties"];
  EXPECT_EQ(train["reduction"]["anyOf"][0]["enum"], nlohmann::json::array({"invariant", "fast"}));
  EXPECT_EQ(train["optimizer"]["properties"]["lr"]["anyOf"][0]["exclusiveMinimum"], 0);
  EXPECT_EQ(train["micro_batch"]["anyOf"][0]["type"], "integer");
  EXPECT_EQ(schema["properties"]["model"]["properties"]["hidden"]["anyOf"][0]["anyOf"][1]["type"],
            "array");
}

}  // namespace
}  // namespace lockstep::configs
