"""Lockstep against its peers, in one run: the same data, models, sizes, threads and core binding,
interleaved A B B A, each run in a new process. See README.md beside this file for the rules.

    ./bootstrap.sh bench [--quick] [--parts steps,sums,memory,data,checkpoints,recovery]
                         [--models tiny,mlp,wide,cnn,gpt,resnet18] [--contests exact-1k,...]

Writes RESULTS.md and RESULTS.json beside this file (with --quick: prints only)."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import checkpoint_saves
import data_path
import extras
import recovery

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = pathlib.Path(os.environ.get("LOCKSTEP_BIN", ROOT / "build/bin"))
LOCKSTEP = BIN / "lockstep"
WORKER = BIN / "lockstep-worker"
DATA_BENCH = BIN / "lockstep_data_bench"
STEP_BENCH = BIN / "lockstep_step_bench"
PEER = HERE / "peers/ddp_train.py"
RANKS = 2
DEADLINE_SECONDS = 300
QUIET_SHARE = 0.10  # of all cores, used by others
CONTROL_LOW, CONTROL_HIGH = 0.93, 1.07

IMAGES = ["classification", "--shape", "1,28,28", "--classes", "10", "--rows", "8192"]
VECTORS = ["classification", "--shape", "64", "--classes", "10", "--rows", "8192"]
COLOURS = ["classification", "--shape", "3,32,32", "--classes", "10", "--rows", "2048"]
TEXT = ["tokens", "--rows", "500000"]
ADAMW = "{name: adamw, lr: 1e-3, weight_decay: 0.01}"
SGD = "{name: sgd, lr: 0.05, momentum: 0.9}"

# batch: samples a rank and step. peers: besides DDP, where they are the stronger ones.
MODELS = {
    "tiny": dict(what="MLP 64-64-10, SGD with momentum", batch=32, steps=3000, warmup=300,
                 peers=["mpi", "single"], data=VECTORS, model="{name: mlp, hidden: [64]}", optimizer=SGD),
    "mlp": dict(what="MLP 784-512-512-10, AdamW", batch=64, steps=300, warmup=40, data=IMAGES,
                peers=["mpi", "single"],
                model="{name: mlp, hidden: [512, 512]}", optimizer=ADAMW),
    "wide": dict(what="MLP 784-4096-4096-1216-10 (25M parameters), AdamW", batch=32, steps=30,
                 warmup=5, peers=["mpi", "single"], data=IMAGES, model="{name: mlp, hidden: [4096, 4096, 1216]}",
                 optimizer=ADAMW),
    "cnn": dict(what="CNN 28x28 conv32-conv64-fc128-10, AdamW", batch=64, steps=40, warmup=6,
                peers=["ddp-channels-last"], data=IMAGES, model="{name: cnn, channels: [32, 64], hidden: 128}",
                optimizer=ADAMW),
    "resnet18": dict(what="ResNet-18 CIFAR, SGD with momentum", batch=16, steps=10, warmup=3,
                     peers=["ddp-channels-last"], data=COLOURS, model="{name: resnet18}", optimizer=SGD),
    "gpt": dict(what="GPT 4 layers, 256 wide, T=128, dropout 0.1, AdamW", batch=4, steps=20,
                warmup=4, peers=[], data=TEXT, optimizer=ADAMW,
                model="{name: gpt, layers: 4, width: 256, heads: 4, context: 128, dropout: 0.1}"),
}
NAMES = {
    "lockstep": "Lockstep, 1 micro-batch a rank",
    "fast": "the same, reduction: fast",
    "eight": "Lockstep, 8 micro-batches a step",
    "apart": "2 Lockstep runs of 1 rank at once, no communication",
    "ranks-4": "Lockstep, 8 micro-batches, 4 ranks",
    "ranks-8": "Lockstep, 8 micro-batches, 8 ranks",
    "ddp": "DDP + gloo, 2 ranks",
    "ddp-channels-last": "the same with channels_last",
    "mpi": "flat gradient + MPI_Allreduce, 2 ranks",
    "single": "one process, 2 threads, same global batch",
}
# Ratios of step times within Lockstep: what they are called, of what, to what.
OWN_RATIOS = [
    ("data-parallel efficiency", "apart", "lockstep"),
    ("invariant / fast", "lockstep", "fast"),
    ("8 micro-batches / 1 a rank", "eight", "lockstep"),
    ("4 ranks on these cores / 2, samples/s", "eight", "ranks-4"),
    ("8 ranks on these cores / 2, samples/s", "eight", "ranks-8"),
]

# glibc gives large blocks back to the kernel after each step and faults them in again. Lockstep
# sets these itself, so the peers get them too.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
          "MALLOC_TOP_PAD_": str(1 << 26)}
MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_btl": "self,vader", "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    "OMPI_MCA_oob_tcp_if_include": "lo",
}
# Some machines carry these for older numerical libraries; they slow current ones down.
UNWANTED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OMPI_MCA_hwloc_base_binding_policy")


def environment(threads, more):
    variables = {k: v for k, v in os.environ.items() if k not in UNWANTED}
    return {**variables, "OMP_NUM_THREADS": str(threads), **more}


def make_images(folder):
    """train.h5 in `folder`, and its datasets as x.npy and y.npy for the peers."""
    run([LOCKSTEP, "data", "synth", *IMAGES, "--seed", 1, "--output", folder / "train.h5"], 1, {},
        folder)
    code = ("import h5py, numpy\n"
            "for name, column in h5py.File('train.h5').items():\n"
            "    numpy.save(name + '.npy', column[...])\n")
    run([sys.executable, "-c", code], 1, {}, folder)


def run(command, threads, more, folder):
    """What the command printed; ends the benchmark when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=folder, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=DEADLINE_SECONDS,
                          env=environment(threads, more))
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexited {done.returncode}:\n"
                 + "\n".join((done.stdout + done.stderr).splitlines()[-30:]))
    return done.stdout


