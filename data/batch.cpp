#include "data/batch.hpp"

namespace lockstep::data {

const char* name_of(TaskKind kind) {
  switch (kind) {
    case TaskKind::kClassification: return "classification";
    case TaskKind::kRegression: return "regression";
    case TaskKind::kTokens: return "tokens";
  }
  return "unknown";
}

}  // namespace lockstep::data
