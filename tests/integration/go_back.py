"""A run that goes back to a checkpoint when a step diverges has the same result on any number of
ranks, whatever else happens to it: a rank killed while a checkpoint is under way, a stop and a resume
in between. Once it depended on how far a save in the background had come."""

import h5py
import numpy as np

from lab import Lab, check, check_contains

# Each save takes longer than the steps between two of them.
CONFIG = """
model: {name: mlp, hidden: [1024, 512]}
data:  {train: train.h5}
train: {steps: 90, global_batch: 64, micro_batch: 16, optimizer: {name: adamw, lr: 1e-3},
        divergence: {policy: rollback}}
checkpoint: {every_steps: 10, every_epochs: 0, keep: 1, best: none}
"""

DISTURBED = {
    "killed in a step": "kill rank=1 phase=step step=13",
    "killed before it diverges": "kill rank=0 phase=step step=32",
    "killed after it": "kill rank=1 phase=step step=57; kill rank=0 phase=step step=84 attempt=1",
}


def make_data(lab):
    """One sample is beyond what the loss can be of."""
    random = np.random.default_rng(1)
    x = random.standard_normal((1000, 64), dtype=np.float32)
    x[777] = 3e38
    with h5py.File(lab.path / "train.h5", "w") as file:
        file["x"] = x
        file["y"] = random.integers(0, 10, 1000)


def rollbacks(lab, run):
    return [(event["step"], event["back_to"]) for event in lab.lines(run, "events.jsonl")
            if event["event"] == "divergence"]


with Lab() as lab:
    make_data(lab)
    lab.write("exp.yaml", CONFIG)
    lab.lockstep("train", "exp.yaml", "--local", "--name", "calm",
                 "checkpoint.background=false")
    calm, back = lab.show("calm"), rollbacks(lab, "calm")
    check(len(back) >= 2 and all(to == (step - 1) // 10 * 10 for step, to in back),
          f"it went back as {back}")
    check_contains(lab.lockstep("verify", "calm").stdout, f"updates of {len(back)} dropped")

    def check_same(run, what):
        check(lab.show(run)["state_digest"] == calm["state_digest"],
              f"{what}: other bits, {rollbacks(lab, run)} and not {back}")
        lab.lockstep("verify", run)

    for ranks in (1, 2, 3):
        lab.mpirun(ranks, "train", "exp.yaml", f"run.name=on-{ranks}")
        check_same(f"on-{ranks}", f"{ranks} ranks")
    for name, fault in DISTURBED.items():
        run = name.replace(" ", "-")
        lab.lockstep("train", "exp.yaml", "--ranks", 2, "--name", run,
                     environment={"LOCKSTEP_FAULT": fault})
        check(lab.show(run)["restarts"] == fault.count(";") + 1, f"{name}: not restarted")
        check_same(run, name)

    # Nothing to go back to: it stops, with the step's numbers, and keeps what was good.
    lab.lockstep("train", "exp.yaml", "--ranks", 2, "--name", "nowhere",
                 "checkpoint.every_steps=1000", code=5)
    event = next(event for event in lab.lines("nowhere", "events.jsonl")
                 if event["event"] == "divergence")
    check(event["action"] == "stop" and 777 in event["samples"], f"without a checkpoint: {event}")
    check([c["step"] for c in lab.show("nowhere")["checkpoints"]] == [event["step"] - 1],
          "the state before it is lost")
    lab.lockstep("replay", "nowhere", "--step", event["step"])

    # Between the update that diverged and what is done about it, and between that and the ledger.
    for policy in ("rollback", "skip"):
        lab.lockstep("train", "exp.yaml", "--local", "--name", f"{policy}-calm",
                     f"train.divergence.policy={policy}")
        first, second = [event["step"] for event in lab.lines(f"{policy}-calm", "events.jsonl")
                         if event["event"] == "divergence"][:2]
        run = f"{policy}-killed"
        lab.lockstep("train", "exp.yaml", "--ranks", 2, "--name", run,
                     f"train.divergence.policy={policy}", "checkpoint.background=false",
                     environment={"LOCKSTEP_FAULT":
                                  f"kill rank=1 phase=divergence step={first - 1}; "
                                  f"kill rank=0 phase=divergence step={second} attempt=1"})
        record = lab.show(run)
        check(record["restarts"] == 2, f"{run}: {record['restarts']} restarts")
        check(record["state_digest"] == lab.show(f"{policy}-calm")["state_digest"],
              f"{run}: other bits")
        sources = [event["from"] for event in lab.lines(run, "events.jsonl")
                   if event["event"] == "resume"]
        check(sources == ["memory", "memory"], f"{run}: went on from {sources}")
        check([line.get("skipped") for line in lab.steps(run)] ==
              [line.get("skipped") for line in lab.steps(f"{policy}-calm")],
              f"{run}: the ledger has dropped other updates")
        lab.lockstep("verify", run)

    # A ledger that ends before the newest checkpoint: an older one is gone on from.
    lab.mpirun(2, "train", "exp.yaml", "run.name=cut", "checkpoint.keep=9")
    ledger = lab.path / "runs/cut/ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(lines[:len(lines) // 2]))
    done = lab.lockstep("resume", "cut", "--ranks", 2)
    check_contains(done.stderr + done.stdout, "passed over", "the ledger is whole up to step")
    check_same("cut", "a ledger cut short")
