"""Kill -9 at random instants of saving, one rank or all, with and without torn files: the newest
complete checkpoint loads, its digest is that of an undisturbed run, and the run that goes on from it
ends with the undisturbed run's bits.

Usage: kill_while_saving.py [INSTANTS [SEED]]"""

import datetime
import json
import os
import random
import shutil
import signal
import sys
import time

from lab import WORKER, Lab, check, worker_pids

# A checkpoint of 4 MB is under way nearly all the time.
CONFIG = """
model: {name: mlp, hidden: [512, 512]}
data:  {train: train.h5}
train: {steps: 300, global_batch: 64, micro_batch: 16, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 1, keep: 2}
launch: {deadline_seconds: 60}
"""
RANKS = 2
STEPS = 300
PATIENCE_SECONDS = 60


def workers_of(run):
    return worker_pids(lambda words, _: f"run.name={run}" in words)


def is_saving(checkpoints):
    return checkpoints.exists() and any(
        entry.name.endswith(".partial") for entry in checkpoints.iterdir())


def has_checkpoint(checkpoints):
    return checkpoints.exists() and any(
        entry.name.startswith("step-") for entry in checkpoints.iterdir())


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def kill_at_random(lab, run, seconds, chance):
    """Starts the run and kills it `seconds` at most after its first save began or, half of the time,
    ended. Whether that was within a save."""
    where = chance.choice(["true", "false"])
    # Where steps can be skipped the last state is kept, and saves hold it instead of copying it.
    policy = chance.choice(["stop", "skip"])
    process = lab.start("mpirun", "-n", RANKS, WORKER, "train", "exp.yaml", f"run.name={run}",
                        f"checkpoint.background={where}", f"train.divergence.policy={policy}")
    checkpoints = lab.path / "runs" / run / "checkpoints"
    end = time.monotonic() + PATIENCE_SECONDS
    begun = chance.choice([is_saving, has_checkpoint])
    while not begun(checkpoints) and process.poll() is None:
        check(time.monotonic() < end, f"waited {PATIENCE_SECONDS} s for the first save")
        time.sleep(0.001)
    pids = workers_of(run)
    time.sleep(chance.random() * seconds)
    saving = is_saving(checkpoints)
    kill(pids if chance.random() < 0.5 else [chance.choice(pids)] if pids else [])
    process.communicate(timeout=PATIENCE_SECONDS)
    while workers_of(run):
        check(time.monotonic() < end, "a worker outlived its run")
        time.sleep(0.01)
    return saving and process.returncode != 0


def tear(folder, chance):
    """What a power cut may leave of what was not synced: files of the save under way cut short,
    with holes or noise, and half a line in each file that grows."""
    torn = 0
    for entry in (folder / "checkpoints").glob(".step-*.partial/*"):
        size = entry.stat().st_size
        with entry.open("r+b") as file:
            if size and chance.random() < 0.7:
                file.seek(chance.randrange(size))
                file.write(chance.choice([bytes(65536), chance.randbytes(65536)]))
            file.truncate(chance.choice([0, size, chance.randrange(size + 1)]))
        torn += 1
    for name in ("ledger.jsonl", "metrics.jsonl", "events.jsonl"):
        with (folder / name).open("ab") as file:
            file.write(b'{"step":99,"ha')
    return torn


def newest_complete(lab, run):
    complete = [c for c in lab.show(run)["checkpoints"] if c["valid"]]
    return complete[-1] if complete else None


def events_of(folder):
    """Without lines that were torn."""
    events = []
    for line in (folder / "events.jsonl").read_text().splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def main(instants, seed):
    chance = random.Random(seed)
    with Lab() as lab:
        lab.lockstep("data", "synth", "classification", "--rows", 1000, "--features", 64,
                     "--classes", 10, "--output", "train.h5")
        lab.write("exp.yaml", CONFIG)
        lab.lockstep("train", "exp.yaml", "--local", "--name", "calm", "log.digest_every_steps=1",
                     "checkpoint.every_steps=0")
        calm = {}
        for line in lab.lines("calm", "ledger.jsonl"):
            step = line.get("digest_of_step", line.get("step"))
            if "state_digest" in line:
                calm[step] = line["state_digest"]
        check(sorted(calm) == list(range(1, STEPS + 1)), "the calm run has no digest of each step")

        lab.mpirun(RANKS, "train", "exp.yaml", "run.name=whole")
        check(lab.show("whole")["state_digest"] == calm[STEPS], "2 ranks have other bits")
        times = [datetime.datetime.fromisoformat(line["time"].rstrip("Z"))
                 for line in lab.lines("whole", "metrics.jsonl")]
        seconds = (times[-1] - times[0]).total_seconds()

        done = tries = torn = none = 0
        steps = set()
        while done < instants:
            tries += 1
            check(tries <= 4 * instants + 20, "too few of the instants were within a save")
            run = f"kill-{tries}"
            if not kill_at_random(lab, run, seconds, chance):
                continue
            done += 1
            folder = lab.path / "runs" / run
            if chance.random() < 0.5:
                torn += tear(folder, chance) > 0
            newest = newest_complete(lab, run)
            if newest is None:
                none += 1
            else:
                check(newest["state_digest"] == calm[newest["step"]],
                      f"{run}: step {newest['step']} has other bits")
                steps.add(newest["step"])
            resumed = lab.mpirun(chance.choice([1, 2, 3]), "resume", folder,
                                 "checkpoint.every_steps=100")
            starts = [event["step"] for event in events_of(folder) if event["event"] == "resume"]
            check(newest is None or starts == [newest["step"]],
                  f"{run} went on from {starts}, not from {newest}:\n{resumed.stderr}")
            check(lab.show(run)["state_digest"] == calm[STEPS], f"{run} ends with other bits")
            lab.lockstep("verify", run)
            numbers = [line["step"] for line in lab.steps(run)]
            check(numbers == list(range(1, STEPS + 1)), f"{run}: a step was repeated or skipped")
            shutil.rmtree(folder)
            if done % 20 == 0:
                print(f"{done} of {instants} ({tries} tries), all right", flush=True)
        print(f"{done} of {done} kills within a save ({tries} tries): the newest complete "
              f"checkpoint was right, of {len(steps)} different steps, {none} times there was none "
              f"yet; {torn} times files of the save were torn")


main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
