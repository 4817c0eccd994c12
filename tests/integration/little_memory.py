"""Where memory is short: blocks of a gpt computed again instead of kept, and the largest micro-batch
that there is room for, found by trying."""

import re

import h5py
import numpy as np

from lab import LOCKSTEP, Lab, check, check_contains

GPT = """
model: {name: gpt, layers: 3, width: 32, heads: 2, context: 32, dropout: 0.1, tie_embeddings: true}
data:  {train: tokens.h5}
train: {steps: 6, global_batch: 12, micro_batch: 2, clip_norm: 1.0}
checkpoint: {every_epochs: 0}
"""

# A sample's activations take about 70 MB, its arithmetic next to nothing.
WIDE = """
model: {name: cnn, channels: [256, 1], hidden: [8]}
data:  {train: images.h5}
train: {steps: 2, global_batch: 128, optimizer: {name: sgd, lr: 1e-3}}
checkpoint: {every_epochs: 0}
"""
LIMIT_BYTES = 5 << 30


def run_in_little_memory(lab, *words, code=0):
    """As Lab.lockstep, for processes that may have LIMIT_BYTES each."""
    return lab.run("prlimit", f"--as={LIMIT_BYTES}", LOCKSTEP, *words, code=code)


with Lab() as lab:
    random = np.random.default_rng(3)
    with h5py.File(lab.path / "tokens.h5", "w") as file:
        file["tokens"] = random.integers(0, 60, 4000).astype(np.uint16)
    with h5py.File(lab.path / "images.h5", "w") as file:
        file["x"] = random.standard_normal((128, 1, 128, 128), dtype=np.float32)
        file["y"] = random.integers(0, 10, 128)
    lab.write("gpt.yaml", GPT)
    lab.write("wide.yaml", WIDE)

    lab.lockstep("train", "gpt.yaml", "--name", "whole")
    whole = lab.show("whole")["state_digest"]
    for ranks in (1, 3):
        name = f"again-{ranks}"
        lab.lockstep("train", "gpt.yaml", "--name", name, "--ranks", ranks,
                     "compute.activation_checkpointing=true")
        check(lab.show(name)["state_digest"] == whole, f"{name} has other bits")

    # Without being asked nothing is split: the run says what to do.
    lacking = run_in_little_memory(lab, "train", "wide.yaml", "train.micro_batch=128",
                                   "launch.restarts=0", "--name", "lacking", code=4)
    check_contains(lacking.stderr, "memory ran out", "train.micro_batch", "--find-micro-batch")

    found = run_in_little_memory(lab, "train", "wide.yaml", "--find-micro-batch", "--name", "found")
    check_contains(found.stderr, "no room", "there is room", "part of what the")
    size = int(re.search(r"training with train\.micro_batch=(\d+)", found.stderr).group(1))
    check(1 < size < 128 and 128 % size == 0, f"micro-batches of {size}")
    config = (lab.path / "runs/found/config.yaml").read_text()
    check(re.search(rf"micro_batch: {size}\b", config), f"the run does not record {size}:\n{config}")
    lab.lockstep("train", "wide.yaml", f"train.micro_batch={size}", "--name", "given")
    check(lab.show("given")["state_digest"] == lab.show("found")["state_digest"],
          "the size that was found gives other bits than the same size given")

    nothing = lab.run("prlimit", f"--as={400 << 20}", LOCKSTEP, "train", "wide.yaml",
                      "--find-micro-batch", code=4)
    check_contains(nothing.stderr, "no room for micro-batches of one sample")
    planned = lab.lockstep("train", "wide.yaml", "--find-micro-batch", "--dry-run")
    check_contains(planned.stderr, "nothing is tried")

    hopeless = run_in_little_memory(lab, "train", "nowhere.yaml", "--find-micro-batch", code=2)
    check_contains(hopeless.stderr, "nowhere.yaml")
