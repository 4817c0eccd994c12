"""A step of a run is computed once more, on one process, with the bits that the ledger has: a plain
one, one whose update was dropped, and the one that diverged and ended the run, which the ledger does
not have."""

import json

import h5py
import numpy as np

from lab import Lab, check, check_contains

CONFIG = """
model: {name: mlp, hidden: [64, 64]}
data:  {train: train.h5}
train: {steps: 60, global_batch: 64, micro_batch: 16, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 10, every_epochs: 0, keep: 2}
"""


def make_data(lab):
    """One sample is beyond what the loss can be of."""
    random = np.random.default_rng(1)
    x = random.standard_normal((2000, 32), dtype=np.float32)
    with h5py.File(lab.path / "train.h5", "w") as file:
        file["x"] = x
        file["y"] = random.integers(0, 10, len(x))
    x[777] = 3e38
    with h5py.File(lab.path / "bad.h5", "w") as file:
        file["x"] = x
        file["y"] = random.integers(0, 10, len(x))


def replay(lab, run, step, *options, **more):
    return json.loads(lab.lockstep("replay", run, "--step", step, "--json", *options, **more).stdout)


def diverged_steps(lab, run):
    return [event for event in lab.lines(run, "events.jsonl") if event["event"] == "divergence"]


with Lab() as lab:
    make_data(lab)
    lab.write("exp.yaml", CONFIG)

    lab.lockstep("train", "exp.yaml", "--ranks", 3, "--name", "calm")
    # Checkpoints of steps 50 and 60 are left.
    for step, begins_at in ((7, 0), (55, 50), (60, 50)):
        report = replay(lab, "calm", step)
        check(report["same"] and report["from_step"] == begins_at, f"step {step}: {report}")
        check(len(report["steps"]) == step - begins_at, f"step {step}: {len(report['steps'])} steps")
        check(len(report["samples"]) == 64, f"step {step}: {len(report['samples'])} samples")
    check(replay(lab, "calm", 60)["state_digest"] == lab.show("calm")["state_digest"],
          "the last step leaves another state")
    losses = []
    for micro_batch in range(4):
        part = replay(lab, "calm", 55, "--micro-batch", micro_batch)
        losses.append(part["micro_batch_loss"])
        check(part["samples"] == replay(lab, "calm", 55)["samples"][16 * micro_batch:][:16],
              f"micro-batch {micro_batch} has samples {part['samples']}")
    loss = lab.steps("calm")[54]["loss"]
    check(abs(sum(losses) / 4 - loss) < 1e-6 * abs(loss), f"{losses} do not make {loss}")
    check_contains(lab.lockstep("replay", "calm", "--step", 61, code=2).stderr, "steps 1 to 60")
    check_contains(lab.lockstep("replay", "calm", "--step", 1, "--micro-batch", 4, code=2).stderr,
                   "counted from 0 to 3")

    # Policy stop: the ledger ends before the step that diverged.
    lab.lockstep("train", "exp.yaml", "data.train=bad.h5", "--ranks", 2, "--name", "stopped", code=5)
    event = diverged_steps(lab, "stopped")[0]
    step = event["step"]
    check(len(lab.steps("stopped")) == step - 1, "the ledger has the step that diverged")
    report = replay(lab, "stopped", step)
    check(report["same"] and report["samples"] == event["samples"], f"diverged step: {report}")
    check(777 in report["samples"] and report["steps"][-1]["loss"] is None, "it is another step")
    guilty = [m for m in range(4)
              if replay(lab, "stopped", step, "--micro-batch", m)["micro_batch_loss"] is None]
    check(guilty == [report["samples"].index(777) // 16], f"micro-batches {guilty} are blamed")
    check_contains(lab.lockstep("replay", "stopped", "--step", step).stdout, "same")
    # What memory held when the run was given up is a checkpoint now.
    check(lab.show("stopped")["checkpoints"][-1]["step"] == step - 1, "the step before is not saved")
    lab.lockstep("verify", "stopped")
    check(report["from_step"] == step - 1, f"replayed from {report['from_step']}")

    lab.lockstep("train", "exp.yaml", "data.train=bad.h5", "train.divergence.policy=skip", "--ranks",
                 2, "--name", "skipped")
    step = diverged_steps(lab, "skipped")[0]["step"]
    report = replay(lab, "skipped", step + 1)
    check(report["same"] and report["steps"][-2]["skipped"], f"dropped update: {report}")

    # A changed number in the ledger is found, and not compared with.
    ledger = lab.path / "runs/calm/ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"lr":0.001', '"lr":0.002', 1))
    check_contains(lab.lockstep("replay", "calm", "--step", 7, code=6).stderr, "ledger", "verify")
