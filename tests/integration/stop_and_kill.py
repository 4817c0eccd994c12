"""A run that is asked to stop saves and exits 75; one whose rank is killed fails with a verdict
and leaves no process. Both go on from their checkpoint, on another number of ranks, and end with
the bits of an undisturbed run."""

import json
import os
import pathlib
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


def segments_of(pid):
    """Where a rank's MPI puts what it shares."""
    variables = pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")
    return pathlib.Path(next(line.split("=", 1)[1] for line in variables
                             if line.startswith("OMPI_MCA_btl_vader_backing_directory=")))


def parent_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


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


    # Killed whole, a run cannot say so itself.
    gone = lab.start(LOCKSTEP, "train", "exp.yaml", "--ranks", 2, "--name", "gone")
    wait_for(lambda: lab.ledger_lines("gone") > 5, "the first steps", PATIENCE_SECONDS)
    ranks = workers_of(lab, "gone")
    check(lab.show("gone")["status"] == "running", "it does not run")
    guard = parent_of(parent_of(ranks[0]))
    os.kill(guard, signal.SIGSTOP)  # it would ask the ranks to save
    for pid in (gone.pid, *ranks, guard):
        os.kill(pid, signal.SIGKILL)
    gone.communicate(timeout=PATIENCE_SECONDS)
    record = lab.path / "runs/gone/run.json"
    check(json.loads(record.read_text())["status"] == "running", "somebody told its end")
    record.write_text(record.read_text().replace('"started": "20', '"started": "19'))
    wait_for(lambda: lab.show("gone")["status"] == "failed", "word of a run without processes", 10)
    lab.lockstep("resume", "gone", "--ranks", 2)
    check(lab.show("gone")["state_digest"] == calm, "a run killed whole ends with other bits")

    # Open MPI's segments stayed in /dev/shm once when mpirun was killed.
    lost = lab.start(LOCKSTEP, "train", "exp.yaml", "--ranks", 2, "--name", "lost-mpirun",
                     "launch.restarts=0")
    wait_for(lambda: lab.ledger_lines("lost-mpirun") > 5, "the first steps", PATIENCE_SECONDS)
    rank = workers_of(lab, "lost-mpirun")[0]
    scratch = segments_of(rank)
    check(list(scratch.rglob("*segment*")), f"no segments in {scratch}")
    os.kill(parent_of(rank), signal.SIGKILL)
    output, _ = lost.communicate(timeout=PATIENCE_SECONDS)
    check_contains(output, "mpirun killed by")
    check(not scratch.exists(), f"a killed mpirun leaves {scratch}")

    # Whoever reads what a run prints may leave; once that killed the rank, again and again.
    unread = lab.start(LOCKSTEP, "train", "exp.yaml", "--local", "--name", "unread",
                       "log.progress_seconds=0.05")
    unread.stdout.readline()
    unread.stdout.close()
    check(unread.wait(timeout=PATIENCE_SECONDS) == 0, f"unread, it exits {unread.returncode}")
    check(lab.show("unread")["restarts"] == 0, "a rank died because nobody read")

    # Twice means now.
    urged = lab.start(LOCKSTEP, "train", "exp.yaml", "--ranks", 2, "--name", "urged",
                      environment={"LOCKSTEP_FAULT": "slow rank=1 phase=step milliseconds=5000"})
    wait_for(lambda: len(workers_of(lab, "urged")) == 2 and lab.show("urged")["world_size"] == 2,
             "the first step", PATIENCE_SECONDS)
    urged.send_signal(signal.SIGINT)
    time.sleep(0.3)
    urged.send_signal(signal.SIGINT)
    asked = time.monotonic()
    urged.communicate(timeout=PATIENCE_SECONDS)
    check(urged.returncode == 130, f"a second stop exits {urged.returncode}")
    check(time.monotonic() - asked < 1.5, f"a second stop takes {time.monotonic() - asked} s")
    check(not workers_of(lab, "urged"), "a worker outlived the second stop")

    # One that comes when all is saved and told changes nothing: it ended the command by its signal.
    late = lab.start(LOCKSTEP, "train", "exp.yaml", "--local", "--name", "late")
    wait_for(lambda: lab.ledger_lines("late") > 5, "the first steps", PATIENCE_SECONDS)
    late.send_signal(signal.SIGTERM)
    wait_for(lambda: any(event["event"] == "end" for event in lab.lines("late", "events.jsonl")),
             "the end of the ranks", PATIENCE_SECONDS)
    while late.poll() is None:
        late.send_signal(signal.SIGTERM)
        time.sleep(0.0005)
    check(late.returncode == 75, f"a stop after the save exits {late.returncode}")

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
