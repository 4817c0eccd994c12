"""The promise, with real processes: one configuration on 1, 2, 3, 4 and more ranks, started by
`lockstep train`, by mpirun and without MPI, and resumed half-way on another number of ranks, ends
with one state_digest.

Usage: same_bits.py mlp|cnn|resnet18|resnet50|gpt|augmented|shifted|packed"""

import shutil
import sys

from lab import Lab, check

# Small widths, real shapes: what is tested is the order of sums, not the size of the sums.
CONFIGS = {
    "mlp": ("""
model: {name: mlp, hidden: [64, 48]}
data:  {train: train.h5, test: test.h5}
train: {steps: 6, global_batch: 64, micro_batch: 8, clip_norm: 0.5,
        optimizer: {name: adamw, lr: 1e-3, weight_decay: 0.01}, schedule: {name: cosine, warmup_steps: 2}}
checkpoint: {every_steps: 2, keep: 10}
evaluate: {every_steps: 3}
""", ["classification", "--features", 30, "--classes", 7], [2, 3, 4, 8]),
    "cnn": ("""
model: {name: cnn, channels: [8, 16], hidden: 32}
data:  {train: train.h5, test: test.h5}
train: {steps: 4, global_batch: 48, micro_batch: 8, label_smoothing: 0.1,
        optimizer: {name: sgd, lr: 0.05, momentum: 0.9}}
checkpoint: {every_steps: 2, keep: 10}
""", ["classification", "--shape", "1,28,28", "--classes", 10], [2, 3, 4]),
    "resnet18": ("""
model: {name: resnet18, channels: [8, 8, 16, 16]}
data:  {train: train.h5, test: test.h5}
train: {steps: 4, global_batch: 20, micro_batch: 4, clip_norm: 1.0, optimizer: {name: adam, lr: 1e-3}}
checkpoint: {every_steps: 2, keep: 10}
""", ["classification", "--shape", "3,32,32", "--classes", 10], [2, 3, 4]),
    "resnet50": ("""
model: {name: resnet50, channels: [4, 4, 8, 8]}
data:  {train: train.h5, test: test.h5}
train: {steps: 4, global_batch: 20, micro_batch: 4, optimizer: {name: sgd, lr: 0.05, momentum: 0.9}}
checkpoint: {every_steps: 2, keep: 10}
""", ["classification", "--shape", "3,64,48", "--classes", 10], [2, 3, 4]),
    "gpt": ("""
model: {name: gpt, layers: 2, width: 32, heads: 2, context: 16, dropout: 0.1}
data:  {train: train.h5, test: test.h5}
train: {steps: 4, global_batch: 24, micro_batch: 4, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 2, keep: 10}
""", ["tokens"], [2, 3, 4]),
    # Five steps an epoch: the resume is in the middle of one, and another one follows.
    "augmented": ("""
model: {name: cnn, channels: [8], hidden: 16}
data:  {train: train.h5, test: test.h5, one_hot: true,
        augment: {flip: 0.5, vertical_flip: 0.5, crop_padding: 3, padding: reflect, cutout: 4, noise: 0.1}}
train: {steps: 8, global_batch: 60, micro_batch: 12, optimizer: {name: sgd, lr: 0.05, momentum: 0.9}}
checkpoint: {every_steps: 2, keep: 10}
""", ["classification", "--shape", "1,16,16", "--classes", 10], [2, 3, 4]),
    # Three steps an epoch.
    "shifted": ("""
model: {name: gpt, layers: 1, width: 16, heads: 2, context: 16, dropout: 0.1}
data:  {train: train.h5, test: test.h5, token_windows: shifted}
train: {steps: 5, global_batch: 96, micro_batch: 16, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 2, keep: 10}
""", ["tokens"], [2, 3, 4]),
    # Compressed shards mixed by weights, and a cache that holds a part of them.
    "packed": ("""
model: {name: mlp, hidden: [32]}
data:  {train: [train.h5, "shard-?.h5"], weights: [1, 2, 1], test: test.h5, order: block, window_blocks: 3,
        cache_bytes: 30000}
train: {steps: 20, global_batch: 64, micro_batch: 8, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 2, keep: 20}
""", ["classification", "--features", 30, "--classes", 7, "--chunk-rows", 16, "--deflate", 4],
               [2, 3, 4]),
}

# Overrides that turn off what the configuration is about, so that the result must be another one.
WITHOUT = {"augmented": ["~data.augment"], "shifted": ["data.token_windows=fixed"],
           "packed": ["data.order=exact"]}

