#include <array>

#include "launcher/commands/command.hpp"

namespace lockstep::launcher {
namespace {

constexpr char kTraining[] = "Training";
constexpr char kData[] = "Data";
constexpr char kRuns[] = "Runs";
constexpr char kHelp[] = "Help";

constexpr std::array kTable{
    CommandEntry{"train", kTraining, "CONFIG [key=value ...]", "train a model", make_train},
    CommandEntry{"plan", kTraining, "CONFIG [key=value ...]", "say what 'train' would do",
                 make_plan},
    CommandEntry{"resume", kTraining, "RUN", "go on from the newest good checkpoint", make_resume},
    CommandEntry{"evaluate", kTraining, "RUN|CHECKPOINT", "compute exact metrics", make_evaluate},
    CommandEntry{"replay", kTraining, "RUN --step S", "compute a step again, bit for bit",
                 make_replay},
    CommandEntry{"predict", kTraining, "RUN|CHECKPOINT --output F.h5", "write ordered predictions",
                 make_predict},
    CommandEntry{"data import csv", kData, "FILE --output F.h5",
                 "make a dataset of a CSV file, plain or .gz", make_data_import_csv},
    CommandEntry{"data import idx", kData, "IMAGES LABELS --output F.h5",
                 "make a dataset of IDX files (MNIST and its kin)", make_data_import_idx},
    CommandEntry{"data import images", kData, "FOLDER --output F.h5",
                 "make a dataset of PNG and JPEG images", make_data_import_images},
    CommandEntry{"data import npy", kData, "X.npy [Y.npy] --output F.h5",
                 "make a dataset of NumPy arrays", make_data_import_npy},
    CommandEntry{"data import npz", kData, "F.npz --output F.h5",
                 "make a dataset of a NumPy archive", make_data_import_npz},
    CommandEntry{"data import parquet", kData, "FILE --output F.h5",
                 "make a dataset of a Parquet file", make_data_import_parquet},
    CommandEntry{"data import text", kData, "FILE ... --output F.h5",
                 "make tokens of text files, one a byte", make_data_import_text},
    CommandEntry{"data inspect", kData, "F.h5", "say what is in a dataset", make_data_inspect},
    CommandEntry{"data stats", kData, "F.h5", "compute statistics of a dataset's columns",
                 make_data_stats},
    CommandEntry{"data diff", kData, "A.h5 B.h5",
                 "compare schemas and distributions of two datasets", make_data_diff},
    CommandEntry{"data split", kData, "F.h5 --parts NAME=FRACTION,...",
                 "cut a dataset into parts for training and tests", make_data_split},
    CommandEntry{"data repack", kData, "F.h5 --output G.h5", "rewrite a dataset for faster reading",
                 make_data_repack},
    CommandEntry{"data verify", kData, "F.h5", "check that a dataset is whole", make_data_verify},
    CommandEntry{"data synth", kData, "KIND --rows N --output F.h5", "make a synthetic dataset",
                 make_data_synth},
    CommandEntry{"runs", kRuns, "", "list the runs", make_runs},
    CommandEntry{"show", kRuns, "RUN", "say how a run stands", make_show},
    CommandEntry{"verify", kRuns, "RUN", "check a run's ledger and checkpoints", make_verify},
    CommandEntry{"config show", kHelp, "CONFIG [key=value ...]", "print the resolved configuration",
                 make_config_show},
    CommandEntry{"config explain", kHelp, "CONFIG KEY", "say where a value comes from",
                 make_config_explain},
    CommandEntry{"config reference", kHelp, "", "print every knob", make_config_reference},
    CommandEntry{"config schema", kHelp, "", "print the JSON Schema for editors",
                 make_config_schema},
    CommandEntry{"explain", kHelp, "CODE", "say what an exit code means", make_explain},
    CommandEntry{"env", kHelp, "", "print versions and what was found, for bug reports", make_env},
    CommandEntry{"bench comm", kHelp, "", "measure sums over ranks, beside MPI's", make_bench_comm},
    CommandEntry{"doctor", kHelp, "", "check this machine", make_doctor},
    CommandEntry{"drill", kHelp, "[NAME ...]",
                 "break runs here on purpose and see that they recover", make_drill},
    CommandEntry{"version", kHelp, "", "print the version", make_version},
};

}  // namespace

std::span<const CommandEntry> command_table() { return kTable; }

}  // namespace lockstep::launcher