def mpirun(ranks=RANKS):
    binding = "core" if (os.cpu_count() or 1) >= ranks else "none"
    command = ["mpirun", "-n", ranks, "--bind-to", binding]
    return command if binding == "core" else [*command, "--oversubscribe"]


def busy_share(seconds):
    """The share of all cores that was busy; called while this benchmark itself only waits."""
    def read():
        line = pathlib.Path("/proc/stat").read_text().split("\n")[0]
        fields = [int(field) for field in line.split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = read()
    time.sleep(seconds)
    later_total, later_idle = read()
    return 1 - (later_idle - idle) / max(1, later_total - total)


def wait_for_quiet(seconds):
    """Whether the machine became quiet in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if busy_share(0.5) < QUIET_SHARE:
            return True
    return False


class Contest:
    """One model: its data, and a way to run each contender once."""

    def __init__(self, name, folder, quick):
        self.name, self.spec = name, MODELS[name]
        self.folder = pathlib.Path(folder)
        self.steps = max(self.spec["steps"] // 3, self.spec["warmup"] + 5) if quick \
            else self.spec["steps"]
        self.runs = 0
        self.make_data()

    def make_data(self):
        """One data file for both sides; the peers read a copy that needs no conversion."""
        file = self.folder / "train.h5"
        run([LOCKSTEP, "data", "synth", *self.spec["data"], "--seed", 1, "--output", file], 1, {},
            self.folder)
        code = ("import h5py, numpy, sys\n"
                "for name, column in h5py.File(sys.argv[1]).items():\n"
                "    numpy.save(name + '.npy', column[...])\n")
        run([sys.executable, "-c", code, file], 1, {}, self.folder)

    def write_config(self, global_batch, micro_batches, reduction):
        self.runs += 1
        name = f"run-{self.runs}"
        (self.folder / f"{name}.yaml").write_text(f"""
run: {{name: {name}}}
model: {self.spec["model"]}
data: {{train: train.h5}}
train:
  steps: {self.steps}
  global_batch: {global_batch}
  micro_batch: {global_batch // micro_batches}
  reduction: {reduction}
  optimizer: {self.spec["optimizer"]}
evaluate: {{every_epochs: 0}}
checkpoint: {{every_epochs: 0}}
compute: {{threads: 1, device: cpu}}
""")
        return name

    def times_of(self, name, started):
        lines = (self.folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
        steps = [entry for entry in map(json.loads, lines) if "step_seconds" in entry]
        if len(steps) != self.steps:
            sys.exit(f"run '{name}' has {len(steps)} step lines, not {self.steps}")
        stamps = [datetime.datetime.fromisoformat(entry["time"].replace("Z", "+00:00")).timestamp()
                  for entry in steps]
        warmup = self.spec["warmup"]
        seconds = [entry["step_seconds"] for entry in steps[warmup:]]
        shutil.rmtree(self.folder / "runs" / name)
        # The mean is by the clock, from the end of one step to the end of another: what happens
        # between steps is in it. The last step's line waits for the final checkpoint.
        return {"step_ms": statistics.median(seconds) * 1e3,
                "mean_ms": (stamps[-2] - stamps[warmup - 1]) / (self.steps - warmup - 1) * 1e3,
                "first_step_seconds": stamps[0] - started}

    def lockstep(self, micro_batches=RANKS, ranks=RANKS, reduction="invariant"):
        """step_ms, mean_ms and first_step_seconds of Lockstep; the global batch is the same for
        every number of ranks."""
        name = self.write_config(RANKS * self.spec["batch"], micro_batches, reduction)
        started = time.time()
        run([*mpirun(ranks), WORKER, "train", f"{name}.yaml"], 1, MPI, self.folder)
        return self.times_of(name, started)

    def apart(self):
        """As many runs of one rank as there are ranks, at once, each on its own core."""
        runs = [self.write_config(self.spec["batch"], 1, "invariant") for _ in range(RANKS)]
        started = time.time()
        cores = sorted(os.sched_getaffinity(0))
        processes = [subprocess.Popen([*(["taskset", "-c", str(cores[i])] if len(cores) > i else []),
                                       WORKER, "train", f"{name}.yaml"], cwd=self.folder,
                                      env=environment(1, {}), stdout=subprocess.DEVNULL)
                     for i, name in enumerate(runs)]
        for process in processes:
            if process.wait(DEADLINE_SECONDS) != 0:
                sys.exit(f"a run of one rank exited {process.returncode}")
        times = [self.times_of(name, started) for name in runs]
        return {key: statistics.mean(entry[key] for entry in times) for key in times[0]}

    def go(self, key):
        own = {"lockstep": {}, "fast": {"reduction": "fast"}, "eight": {"micro_batches": 8},
               "ranks-4": {"micro_batches": 8, "ranks": 4},
               "ranks-8": {"micro_batches": 8, "ranks": 8}}
        if key in own:
            return self.lockstep(**own[key])
        return self.apart() if key == "apart" else self.peer(key)

    def peer(self, kind):
        batch = self.spec["batch"] * (RANKS if kind == "single" else 1)
        threads = RANKS if kind == "single" else 1
        python = pathlib.Path(sys.executable)
        start = {
            "ddp": [python, "-m", "torch.distributed.run", "--standalone",
                    "--nproc-per-node", RANKS, PEER, "--exchange", "ddp"],
            "ddp-channels-last": [python, "-m", "torch.distributed.run", "--standalone",
                                  "--nproc-per-node", RANKS, PEER, "--exchange", "ddp",
                                  "--channels-last"],
            "mpi": [*mpirun(), python, PEER, "--exchange", "mpi"],
            "single": [python, PEER, "--exchange", "none"],
        }[kind]
        output = run([*start, "--model", self.name, "--data", self.folder, "--batch", batch,
                      "--steps", self.steps, "--warmup", self.spec["warmup"], "--threads", threads,
                      "--started", repr(time.time())], threads, {**MALLOC, **MPI}, self.folder)
        return json.loads(next(line for line in output.splitlines() if line.startswith("{")))


def interval_of_median(values, random):
    """The 5th and 95th percentile of the median over resampled values (90% bootstrap)."""
    values = np.asarray(values)
    picks = random.integers(0, len(values), (10_000, len(values)))
    medians = np.median(values[picks], axis=1)
    return float(np.percentile(medians, 5)), float(np.percentile(medians, 95))


def interleave(contenders, rounds, quiet_wait, go):
    """What `go(contender, round)` found in each run, and how many runs began on a busy machine."""
    results = {key: [] for key in contenders}
    loud = 0
    for number in range(rounds):
        # A B C C B A: whatever drifts with time hits each contender alike.
        for key in [*contenders, *reversed(contenders)]:
            loud += not wait_for_quiet(quiet_wait)
            results[key].append(go(key, number))
    return results, loud


def is_quiet_enough(control_low, control_high):
    return CONTROL_LOW <= control_low and control_high <= CONTROL_HIGH


def compare(results, first, second, random, time_key="step_ms"):
    """Ratios of times, second / first: above one, `first` is faster."""
    pairs = [b[time_key] / a[time_key] for a, b in zip(results[first], results[second])]
    low, high = interval_of_median(pairs, random)
    control = [later[time_key] / earlier[time_key]
               for name in (first, second)
               for earlier, later in zip(results[name][0::2], results[name][1::2])]
    control_low, control_high = interval_of_median(control, random)
    return {"ratio": statistics.median(pairs), "low": low, "high": high, "pairs": len(pairs),
            "control": [control_low, control_high],
            "measurable": is_quiet_enough(control_low, control_high)}


def contenders_of(name, quick):
    if quick:
        return ["lockstep", "ddp"]
    return ["lockstep", "fast", "eight", "apart", "ranks-4", "ranks-8", "ddp",
            *MODELS[name]["peers"]]


def measure_steps(name, rounds, options, folder):
    contest = Contest(name, folder, options.quick)
    contenders = contenders_of(name, options.quick)

    def go(key, number):
        result = contest.go(key)
        print(f"  {name} round {number + 1}/{rounds} {key}: {result['step_ms']:.3g} ms a step "
              f"(mean {result['mean_ms']:.3g}), "
              f"first after {result['first_step_seconds']:.2f} s", flush=True)
        return result

    results, loud = interleave(contenders, rounds, options.quiet_wait, go)
    random = np.random.default_rng(1)
    own = [(label, compare(results, second, first, random))
           for label, first, second in OWN_RATIOS if {first, second} <= results.keys()]
    return {
        "model": name, "commit": commit(), "what": contest.spec["what"], "batch_per_rank": contest.spec["batch"],
        "steps": contest.steps, "warmup": contest.spec["warmup"], "loud_starts": loud,
        "step_ms": {key: statistics.median(r["step_ms"] for r in runs)
                    for key, runs in results.items()},
        "mean_ms": {key: statistics.median(r["mean_ms"] for r in runs)
                    for key, runs in results.items()},
        "first_step_seconds": {key: statistics.median(r["first_step_seconds"] for r in runs)
                               for key, runs in results.items()},
        "comparisons": {key: compare(results, "lockstep", key, random)
                        for key in contenders if key != "lockstep"},
        "eight_against_ddp": compare(results, "eight", "ddp", random) if "eight" in results
        else None,
        "own": own,
        "runs": results,
    }


def first_line(*command):
    try:
        return subprocess.run(command, text=True, capture_output=True).stdout.splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def commit():
    return first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty")


def describe_machine():
    cpu = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").open()
                if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    try:
        import torch
        torch_version = torch.__version__
    except ImportError:  # the quick look at the data path does without
        torch_version = "none"
    return {
        "cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory, 1),
        "kernel": platform.release(), "date": datetime.date.today().isoformat(),
        "lockstep": first_line(str(LOCKSTEP), "version"), "torch": torch_version,
        "mpi": first_line("mpirun", "--version"), "python": platform.python_version(),
    }


def cell(comparison, digits=2):
    """`1.88 (at least 1.83)`, or why not."""
    if not comparison["measurable"]:
        low, high = comparison["control"]
        return f"not measurable now (control {low:.2f}..{high:.2f}; {comparison['ratio']:.2f})"
    return f"{comparison['ratio']:.{digits}f} (at least {comparison['low']:.{digits}f})"


def render_model(model):
    loud = model["loud_starts"]
    if loud is None:  # put together again from a log that does not tell
        loud = "an unknown number of"
    lines = [f"## {model['what']}", "",
             f"Commit {model['commit']}. {model['batch_per_rank']} samples a rank, {model['steps']} steps, the first "
             f"{model['warmup']} left out; {loud} runs started on a machine that did not become "
             "quiet.", "",
             "| contender | step | by the clock | samples/s | first step after | step time / "
             "Lockstep's |",
             "| --- | --- | --- | --- | --- | --- |"]
    samples = model["batch_per_rank"] * RANKS
    for key, step_ms in model["step_ms"].items():
        mean_ms = model["mean_ms"][key]
        row = [NAMES[key], f"{step_ms:.3g} ms", f"{mean_ms:.3g} ms",
               f"{samples / mean_ms * 1e3:,.0f}",
               f"{model['first_step_seconds'][key]:.2f} s",
               "1" if key == "lockstep" else cell(model["comparisons"][key])]
        lines.append(f"| {' | '.join(row)} |")
    lines.append("")
    for label, comparison in model["own"]:
        lines.append(f"- {label}: {cell(comparison, 3)}")
    if model["eight_against_ddp"]:
        lines.append("- DDP's step / Lockstep's with 8 micro-batches: "
                     + cell(model["eight_against_ddp"]))
    return lines


def render(report):
    machine, lines = report["machine"], ["# Lockstep and its peers", ""]
    lines += [
        f"{machine['date']}: {machine['cpu']}, {machine['cores']} "
        f"cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}; torch "
        f"{machine['torch']}, {machine['mpi']}, Python {machine['python']}.",
        "",
        f"{RANKS} ranks with 1 thread each, f32, ranks bound to cores on both sides, the same "
        "malloc thresholds on both sides, warm page cache, every run a new process. Step times "
        "are medians of a run's steps without warm-up, then the median over runs; *by the clock* is "
        "the mean from the end of one step to the end of another, with all that happens between "
        "steps. A ratio is the median of step times over pairs; *at least* is the low end of its 90% bootstrap interval. Control: the "
        "same contender against itself in the same rounds; where its interval leaves "
        f"{CONTROL_LOW}..{CONTROL_HIGH}, the machine was too restless and the ratio is only shown.",
    ]
    if report["quick"]:
        lines += ["", "**A quick look, not a measurement: too few pairs.**"]
    for model in report["models"]:
        lines += ["", *render_model(model)]
    for part, render_part in RENDER.items():
        if part in report:
            lines += ["", *render_part(report[part], cell)]
    return "\n".join(lines) + "\n"


def names(text, known):
    chosen = text.split(",")
    for name in chosen:
        if name not in known:
            sys.exit(f"'{name}' is not known (there are {', '.join(known)})")
    return chosen


def keep_older(report, path):
    """The report with the models and parts that this run left out, as an earlier run on this
    machine found them."""
    if not path.exists():
        return report
    older = json.loads(path.read_text())
    if older["machine"]["cpu"] != report["machine"]["cpu"] or older["quick"] or report["quick"]:
        return report
    measured = {model["model"]: model for model in [*older["models"], *report["models"]]}
    parts = {part: found[part] for found in (older, report) for part in MEASURE if part in found}
    if "data" in older and "data" in report:
        parts["data"] = data_path.keep_older(older["data"], report["data"])
    if "checkpoints" in older and "checkpoints" in report:
        parts["checkpoints"] = checkpoint_saves.keep_older(older["checkpoints"],
                                                           report["checkpoints"])
    return {**report, **parts, "models": [measured[name] for name in MODELS if name in measured]}


def save(report, output):
    """After each part, so that a later one that fails costs only itself."""
    if not output:
        return
    whole = keep_older(report, pathlib.Path(output + ".json"))
    pathlib.Path(output + ".md").write_text(render(whole))
    pathlib.Path(output + ".json").write_text(json.dumps(whole, indent=1) + "\n")


MEASURE = {"sums": extras.measure_sums, "memory": extras.measure_memory,
           "data": data_path.measure, "checkpoints": checkpoint_saves.measure,
           "recovery": recovery.measure}
RENDER = {"sums": extras.render_sums, "memory": extras.render_memory, "data": data_path.render,
          "checkpoints": checkpoint_saves.render, "recovery": recovery.render}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, DDP alone, fewer steps")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--contests", default=",".join(data_path.ENTRIES),
                        help="of the part data (default: all)")
    parser.add_argument("--saves", default=",".join(checkpoint_saves.ENTRIES),
                        help="of the part checkpoints (default: all)")
    parser.add_argument("--parts", default=None,
                        help=f"of steps, {', '.join(MEASURE)} (quick: steps alone)")
    parser.add_argument("--rounds", type=int, default=None, help="two pairs each (default 4)")
    parser.add_argument("--quiet-wait", type=float, default=60, metavar="SECONDS",
                        help="how long a run waits for the machine to become quiet (default 60)")
    parser.add_argument("--output", default=None, help="path without suffix")
    options = parser.parse_args()

    models = names(options.models, MODELS)
    known = ["steps", *MEASURE]
    parts = names(options.parts or ("steps" if options.quick else ",".join(known)), known)
    rounds = options.rounds or (1 if options.quick else 4)
    binaries = [LOCKSTEP, *([WORKER] if parts != ["data"] else []),
                *([DATA_BENCH] if "data" in parts else [])]
    for binary in binaries:
        if not binary.exists():
            sys.exit(f"'{binary}' is not built; run './bootstrap.sh build'")

    report = {"machine": describe_machine(), "quick": options.quick or rounds < 4, "ranks": RANKS,
              "rounds": rounds, "models": []}
    output = options.output or (None if options.quick else str(HERE / "RESULTS"))
    for name in models if "steps" in parts else []:
        print(f"{name}: {MODELS[name]['what']}", flush=True)
        with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
            report["models"].append(measure_steps(name, rounds, options, folder))
        save(report, output)
    for part in parts:
        if part != "steps":
            with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
                report[part] = MEASURE[part](sys.modules[__name__], pathlib.Path(folder), options)
            save(report, output)
    print("\n" + render(report))


if __name__ == "__main__":
    main()
