"""Ranks that die at every phase are replaced while the user looks on: the run goes on by itself,
says what happened, and ends with the bits of an undisturbed run."""

import os
import signal

from lab import LOCKSTEP, Lab, check, check_contains

CONFIG = """
model: {name: mlp, hidden: [64, 64]}
data:  {train: train.h5, test: train.h5}
train: {steps: 60, global_batch: 64, micro_batch: 16, optimizer: {name: adamw, lr: 1e-3}}
evaluate: {every_steps: 20}
checkpoint: {every_steps: 10, every_epochs: 0, keep: 2}
compute: {device: cpu}
"""

FAULTS = {
    "start": "kill rank=1 phase=start",
    "step": "kill rank=1 phase=step step=33",
    "first rank": "kill rank=0 phase=step step=33",
    "within a step": "kill rank=1 phase=step step=33 delay_us=300",
    "before a checkpoint": "kill rank=1 phase=step step=4",
    "save": "kill rank=0 phase=save",
    "evaluation": "kill rank=1 phase=evaluation step=40",
    "end": "kill rank=0 phase=end step=60",
    "crash": "segfault rank=1 phase=step step=33",
    "twice": "kill rank=1 phase=step step=33; kill rank=0 phase=step step=47 attempt=1",
    "while restarting": "kill rank=1 phase=step step=33; kill rank=0 phase=restore attempt=1",
}


with Lab() as lab:
    lab.lockstep("data", "synth", "classification", "--rows", 2000, "--features", 16,
                 "--classes", 10, "--output", "train.h5")
    lab.write("exp.yaml", CONFIG)
    lab.lockstep("train", "exp.yaml", "--local", "--name", "calm")
    calm = lab.show("calm")

    for name, fault in FAULTS.items():
        run = name.replace(" ", "-")
        done = lab.lockstep("train", "exp.yaml", "--ranks", 2, "--name", run,
                            environment={"LOCKSTEP_FAULT": fault})
        record = lab.show(run)
        check(record["state_digest"] == calm["state_digest"], f"{name}: other bits")
        check(record["metrics"] == calm["metrics"], f"{name}: other metrics")
        check(record["status"] == "done", f"{name}: {record['status']}")
        times = fault.count(";") + 1
        check(record["restarts"] == times, f"{name}: {record['restarts']} restarts")
        check_contains(done.stderr, "killed by signal", f"restart {times} of 3")
        steps = [line["step"] for line in lab.steps(run)]
        check(steps == list(range(1, 61)), f"{name}: a step was repeated or skipped")
        if name != "start":
            sources = [event["from"] for event in lab.lines(run, "events.jsonl")
                       if event["event"] == "resume"]
            check(set(sources) == {"memory"}, f"{name}: went on from {sources}")
        lab.lockstep("verify", run)

    lab.lockstep("train", "exp.yaml", "--local", "--name", "alone",
                 environment={"LOCKSTEP_FAULT": "kill phase=step step=33"})
    check(lab.show("alone")["state_digest"] == calm["state_digest"], "alone: other bits")

    # Two pretend nodes have a copy of the parameters each; a bit that flips in one of them is found
    # in the same step, and what went on from the damaged memory would not be taken for whole.
    done = lab.lockstep("train", "exp.yaml", "launch.ranks_per_node=1", "--ranks", 2, "--name",
                        "corrupted", "log.compare_nodes_every_steps=1",
                        environment={"LOCKSTEP_FAULT": "corrupt rank=1 phase=step step=33"})
    check_contains(done.stderr, "parameters in step 34", "restart 1 of 3")
    record = lab.show("corrupted")
    check(record["state_digest"] == calm["state_digest"], "corrupted: other bits")
    lab.lockstep("verify", "corrupted")

    # Ranks that wait for each other in different calls are told apart from slow ones.
    done = lab.lockstep("train", "exp.yaml", "launch.hang_seconds=2", "--ranks", 2, "--name",
                        "mismatched",
                        environment={"LOCKSTEP_FAULT": "mismatch rank=1 phase=step step=33"})
    check_contains(done.stderr, "all ranks waited for each other", "rank 0 in node barrier",
                   "rank 1 in barrier", "a call that a drill makes", "restart 1 of 3")
    check(lab.show("mismatched")["state_digest"] == calm["state_digest"], "mismatched: other bits")

    # A rank that dies whenever it gets somewhere is not started for ever.
    lab.lockstep("train", "exp.yaml", "--ranks", 2, "--name", "hopeless", code=8,
                 environment={"LOCKSTEP_FAULT": "kill rank=1 phase=step step=33 attempt=-1"})
    record = lab.show("hopeless")
    check(record["status"] == "failed" and record["exit_code"] == 8, f"hopeless: {record}")
    # What memory held goes to the disk before it is let go.
    check(record["checkpoints"][-1]["step"] == 33, f"hopeless: saved {record['checkpoints']}")
    lab.lockstep("resume", "hopeless", "--ranks", 2)
    check(lab.show("hopeless")["state_digest"] == calm["state_digest"], "hopeless: other bits")
