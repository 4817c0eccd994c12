"""The part `checkpoints` of the benchmark: what a save takes from training, here and with
torch.distributed.checkpoint, how fast checkpoints are written, and how long a stop takes.
See README.md beside this file."""

import datetime
import json
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

import numpy as np

PEER = pathlib.Path(__file__).resolve().parent / "peers/dcp_save.py"
MEGABYTE = 1e6
BATCH = 32  # samples a rank
WARMUP = 10
ADAMW = "{name: adamw, lr: 1e-3, weight_decay: 0.01}"
# 302 MB and 102 MB of parameters and AdamW's state.
WIDE = "{name: mlp, hidden: [4096, 4096, 1216]}"
MIDDLE = "{name: mlp, hidden: [2048, 2560, 640]}"
OWN_STEPS, OWN_EVERY = 260, 60
PEER_STEPS, PEER_SAVE_AT = 95, "10,40,70"
SAVES = {"lockstep": "Lockstep", "peer": "torch.distributed.checkpoint.async_save"}

PERIODS_SECONDS = 5
STOPS = 5
ENTRIES = ["saves", "period", "write", "size", "load", "stop"]


def stamp(entry):
    return datetime.datetime.fromisoformat(entry["time"].replace("Z", "+00:00")).timestamp()


def entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def windows(stamps, saves):
    """The intervals between steps' ends within each save, from its step to when it was durable,
    and all others after the warm-up. `saves`: step, time when durable."""
    intervals = [later - earlier for earlier, later in zip(stamps, stamps[1:])]
    inside, busy = [], set()
    for step, durable in saves:
        first = step - 1  # of the interval that begins when step `step` has ended
        last = first
        while last + 1 < len(intervals) and stamps[last + 1] < durable:
            last += 1
        inside.append(intervals[first:last + 1])
        busy.update(range(first, last + 1))
    calm = [interval for index, interval in enumerate(intervals)
            if index >= WARMUP and index not in busy]
    return inside, calm


def figures(stamps, saves, size):
    """What saves took from training. `saves`: step, seconds blocked, time when durable."""
    inside, calm = windows(stamps, [(step, durable) for step, _, durable in saves])
    usual = statistics.median(calm)
    return {"blocked": statistics.median(blocked for _, blocked, _ in saves),
            "stall": statistics.median(sum(w) - len(w) * usual for w in inside),
            "durable": statistics.median(durable - stamps[step - 1] for step, _, durable in saves),
            "step": usual, "saving": [interval / usual for w in inside for interval in w],
            "calm": [interval / usual for interval in calm],
            "mean": (stamps[-2] - stamps[WARMUP]) / (len(stamps) - 2 - WARMUP), "bytes": size}


class Bench:
    def __init__(self, harness, folder, options):
        self.harness, self.folder, self.options = harness, folder, options
        self.runs = 0
        harness.make_images(folder)

    def config(self, model, batch, steps, checkpoint):
        self.runs += 1
        name = f"run-{self.runs}"
        (self.folder / f"{name}.yaml").write_text(f"""
run: {{name: {name}}}
model: {model}
data: {{train: train.h5}}
train: {{steps: {steps}, global_batch: {2 * batch}, micro_batch: {batch // 2}, optimizer: {ADAMW}}}
evaluate: {{every_epochs: 0}}
checkpoint: {{every_epochs: 0, best: none, keep: 1, {checkpoint}}}
compute: {{threads: 1, device: cpu}}
""")
        return name

    def train(self, model, batch, steps, checkpoint, ranks=2):
        """A finished run's folder."""
        name = self.config(model, batch, steps, checkpoint)
        harness = self.harness
        # As a user starts it: supervised, with the last step kept for restarts.
        harness.run([harness.LOCKSTEP, "train", f"{name}.yaml", "--ranks", ranks], 1,
                    harness.MPI, self.folder)
        return self.folder / "runs" / name

    def own_figures(self, run, last_step):
        """Of the saves before the last step's, which is waited for."""
        stamps = [stamp(line) for line in entries(run / "metrics.jsonl") if line["type"] == "step"]
        saved = [event for event in entries(run / "events.jsonl")
                 if event["event"] == "checkpoint" and event["step"] < last_step]
        found = figures(stamps, [(event["step"], event["blocked_seconds"], stamp(event))
                                 for event in saved], saved[0]["bytes"]) if saved else {
            "mean": (stamps[-2] - stamps[WARMUP]) / (len(stamps) - 2 - WARMUP)}
        shutil.rmtree(run)
        return found

    def save(self, kind):
        harness, batch = self.harness, BATCH
        if kind == "lockstep":
            return self.own_figures(
                self.train(WIDE, batch, OWN_STEPS, f"every_steps: {OWN_EVERY}"), OWN_STEPS)
        output = harness.run(
            [pathlib.Path(sys.executable), "-m", "torch.distributed.run", "--standalone",
             "--nproc-per-node", 2, PEER, "--model", "wide", "--data",
             self.folder, "--batch", batch, "--steps", PEER_STEPS, "--save-at", PEER_SAVE_AT,
             "--directory", self.folder / "peer"], 1, {**harness.MALLOC, **harness.MPI},
            self.folder)
        found = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
        return figures(found["stamps"],
                       [(save["step"], save["blocked"], save["durable"])
                        for save in found["saves"]], found["bytes"])


