"""A prediction that is killed or stopped half-way goes on from its committed rows, on another
number of ranks, and its file has the bytes of an undisturbed one; rows of another model, or damaged
ones, are never used."""

import os
import signal
import time

from lab import LOCKSTEP, Lab, check, check_contains, worker_pids

CONFIG = """
model: {name: mlp, hidden: [1024, 1024]}
data:  {train: train.h5, test: test.h5}
train: {steps: 2, global_batch: 64, micro_batch: 32, seed: SEED}
"""
ROWS = 60000
# One sample a forward pass: slow without being large.
SLOW = "evaluate.batch=1"
PATIENCE_SECONDS = 60


def wait_for(condition, what, process):
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        check(process.poll() is None, f"it ended before {what}")
        check(time.monotonic() < end, f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(0.01)


def ranges(lab, name):
    journal = lab.path / f".{name}.journal"
    return max(0, journal.read_text().count("\n") - 1) if journal.exists() else 0


def workers_of(lab):
    return worker_pids(lambda _, pid: os.readlink(f"/proc/{pid}/cwd") == str(lab.path))


def begun(lab, name, *options, committed=1):
    """A prediction that has committed some ranges and is still at it."""
    process = lab.start(LOCKSTEP, "predict", "r", SLOW, "--output", name, *options)
    wait_for(lambda: ranges(lab, name) >= committed, "a committed range", process)
    check(not (lab.path / name).exists(), "the output is there before it is complete")
    return process


def finish(lab, name, *options):
    done = lab.lockstep("predict", "r", SLOW, "--output", name, *options)
    check((lab.path / name).read_bytes() == calm, f"{name} has other bytes")
    left = [entry.name for entry in lab.path.iterdir() if entry.name.startswith(f".{name}")]
    check(not left, f"it left {left}")
    return done


with Lab() as lab:
    for name, rows in (("train", 256), ("test", ROWS)):
        lab.lockstep("data", "synth", "classification", "--rows", rows, "--features", 8,
                     "--classes", 3, "--output", f"{name}.h5")
    for run, seed in (("r", "1"), ("other", "2")):
        lab.write(f"{run}.yaml", CONFIG.replace("SEED", seed))
        lab.lockstep("train", f"{run}.yaml", "--local", "--name", run)
    lab.lockstep("predict", "r", SLOW, "--output", "calm.h5", "--ranks", 3)
    calm = (lab.path / "calm.h5").read_bytes()

    # One rank is killed.
    process = begun(lab, "rank.h5", "--ranks", 2)
    os.kill(workers_of(lab)[-1], signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    check(process.returncode not in (0, 75), f"a killed rank exits {process.returncode}")
    check(not (lab.path / "rank.h5").exists(), "a killed prediction left an output")
    check_contains(finish(lab, "rank.h5", "--ranks", 3).stderr, "going on after the first")

    # Everything is killed, twice.
    for ranks in (1, 2):
        process = begun(lab, "all.h5", "--ranks", ranks, committed=ranges(lab, "all.h5") + 1)
        pids = workers_of(lab)
        process.kill()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # its guard was quicker
        process.communicate(timeout=PATIENCE_SECONDS)
        end = time.monotonic() + PATIENCE_SECONDS
        while workers_of(lab):
            check(time.monotonic() < end, "workers outlived their prediction")
            time.sleep(0.02)
    check_contains(finish(lab, "all.h5", "--local").stderr, "going on after the first")

    # A stop on request, by lockstep and by the worker itself.
    process = begun(lab, "stop.h5", "--ranks", 2)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    check(process.returncode == 75, f"a stop exits {process.returncode}:\n{output}")
    check_contains(output, "rows saved; the same command goes on")
    check(not (lab.path / "stop.h5").exists(), "a stopped prediction left an output")
    finish(lab, "stop.h5")

    # What is not right is not used: other rows, damaged ones, a damaged journal.
    process = begun(lab, "wrong.h5", "--ranks", 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_SECONDS)
    kept = {ending: (lab.path / f".wrong.h5.{ending}").read_bytes()
            for ending in ("partial", "journal")}

    def put_back(damage=None, place=0):
        for ending, content in kept.items():
            changed = bytearray(content)
            if ending == damage:
                changed[place] ^= 0x10
            (lab.path / f".wrong.h5.{ending}").write_bytes(bytes(changed))

    put_back()
    other = lab.lockstep("predict", "other", SLOW, "--output", "wrong.h5", "--local")
    check_contains(other.stderr, "is not used", "another model")
    check((lab.path / "wrong.h5").read_bytes() != calm, "another model's outputs are the same")
    put_back("partial", 40)
    check_contains(finish(lab, "wrong.h5", "--ranks", 2).stderr, "is not used",
                   "damaged from row 0 on")
    put_back("journal", -20)
    check_contains(finish(lab, "wrong.h5", "--local").stderr, "is not used", "damaged")
