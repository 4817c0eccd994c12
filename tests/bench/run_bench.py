"""Lockstep against its peers, in one run: the same data, models, sizes, threads and core binding,
interleaved A B B A, each run in a new process. See README.md beside this file for the rules.

    ./bootstrap.sh bench [--quick] [--models mlp,cnn,resnet18,gpt] [--peers ddp,mpi,single]

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

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LOCKSTEP = ROOT / "build/bin/lockstep"
WORKER = ROOT / "build/bin/lockstep-worker"
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

# batch: samples a rank and step.
MODELS = {
    "tiny": dict(what="MLP 64-64-10, SGD with momentum", batch=32, steps=4000, warmup=400,
                 data=VECTORS, model="{name: mlp, hidden: [64]}", optimizer=SGD),
    "mlp": dict(what="MLP 784-512-512-10, AdamW", batch=64, steps=400, warmup=40, data=IMAGES,
                model="{name: mlp, hidden: [512, 512]}", optimizer=ADAMW),
    "wide": dict(what="MLP 784-4096-4096-1216-10 (25M parameters), AdamW", batch=32, steps=40,
                 warmup=5, data=IMAGES, model="{name: mlp, hidden: [4096, 4096, 1216]}",
                 optimizer=ADAMW),
    "cnn": dict(what="CNN 28x28 conv32-conv64-fc128-10, AdamW", batch=64, steps=60, warmup=6,
                data=IMAGES, model="{name: cnn, channels: [32, 64], hidden: 128}",
                optimizer=ADAMW),
    "resnet18": dict(what="ResNet-18 CIFAR, SGD with momentum", batch=16, steps=12, warmup=3,
                     data=COLOURS, model="{name: resnet18}", optimizer=SGD),
    "gpt": dict(what="GPT 4 layers, 256 wide, T=128, dropout 0.1, AdamW", batch=4, steps=30,
                warmup=4, data=TEXT, optimizer=ADAMW,
                model="{name: gpt, layers: 4, width: 256, heads: 4, context: 128, dropout: 0.1}"),
}
PEERS = {
    "ddp": "DDP + gloo, 2 ranks",
    "mpi": "flat gradient + MPI_Allreduce, 2 ranks",
    "single": "one process, 2 threads, same global batch",
}

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


def run(command, threads, more, folder):
    """What the command printed; ends the benchmark when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=folder, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=DEADLINE_SECONDS,
                          env=environment(threads, more))
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexited {done.returncode}:\n"
                 + "\n".join((done.stdout + done.stderr).splitlines()[-30:]))
    return done.stdout