def summary(results, key):
    return {name: statistics.median(run[key] for run in runs) for name, runs in results.items()}


def measure_saves(bench, rounds):
    results, loud = bench.harness.interleave(SAVES, rounds, bench.options.quiet_wait,
                                             lambda kind, _: bench.save(kind))
    chance = np.random.default_rng(1)
    found = {"loud_starts": loud, "rows": []}
    for key, what, most in (("blocked", "training thread blocked a save", 0.25),
                            ("stall", "whole stall: blocked and slowed steps", 0.4)):
        ratios = [ours[key] / theirs[key]
                  for ours, theirs in zip(results["lockstep"], results["peer"])]
        _, high = bench.harness.interval_of_median(ratios, chance)
        found["rows"].append(
            {"what": f"{what}, 302 MB, 2 ranks", "against": "async_save", "unit": "s",
             "ours": summary(results, key)["lockstep"], "theirs": summary(results, key)["peer"],
             "ratio": statistics.median(ratios), "worst": high, "most": most})
    found["durable"], found["step"] = summary(results, "durable"), summary(results, "step")
    found["rows"].append({**evenness(results["lockstep"], "302 MB"), "against": "async_save",
                          "theirs": evenness(results["peer"], "")["ratio"]})
    return found


def evenness(runs, size):
    """How much slower than usual the slowest steps are while a save is under way. What the machine
    does to steps without a save is said beside it."""
    saving, calm = ([x for run in runs for x in run[key]] for key in ("saving", "calm"))
    p99, median = float(np.percentile(saving, 99)), statistics.median(saving)
    return {"what": f"p99 / median step while saving, {size} (/ median without a save {p99:.2f}; "
                    f"without any save {np.percentile(calm, 99):.2f})",
            "ours": p99 / median, "theirs": None, "against": "itself", "unit": "",
            "ratio": p99 / median, "worst": p99 / median, "most": 1.3}


def measure_period(bench, rounds):
    """Steps a second with a durable save every five seconds, and without any."""
    steps = 250 if bench.options.quick else 900
    kinds = {"with": f"every_seconds: {PERIODS_SECONDS}", "without": "every_steps: 0"}
    results, loud = bench.harness.interleave(
        kinds, rounds, bench.options.quiet_wait,
        lambda kind, _: bench.own_figures(bench.train(MIDDLE, 64, steps, kinds[kind]), steps))
    chance = np.random.default_rng(1)
    ratios = [without["mean"] / with_saves["mean"]
              for with_saves, without in zip(results["with"], results["without"])]
    low, _ = bench.harness.interval_of_median(ratios, chance)
    means = summary(results, "mean")
    return {"loud_starts": loud, "rows": [
        {"what": f"throughput with a durable save every {PERIODS_SECONDS} s / without, 102 MB",
         "ours": 1 / means["with"], "theirs": 1 / means["without"], "against": "itself, no saves",
         "unit": "steps/s", "ratio": statistics.median(ratios), "worst": low, "least": 0.95},
        evenness([run for run in results["with"] if "saving" in run], "102 MB")]}