# Where the samples lie changes nothing: overrides under which the result must be the same.
ALIKE = {"packed": [["data.cache_bytes=0"], ["data.cache_bytes=100000000"],
                    ["data.block_samples=16"]]}


def main(model):
    config, synth, rank_counts = CONFIGS[model]
    with Lab() as lab:
        rows = 6000 if synth == ["tokens"] else 300
        lab.lockstep("data", "synth", *synth, "--rows", rows, "--seed", 1, "--output", "train.h5")
        lab.lockstep("data", "synth", *synth, "--rows", rows // 3, "--seed", 2, "--output", "test.h5")
        if model == "packed":
            for shard in (1, 2):
                lab.lockstep("data", "synth", *synth, "--rows", 100 + 30 * shard, "--seed", 2 + shard,
                             "--output", f"shard-{shard}.h5")
        lab.write("exp.yaml", config)

        lab.lockstep("train", "exp.yaml", "--local", "--name", "local")
        alone = lab.show("local")
        check(alone["status"] == "done", f"status is {alone['status']}")
        check(len(alone["state_digest"]) == 64, "no digest")

        if model in WITHOUT:
            lab.lockstep("train", "exp.yaml", "--local", "--name", "without", *WITHOUT[model])
            check(lab.show("without")["state_digest"] != alone["state_digest"],
                  f"{WITHOUT[model]} changes nothing")

        for number, overrides in enumerate(ALIKE.get(model, [])):
            lab.lockstep("train", "exp.yaml", "--ranks", 2, "--name", f"alike-{number}", *overrides)
            check(lab.show(f"alike-{number}")["state_digest"] == alone["state_digest"],
                  f"{overrides} changes the result")

        def check_same(run, ranks):
            record = lab.show(run)
            check(record["world_size"] == ranks, f"{run} ran on {record['world_size']} ranks")
            for field in ("state_digest", "metrics", "step", "epoch", "config_hash"):
                check(record[field] == alone[field],
                      f"{run}: {field} is {record[field]}, alone it is {alone[field]}")
            lab.lockstep("verify", run)
            losses = [line["loss_bits"] for line in lab.steps(run)]
            check(losses == [line["loss_bits"] for line in lab.steps("local")],
                  f"{run}: losses differ")

        # Metrics after every 0 steps once divided by zero.
        lab.lockstep("train", "exp.yaml", "--ranks", 1, "--name", "one",
                     "log.metrics_every_steps=0")
        check_same("one", 1)
        check(all(line["type"] == "evaluation" for line in lab.lines("one", "metrics.jsonl")),
              "steps are among the metrics")
        for ranks in rank_counts:
            lab.lockstep("train", "exp.yaml", "--ranks", ranks, "--name", f"ranks-{ranks}")
            check_same(f"ranks-{ranks}", ranks)
        lab.mpirun(3, "train", "exp.yaml", "run.name=by-mpirun")
        check_same("by-mpirun", 3)
        lab.lockstep("train", "exp.yaml", "--ranks", 4, "--name", "two-nodes",
                     "launch.ranks_per_node=2")
        check_same("two-nodes", 4)

        # More ranks than micro-batches are refused for training only: `evaluate` and `predict` share
        # out rows. They once read --ranks as training's and stopped with a configuration error.
        metrics = lab.lockstep("evaluate", "local", "--ranks", 1).stdout
        check(lab.lockstep("evaluate", "local", "--ranks", 9).stdout == metrics, "metrics differ")
        for ranks in (1, 9):
            lab.lockstep("predict", "local", "--ranks", ranks, "--output", f"p{ranks}.h5")
        check((lab.path / "p1.h5").read_bytes() == (lab.path / "p9.h5").read_bytes(),
              "predictions differ")

        # Back to the checkpoint of step 2, then on with another number of ranks.
        checkpoints = lab.path / "runs" / "ranks-3" / "checkpoints"
        for entry in sorted(checkpoints.iterdir()):
            if entry.name != "step-00000002":
                shutil.rmtree(entry)
        lab.lockstep("resume", "ranks-3", "--ranks", 2)
        check_same("ranks-3", 2)

        # A run that was trained without MPI goes on with it.
        shutil.rmtree(lab.path / "runs" / "one")
        shutil.copytree(lab.path / "runs" / "local", lab.path / "runs" / "one")
        for entry in sorted((lab.path / "runs" / "one" / "checkpoints").iterdir()):
            if entry.name != "step-00000002":
                shutil.rmtree(entry)
        lab.lockstep("resume", "one", "--ranks", 2)
        check_same("one", 2)


main(sys.argv[1])