def mpirun():
    binding = "core" if (os.cpu_count() or 1) >= RANKS else "none"
    command = ["mpirun", "-n", RANKS, "--bind-to", binding]
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
        run(["/usr/bin/python3", "-c", code, file], 1, {}, self.folder)

    def lockstep(self, micro_batches):
        """step_ms and first_step_seconds of Lockstep with that many micro-batches a step."""
        self.runs += 1
        name = f"run-{self.runs}"
        global_batch = RANKS * self.spec["batch"]
        (self.folder / "exp.yaml").write_text(f"""
model: {self.spec["model"]}
data: {{train: train.h5}}
train:
  steps: {self.steps}
  global_batch: {global_batch}
  micro_batch: {global_batch // micro_batches}
  optimizer: {self.spec["optimizer"]}
evaluate: {{every_epochs: 0}}
checkpoint: {{every_epochs: 0}}
compute: {{threads: 1, device: cpu}}
""")
        started = time.time()
        run([*mpirun(), WORKER, "train", "exp.yaml", f"run.name={name}"], 1, MPI, self.folder)
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
        # between steps is in it.
        return {"step_ms": statistics.median(seconds) * 1e3,
                "mean_ms": (stamps[-1] - stamps[warmup - 1]) / (self.steps - warmup) * 1e3,
                "first_step_seconds": stamps[0] - started}

    def peer(self, kind):
        batch = self.spec["batch"] * (RANKS if kind == "single" else 1)
        threads = RANKS if kind == "single" else 1
        python = pathlib.Path(sys.executable)
        start = {
            "ddp": [python, "-m", "torch.distributed.run", "--standalone",
                    "--nproc-per-node", RANKS, PEER, "--exchange", "ddp"],
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


def compare(results, first, second, random):
    """Ratios of step times, second / first: above one, `first` is faster."""
    pairs = [b["step_ms"] / a["step_ms"] for a, b in zip(results[first], results[second])]
    low, high = interval_of_median(pairs, random)
    control = [later["step_ms"] / earlier["step_ms"]
               for name in (first, second)
               for earlier, later in zip(results[name][0::2], results[name][1::2])]
    control_low, control_high = interval_of_median(control, random)
    return {"ratio": statistics.median(pairs), "low": low, "high": high, "pairs": len(pairs),
            "control": [control_low, control_high],
            "measurable": CONTROL_LOW <= control_low and control_high <= CONTROL_HIGH}


def measure(name, peers, micro_batch_counts, rounds, options, folder):
    contest = Contest(name, folder, options.quick)
    contenders = [(f"lockstep-{count}", lambda count=count: contest.lockstep(count))
                  for count in micro_batch_counts]
    contenders += [(peer, lambda peer=peer: contest.peer(peer)) for peer in peers]
    results = {key: [] for key, _ in contenders}
    loud = 0
    for number in range(rounds):
        # A B C C B A: whatever drifts with time hits each contender alike.
        for key, go in [*contenders, *reversed(contenders)]:
            loud += not wait_for_quiet(options.quiet_wait)
            result = go()
            results[key].append(result)
            print(f"  {name} round {number + 1}/{rounds} {key}: {result['step_ms']:.2f} ms a step "
                  f"(mean {result['mean_ms']:.2f}), "
                  f"first after {result['first_step_seconds']:.2f} s", flush=True)
    random = np.random.default_rng(1)
    ours = contenders[0][0]
    return {
        "model": name, "what": contest.spec["what"], "batch_per_rank": contest.spec["batch"],
        "steps": contest.steps, "warmup": contest.spec["warmup"], "loud_starts": loud,
        "step_ms": {key: statistics.median(r["step_ms"] for r in runs)
                    for key, runs in results.items()},
        "first_step_seconds": {key: statistics.median(r["first_step_seconds"] for r in runs)
                               for key, runs in results.items()},
        "comparisons": {key: compare(results, ours, key, random)
                        for key, _ in contenders if key != ours},
        "runs": results,
    }


def first_line(*command):
    try:
        return subprocess.run(command, text=True, capture_output=True).stdout.splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def describe_machine():
    cpu = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").open()
                if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    import torch
    return {
        "cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory, 1),
        "kernel": platform.release(), "date": datetime.date.today().isoformat(),
        "commit": first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "lockstep": first_line(str(LOCKSTEP), "version"), "torch": torch.__version__,
        "mpi": first_line("mpirun", "--version"), "python": platform.python_version(),
    }


def name_of(key):
    if key.startswith("lockstep-"):
        return f"Lockstep, {key.removeprefix('lockstep-')} micro-batches"
    return PEERS[key]


def render(report):
    machine, lines = report["machine"], ["# Lockstep and its peers", ""]
    lines += [
        f"{machine['date']}, commit {machine['commit']}: {machine['cpu']}, {machine['cores']} "
        f"cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}; torch "
        f"{machine['torch']}, {machine['mpi']}, Python {machine['python']}.",
        "",
        f"{RANKS} ranks with 1 thread each, f32, ranks bound to cores on both sides, the same "
        "malloc thresholds on both sides, warm page cache, every run a new process. Step times "
        "are medians of a run's steps without warm-up, then the median over runs. A ratio is the "
        "peer's step time over Lockstep's, the median over pairs; *at least* is the low end of "
        "its 90% bootstrap interval. Control: the same contender against itself in the same "
        "rounds; where its interval leaves "
        f"{CONTROL_LOW}..{CONTROL_HIGH}, the machine was too restless and no ratio is given.",
    ]
    if report["quick"]:
        lines += ["", "**A quick look, not a measurement: too few pairs.**"]
    for model in report["models"]:
        ours = f"lockstep-{report['micro_batches'][0]}"
        lines += ["", f"## {model['what']}", "",
                  f"{model['batch_per_rank']} samples a rank, {model['steps']} steps, the first "
                  f"{model['warmup']} left out; {model['loud_starts']} runs started on a machine "
                  "that did not become quiet.", "",
                  "| contender | step | samples/s | first step after | ratio | at least "
                  "| control |",
                  "| --- | --- | --- | --- | --- | --- | --- |"]
        samples = model["batch_per_rank"] * RANKS
        for key, step_ms in model["step_ms"].items():
            row = [name_of(key), f"{step_ms:.2f} ms", f"{samples / step_ms * 1e3:,.0f}",
                   f"{model['first_step_seconds'][key]:.2f} s"]
            if key == ours:
                row += ["1", "", ""]
            else:
                result = model["comparisons"][key]
                row += [f"{result['ratio']:.2f}", f"{result['low']:.2f}"] \
                    if result["measurable"] else ["not measurable now", ""]
                row.append(f"{result['control'][0]:.2f}..{result['control'][1]:.2f}")
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def names(text, known):
    chosen = text.split(",")
    for name in chosen:
        if name not in known:
            sys.exit(f"'{name}' is not known (there are {', '.join(known)})")
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, DDP alone, fewer steps")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--peers", default=None, help=f"of {','.join(PEERS)}")
    parser.add_argument("--micro-batches", default=None,
                        help="micro-batches a step, the first is compared (default 2,8)")
    parser.add_argument("--rounds", type=int, default=None, help="two pairs each (default 4)")
    parser.add_argument("--quiet-wait", type=float, default=60, metavar="SECONDS",
                        help="how long a run waits for the machine to become quiet (default 60)")
    parser.add_argument("--output", default=None, help="path without suffix")
    options = parser.parse_args()

    models = names(options.models, MODELS)
    peers = names(options.peers or ("ddp" if options.quick else ",".join(PEERS)), PEERS)
    counts = options.micro_batches or ("2" if options.quick else "2,8")
    counts = [int(count) for count in counts.split(",")]
    rounds = options.rounds or (1 if options.quick else 4)
    for binary in (LOCKSTEP, WORKER):
        if not binary.exists():
            sys.exit(f"'{binary}' is not built; run './bootstrap.sh build'")

    report = {"machine": describe_machine(), "quick": options.quick or rounds < 4, "ranks": RANKS,
              "micro_batches": counts, "rounds": rounds, "models": []}
    for name in models:
        print(f"{name}: {MODELS[name]['what']}", flush=True)
        # A count that a model's global batch cannot be cut into is left out for it.
        fitting = [n for n in counts if RANKS * MODELS[name]["batch"] % n == 0]
        with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
            report["models"].append(measure(name, peers, fitting, rounds, options, folder))
    text = render(report)
    print("\n" + text)
    output = options.output or (None if options.quick else str(HERE / "RESULTS"))
    if output:
        pathlib.Path(output + ".md").write_text(text)
        pathlib.Path(output + ".json").write_text(json.dumps(report, indent=1) + "\n")


main()