def measure_write(bench, rounds):
    """Checkpoints that are waited for, against dd with fsync of as many bytes in the same folder."""
    def go(kind, _):
        if kind == "dd":
            path = bench.folder / "dd.out"
            megabytes = round(302 * MEGABYTE / 2**20)
            rates = []
            for _ in range(4):
                begin = time.perf_counter()
                subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={megabytes}",
                                "conv=fsync"], check=True, capture_output=True)
                rates.append(megabytes * 2**20 / (time.perf_counter() - begin))
                path.unlink()
            return {"rate": statistics.median(rates)}
        run = bench.train(WIDE, 32, 20, "every_steps: 5, background: false")
        saved = [event for event in entries(run / "events.jsonl") if event["event"] == "checkpoint"]
        shutil.rmtree(run)
        return {"rate": statistics.median(event["bytes"] / event["seconds"] for event in saved)}

    results, loud = bench.harness.interleave({"lockstep": 0, "dd": 0}, rounds,
                                             bench.options.quiet_wait, go)
    ratios = [ours["rate"] / theirs["rate"] for ours, theirs in zip(results["lockstep"],
                                                                  results["dd"])]
    low, _ = bench.harness.interval_of_median(ratios, np.random.default_rng(1))
    rates = summary(results, "rate")
    return {"loud_starts": loud, "rows": [
        {"what": "durable write bandwidth, hashed, 302 MB, 2 ranks", "ours": rates["lockstep"] / 1e6,
         "theirs": rates["dd"] / 1e6, "against": "dd conv=fsync", "unit": "MB/s",
         "ratio": statistics.median(ratios), "worst": low, "least": 0.9}]}


def measure_size(bench, _):
    rows = []
    for ranks in (1, 2, 3, 4):
        run = bench.train(WIDE, 32, 1, "every_steps: 0", ranks)
        state = entries(run / "events.jsonl")[-2]["bytes"]
        written = sum(path.stat().st_size for path in (run / "checkpoints").rglob("*")
                      if path.is_file())
        shutil.rmtree(run)
        rows.append({"what": f"bytes of a checkpoint / of its state, {ranks} ranks",
                     "ours": written / 1e6, "theirs": state / 1e6, "against": "the state itself",
                     "unit": "MB", "ratio": written / state, "worst": written / state,
                     "most": 1.02})
    return {"loud_starts": 0, "rows": rows}


def measure_load(bench, rounds):
    """A checkpoint of 2 ranks on as many and on others."""
    run = bench.train(WIDE, 32, 1, "every_steps: 0")
    harness = bench.harness

    def go(ranks, _):
        harness.run([*harness.mpirun(ranks), harness.WORKER, "resume", run], 1, harness.MPI,
                    bench.folder)
        return {"seconds": [event["load_seconds"] for event in entries(run / "events.jsonl")
                            if event["event"] == "resume"][-1]}

    results, loud = harness.interleave({ranks: 0 for ranks in (2, 1, 3, 4)}, rounds,
                                       bench.options.quiet_wait, go)
    seconds = summary(results, "seconds")
    rows = []
    for ranks in (1, 3, 4):
        ratios = [other["seconds"] / same["seconds"]
                  for other, same in zip(results[ranks], results[2])]
        _, high = harness.interval_of_median(ratios, np.random.default_rng(1))
        rows.append({"what": f"load of a checkpoint of 2 ranks on {ranks} / on 2, 302 MB",
                     "ours": seconds[ranks], "theirs": seconds[2], "against": "2 ranks",
                     "unit": "s", "ratio": statistics.median(ratios), "worst": high, "most": 1.2})
    return {"loud_starts": loud, "rows": rows}


