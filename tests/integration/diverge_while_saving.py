"""A step diverges while a checkpoint is being written: the checkpoint is brought to its end first, so
that a run that stops loses less, and a run that goes back finds one that no save removes under its
feet."""

from lab import Lab, check, check_contains

CONFIG = """
model: {name: mlp, hidden: [512, 512]}
data:  {train: train.h5}
train: {steps: 40, global_batch: 64, micro_batch: 16, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 1, every_epochs: 0, keep: 1, best: none}
"""
FAULT = {"LOCKSTEP_FAULT": "nan rank=0 phase=step step=25"}

with Lab() as lab:
    lab.lockstep("data", "synth", "classification", "--rows", 1000, "--features", 64,
                 "--classes", 10, "--output", "train.h5")
    lab.write("exp.yaml", CONFIG)

    stopped = lab.mpirun(2, "train", "exp.yaml", "run.name=stopped", code=5, environment=FAULT)
    check_contains(stopped.stderr, "training diverged")
    checkpoints = lab.show("stopped")["checkpoints"]
    check(len(checkpoints) == 1 and checkpoints[0]["valid"] and 1 <= checkpoints[0]["step"] <= 25,
          f"a diverged run left {checkpoints}")
    lab.lockstep("verify", "stopped")

    lab.mpirun(2, "train", "exp.yaml", "run.name=back", "train.divergence.policy=rollback",
               environment=FAULT)
    record = lab.show("back")
    check(record["status"] == "done" and record["step"] == 40, f"it ended as {record['status']}")
    check([c["step"] for c in record["checkpoints"]] == [40], f"{record['checkpoints']}")
    lab.lockstep("verify", "back")
