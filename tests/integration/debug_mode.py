"""What is there to look for reasons: a trace of some steps, the operation that made a gradient that
is no number, a rank that waits for a debugger, and one process that computes what several would."""

import json
import re
import shutil
import signal
import subprocess

import h5py
import numpy as np

from lab import LOCKSTEP, Lab, check, check_contains, wait_for

CONFIG = """
model: {name: cnn}
data:  {train: train.h5}
train: {steps: 12, global_batch: 32, micro_batch: 8, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 5, every_epochs: 0}
launch: {ranks: 2}
"""
PATIENCE_SECONDS = 60


def make_data(lab):
    random = np.random.default_rng(1)
    x = random.standard_normal((320, 1, 28, 28), dtype=np.float32)
    for name in ("train.h5", "bad.h5"):
        with h5py.File(lab.path / name, "w") as file:
            file["x"] = x
            file["y"] = random.integers(0, 10, len(x))
        x[77] = 3e38


def spans(path):
    events = json.loads(path.read_text())["traceEvents"]
    return {event["name"] for event in events if event.get("ph") == "X"}


with Lab() as lab:
    make_data(lab)
    lab.write("exp.yaml", CONFIG)
    done = lab.lockstep("train", "exp.yaml", "--name", "calm")
    calm = lab.show("calm")["state_digest"]

    alone = lab.lockstep("train", "exp.yaml", "--local", "--name", "alone")
    check_contains(alone.stderr, "one process computes what launch.ranks 2 would",
                   "4 micro-batches of 8: 2 on each of ranks 0 to 1")
    check(lab.show("alone")["state_digest"] == calm, "--local has other bits")

    lab.lockstep("train", "exp.yaml", "--name", "traced", "--profile", "steps=3:4")
    check(lab.show("traced")["state_digest"] == calm, "a traced run has other bits")
    profiles = lab.path / "runs/traced/profiles"
    check(sorted(path.name for path in profiles.iterdir()) ==
          ["rank_00000.json", "rank_00001.json"], f"{list(profiles.iterdir())}")
    for path in profiles.iterdir():
        missing = {"forward", "backward", "exchange", "optimizer", "data"} - spans(path)
        check(not missing, f"{path.name} has no {missing}")
        check(any("conv" in name for name in spans(path)), f"{path.name} has no operation")
    late = lab.lockstep("train", "exp.yaml", "--name", "late", "--profile", "90:95")
    check_contains(late.stderr, "no step was traced")
    check_contains(lab.lockstep("train", "exp.yaml", "--profile", "5:3", code=2).stderr,
                   "end before they begin")
    check(not (lab.path / "runs/late/profiles").exists(), "an empty trace")

    # Looking for anomalies changes nothing, but where gradients need no autograd otherwise.
    watched = lab.lockstep("train", "exp.yaml", "--local", "--name", "watched", "--anomaly")
    check(lab.show("watched")["state_digest"] == calm, "--anomaly changes the bits")
    check_contains(watched.stderr, "--anomaly is slow")
    check(json.loads(lab.lockstep("replay", "calm", "--step", 7, "--anomaly", "--json").stdout)
          ["same"], "a replay with --anomaly has other bits")

    # Which operation, where, and how to go on looking.
    bad = lab.lockstep("train", "exp.yaml", "data.train=bad.h5", "--anomaly", "--name", "bad", code=5)
    check_contains(bad.stderr, "Backward", "returned nan values", "micro-batch")
    where = re.search(r"micro-batch (\d+) of step (\d+)", re.sub(r"[│\s]+", " ", bad.stderr))
    check(where, f"no place in\n{bad.stderr}")
    check(lab.show("bad")["restarts"] == 0, "a run that is debugged was started again")
    lab.lockstep("train", "exp.yaml", "data.train=bad.h5", "--name", "diverged", code=5)
    again = lab.lockstep("replay", "diverged", "--step", where[2], "--anomaly", code=5)
    check_contains(again.stderr, "returned nan values", f"micro-batch {where[1]} of step {where[2]}")
    blamed = json.loads(lab.lockstep("replay", "diverged", "--step", where[2], "--micro-batch",
                                     where[1], "--json").stdout)
    check(77 in blamed["samples"], f"it blames samples {blamed['samples']}")

    check_contains(lab.lockstep("train", "exp.yaml", "--gdb", 2, code=2).stderr, "ranks 0 to 1")
    waiting = lab.start(LOCKSTEP, "train", "exp.yaml", "--name", "waiting", "--gdb", 1)
    line = ""
    while "waits for a debugger" not in line:
        line = waiting.stdout.readline()
        check(line, "the rank does not say that it waits")
    pid = re.search(r"gdb -p (\d+)", line)[1]
    check("rank 1 " in line, f"another rank waits: {line}")
    if shutil.which("gdb"):
        subprocess.run(["gdb", "-p", pid, "-batch", "-ex", "continue"], capture_output=True,
                       stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS, check=False)
        waiting.communicate(timeout=PATIENCE_SECONDS)
        check(waiting.returncode == 0, f"with a debugger it exits {waiting.returncode}")
        check(lab.show("waiting")["state_digest"] == calm, "with a debugger it has other bits")
    else:
        waiting.send_signal(signal.SIGTERM)
        waiting.communicate(timeout=PATIENCE_SECONDS)
        check(waiting.returncode == 75, f"stopped while it waits, it exits {waiting.returncode}")

    refused = lab.lockstep("train", "exp.yaml", "compute.device=cpu", "--sanitize", code=2)
    check_contains(refused.stderr, "compute.device is cpu")