def measure_stop(bench, _):
    """SIGTERM at a random step of a run that is saving now and then."""
    chance, seconds = random.Random(1), []
    for _ in range(STOPS):
        name = bench.config(WIDE, 32, 100_000, "every_seconds: 1")
        process = subprocess.Popen(
            [str(bench.harness.LOCKSTEP), "train", f"{name}.yaml", "--ranks", "2"],
            cwd=bench.folder, env=bench.harness.environment(1, bench.harness.MPI),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        metrics = bench.folder / "runs" / name / "metrics.jsonl"
        end = time.monotonic() + 60
        while not metrics.exists() or metrics.read_text().count("\n") < WARMUP:
            if time.monotonic() > end or process.poll() is not None:
                sys.exit("the run to be stopped did not start")
            time.sleep(0.05)
        time.sleep(chance.uniform(1, 4))
        begin = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        seconds.append(time.perf_counter() - begin)
        run = bench.folder / "runs" / name
        saved = entries(run / "events.jsonl")
        last = [event["step"] for event in saved if event["event"] == "checkpoint"][-1]
        if code != 75 or last != json.loads((run / "run.json").read_text())["step"]:
            sys.exit(f"a stopped run exited {code}, its newest checkpoint is of step {last}")
        shutil.rmtree(run)
    return {"loud_starts": 0, "rows": [
        {"what": f"SIGTERM to the exit with code 75 and a durable checkpoint, 302 MB, worst of "
                 f"{STOPS}", "ours": max(seconds), "theirs": None, "against": "", "unit": "s",
         "ratio": max(seconds), "worst": max(seconds), "most": 2}]}


MEASURE = {"saves": measure_saves, "period": measure_period, "write": measure_write,
           "size": measure_size, "load": measure_load, "stop": measure_stop}


def measure(harness, folder, options):
    bench = Bench(harness, folder, options)
    rounds = options.rounds or (1 if options.quick else 4)
    found = {}
    for name in harness.names(options.saves, ENTRIES):
        print(f"  {name}", flush=True)
        found[name] = MEASURE[name](bench, rounds)
        found[name]["commit"] = harness.commit()
        for row in found[name]["rows"]:
            print(f"    {row['what']}: {row['ratio']:.3f} (worst {row['worst']:.3f})", flush=True)
    return found


def keep_older(older, newer):
    both = {**older, **newer}
    return {name: both[name] for name in ENTRIES if name in both}


def number(value, unit):
    return "" if value is None else f"{value:.3g}{' ' + unit if unit else ''}"


def render(found, _):
    lines = ["## Checkpoints", "",
             "Both sides save parameters and AdamW's state of the same model while they train, every "
             "file synced, on the same disk. *Blocked*: Lockstep's copy of the state and what its "
             "training thread does for the save later, async_save's call alone. *Whole stall*: the "
             "time between steps' ends from the save until it is durable, less what as many steps "
             "take without a save. Bounds are the worse ends of 90% bootstrap intervals of the "
             "median over pairs.", "",
             "| | Lockstep | against | | ratio | bound | target | holds |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for entry in found.values():
        for row in entry["rows"]:
            if "most" in row:
                goal, holds = f"at most {row['most']:g}", row["worst"] <= row["most"]
            else:
                goal, holds = f"at least {row['least']:g}", row["worst"] >= row["least"]
            lines.append(f"| {row['what']} | {number(row['ours'], row['unit'])} | {row['against']} "
                         f"| {number(row['theirs'], row['unit'])} | {row['ratio']:.3f} "
                         f"| {row['worst']:.3f} | {goal} | {'yes' if holds else 'no'} |")
    lines.append("")
    if "saves" in found:
        told = [f"{SAVES[kind]} {seconds:.2f} s (a step {found['saves']['step'][kind] * 1e3:.0f} ms)"
                for kind, seconds in found["saves"]["durable"].items()]
        lines.append(f"- durable after: {', '.join(told)}")
    for name, entry in found.items():
        lines.append(f"- {name}: commit {entry['commit']}; {entry['loud_starts']} runs started on a "
                     "machine that did not become quiet")
    return lines
