"""Disturbs runs at random, again and again until the time is over: kill -9 of ranks and of the
supervisor, frozen ranks, stops that are resumed on other numbers of ranks. Each must end with the
state of an undisturbed run, every step once in its ledger."""

import argparse
import os
import random
import signal
import time

from lab import LOCKSTEP, Lab, check, worker_pids

STEPS = 150
MOST_RANKS = 4
PATIENCE_SECONDS = 180
# Steps of a few milliseconds, so that a run lasts long enough to be disturbed.
PACE = "slow rank=0 phase=step milliseconds=8 attempt=-1"
CONFIG = f"""
model: {{name: mlp, hidden: [128, 128]}}
data:  {{train: train.h5, test: train.h5}}
train: {{steps: {STEPS}, global_batch: 64, micro_batch: 8, optimizer: {{name: adamw, lr: 1e-3}}}}
evaluate: {{every_steps: 50}}
checkpoint: {{every_steps: 15, every_epochs: 0, keep: 2}}
launch: {{deadline_seconds: 20, hang_seconds: 3, restarts: 20}}
"""
KINDS = ["kill a rank", "kill all ranks", "kill the supervisor", "freeze a rank", "stop", "stop now"]
# Freezes cost their seconds of silence, so they are rarer.
WEIGHTS = [6, 2, 2, 1, 3, 1]


class Watched:
    """One launch of the run, and what it has come to."""

    def __init__(self, lab, run, process):
        self.lab, self.run, self.process = lab, run, process

    def running(self):
        return self.process.poll() is None

    def steps(self):
        ledger = self.lab.path / "runs" / self.run / "ledger.jsonl"
        return ledger.read_bytes().count(b"\n") if ledger.exists() else 0

    def ranks(self):
        """Process numbers of the living ranks, in rank order where mpirun started them in it."""
        return worker_pids(lambda words, _: any(
            word.endswith(f"runs/{self.run}") for word in words))

    def wait_for(self, condition, seconds):
        end = time.monotonic() + seconds
        while self.running() and not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def disturb(watched, kind, chance):
    """Does it, where the run still goes on."""
    ranks = watched.ranks()
    if not watched.running() or not ranks:
        return False
    if kind == "kill a rank":
        send([chance.choice(ranks)], signal.SIGKILL)
    elif kind == "kill all ranks":
        send(ranks, signal.SIGKILL)
    elif kind == "kill the supervisor":
        watched.process.kill()
    elif kind == "freeze a rank":
        send([chance.choice(ranks)], signal.SIGSTOP)
    else:
        watched.process.send_signal(signal.SIGTERM)
        if kind == "stop now":
            time.sleep(chance.uniform(0, 0.05))
            watched.process.send_signal(signal.SIGTERM)
    return True


def launch(lab, run, verb, ranks, log):
    words = ["train", "exp.yaml", "--name", run] if verb == "train" else ["resume", run]
    return Watched(lab, run, lab.start(LOCKSTEP, *words, "--ranks", ranks, stdout=log,
                                       environment={"LOCKSTEP_FAULT": PACE}))


def disturbed_run(lab, run, chance):
    """A run to its end. Returns what was done to it."""
    done = []
    verb = "train"
    deadline = time.monotonic() + PATIENCE_SECONDS
    with open(lab.path / f"{run}.log", "w") as log:
        while True:
            ranks = chance.randint(1, MOST_RANKS)
            watched = launch(lab, run, verb, ranks, log)
            # A few a launch, then it may come to its end: a run that is always killed has none.
            for _ in range(chance.randint(0 if done else 1, 3) if len(done) < 6 else 0):
                kind = chance.choices(KINDS, WEIGHTS)[0]
                # From the very start on, or after some progress.
                wait = chance.choice([0.0, 0.3, 1.5]) * chance.random()
                before = watched.steps()
                if wait == 0.0:
                    watched.wait_for(watched.ranks, 20)
                else:
                    watched.wait_for(lambda: watched.steps() > before, 20)
                    watched.wait_for(lambda: False, wait)
                if disturb(watched, kind, chance):
                    done.append(f"{kind} ({ranks})")
                if kind.startswith("stop") or kind == "kill the supervisor":
                    break
            watched.wait_for(lambda: False, deadline - time.monotonic())
            if watched.running():
                watched.process.kill()
                raise AssertionError(f"{run} was not done after {PATIENCE_SECONDS} s: {done}")
            code = watched.process.returncode
            end = time.monotonic() + 20
            while watched.ranks():
                check(time.monotonic() < end, f"{run}: ranks are left: {watched.ranks()}")
                time.sleep(0.01)
            if code == 0:
                return done
            # 8: kills that came before any progress look like a failure that stays.
            check(code in (1, 8, 75, 130, 143, -signal.SIGKILL), f"{run} exits {code}: {done}")
            verb = "resume"


def soak(minutes, seed):
    end = time.monotonic() + 60 * minutes
    print(f"seed {seed}", flush=True)
    with Lab() as lab:
        lab.lockstep("data", "synth", "classification", "--rows", 3000, "--features", 32,
                     "--classes", 10, "--output", "train.h5")
        lab.write("exp.yaml", CONFIG)
        lab.lockstep("train", "exp.yaml", "--local", "--name", "undisturbed")
        undisturbed = lab.show("undisturbed")
        rounds = disturbances = 0
        while rounds == 0 or time.monotonic() < end:
            rounds += 1
            run = f"round-{rounds}"
            begin = time.monotonic()
            done = disturbed_run(lab, run, random.Random(f"{seed} {rounds}"))
            record = lab.show(run)
            for what in ("status", "step", "state_digest", "metrics"):
                check(record[what] == undisturbed[what],
                      f"{run}: {what} is {record[what]}, not {undisturbed[what]}, after {done}")
            lab.lockstep("verify", run)
            steps = [line["step"] for line in lab.steps(run)]
            check(steps == list(range(1, STEPS + 1)), f"{run}: a step was repeated or skipped")
            disturbances += len(done)
            print(f"{run}: same state, {record['restarts']} restarts, "
                  f"{time.monotonic() - begin:.1f}s; {', '.join(done) or 'left alone'}", flush=True)
    print(f"{rounds} rounds with {disturbances} disturbances, all with state "
          f"{undisturbed['state_digest'][:16]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=10,
                        help="start no run after that (10); the one under way ends first")
    parser.add_argument("seed", nargs="?", type=int, default=random.SystemRandom().randrange(10**6),
                        help="decides what is done, not the instants at which it hits")
    arguments = parser.parse_args()
    soak(arguments.minutes, arguments.seed)
