"""A run that is asked to stop saves and exits 75; one whose rank is killed fails with a verdict
and leaves no process. Both go on from their checkpoint, on another number of ranks, and end with
the bits of an undisturbed run."""

import os
import signal
import time

from lab import LOCKSTEP, Lab, check, check_contains, processes_with, wait_for, worker_pids

CONFIG = """
model: {name: mlp, hidden: [256, 256]}
data:  {train: train.h5}
train: {steps: 400, global_batch: 256, micro_batch: 32, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 20, keep: 2}
"""
PATIENCE_SECONDS = 60


def workers_of(lab, run):
    names = {str(lab.path / "runs" / run), f"runs/{run}"}
    return worker_pids(lambda words, _: not names.isdisjoint(words))


with Lab() as lab:
    lab.lockstep("data", "synth", "classification", "--rows", 4000, "--features", 64,
                 "--classes", 10, "--output", "train.h5")
    lab.write("exp.yaml", CONFIG)
    lab.lockstep("train", "exp.yaml", "--local", "--name", "calm")
    calm = lab.show("calm")["state_digest"]

    stopped = lab.start(LOCKSTEP, "train", "exp.yaml", "--ranks", 2, "--name", "stopped")
    wait_for(lambda: lab.ledger_lines("stopped") > 5, "the first steps", PATIENCE_SECONDS)
    stopped.send_signal(signal.SIGTERM)
    output, _ = stopped.communicate(timeout=PATIENCE_SECONDS)
    check(stopped.returncode == 75, f"a stop exits {stopped.returncode}:\n{output}")
    record = lab.show("stopped")
    check(record["status"] == "stopped" and 5 < record["step"] < 400, f"stopped as {record}")
    check(record["checkpoints"][-1]["step"] == record["step"], "the state was not saved")
    lab.lockstep("resume", "stopped", "--ranks", 3)
    check(lab.show("stopped")["state_digest"] == calm, "a stopped run ends with other bits")
    lab.lockstep("verify", "stopped")

    killed = lab.start(LOCKSTEP, "train", "exp.yaml", "launch.restarts=0", "--ranks", 3, "--name",
                       "killed")
    wait_for(lambda: lab.ledger_lines("killed") > 45, "a checkpoint", PATIENCE_SECONDS)
    os.kill(workers_of(lab, "killed")[-1], signal.SIGKILL)
    output, _ = killed.communicate(timeout=PATIENCE_SECONDS)
    check(killed.returncode not in (0, 75), f"a killed rank exits {killed.returncode}")
    check_contains(output, "rank", "kill")
    check(not workers_of(lab, "killed"), "a worker outlived its run")
    check(lab.show("killed")["status"] == "failed", "the record does not say that it failed")
    lab.lockstep("resume", "killed", "--ranks", 2)
    check(lab.show("killed")["state_digest"] == calm, "a killed run ends with other bits")
    lab.lockstep("verify", "killed")
    steps = [line["step"] for line in lab.steps("killed")]
    check(steps == list(range(1, 401)), "a step was repeated or skipped")

    orphaned = lab.start(LOCKSTEP, "train", "exp.yaml", "--ranks", 2, "--name", "orphaned")
    wait_for(lambda: lab.ledger_lines("orphaned") > 5, "the first steps", PATIENCE_SECONDS)
    orphaned.kill()
    orphaned.communicate(timeout=PATIENCE_SECONDS)
    wait_for(lambda: not workers_of(lab, "orphaned"), "the workers of a killed supervisor to end",
             PATIENCE_SECONDS)

    # A stop while the ranks are being started once ended them, with what memory held of the run.
    for pause in (0.02, 0.1, 0.3):
        early = lab.start(LOCKSTEP, "train", "exp.yaml", "--ranks", 2, "--name", f"early-{pause}")
        time.sleep(pause)
        early.send_signal(signal.SIGTERM)
        output, _ = early.communicate(timeout=PATIENCE_SECONDS)
        # Before it listens at all the command is ended as any other.
        allowed = (75,) if pause > 0.1 else (75, -signal.SIGTERM)
        check(early.returncode in allowed, f"after {pause} s it exits {early.returncode}:\n{output}")
    lab.lockstep("resume", "early-0.3", "--ranks", 1)
    check(lab.show("early-0.3")["state_digest"] == calm, "a run stopped early has other bits")

    # Whoever is refused a run that is being written leaves no word in it: once that run took the
    # words for its own, and was not restarted any more.
    busy = lab.start(LOCKSTEP, "train", "exp.yaml", "train.steps=2000", "--ranks", 2, "--name",
                     "busy")
    wait_for(lambda: lab.ledger_lines("busy") > 5, "the first steps", PATIENCE_SECONDS)
    check_contains(lab.lockstep("resume", "busy", code=4).stderr, "is being written by process")
    refused = lab.mpirun(2, "resume", "busy", code=4)
    check_contains(refused.stderr, "is being written by process")
    check(not [event for event in lab.lines("busy", "events.jsonl")
               if event["event"] == "failure"], "a refused launch wrote into the run")
    os.kill(workers_of(lab, "busy")[-1], signal.SIGKILL)
    wait_for(lambda: any(event["event"] == "restart"
                         for event in lab.lines("busy", "events.jsonl")),
             "the restart after a killed rank", PATIENCE_SECONDS)
    busy.send_signal(signal.SIGTERM)
    busy.communicate(timeout=PATIENCE_SECONDS)
    check(busy.returncode == 75, f"a restarted run that is stopped exits {busy.returncode}")
