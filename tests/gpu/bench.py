"""Lockstep and PyTorch on one GPU, in one run: the same models, sizes, optimizers and precision, and the
project's targets. Contenders of a workload take turns, forwards and backwards (A B B A). Called by
run.sh; writes a table.

Usage: bench.py --binaries FOLDER --output RESULT.md [--rows gpt2,resnet50,...] [--seconds N]
       bench.py --binaries FOLDER --output RESULT.md --dry-run      all rows, tiny, on the CPU"""

import argparse
import copy
import dataclasses
import datetime
import json
import math
import os
import pathlib
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PEER = pathlib.Path(__file__).resolve().parents[1] / "bench/peers/gpu_train.py"
FIRST_STEPS = 10
PREPARE_SHARE = 0.5  # of the time, for the peers' compilers
RUN_SECONDS = 90  # most of one measurement
DATA_SECONDS = 60

ADAMW = {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01}
SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9}
GPT = {"name": "gpt", "heads": 4, "dropout": 0.0}


@dataclasses.dataclass
class Workload:
    what: str
    model: dict  # as in a configuration
    classes: int
    shape: list  # of a sample
    synth: list
    batch: int
    optimizer: dict
    precision: str
    steps: int
    warmup: int
    micro_batch: int = 0  # of Lockstep; 0 = the batch
    compile_mode: str = "reduce-overhead"


WORKLOADS = {
    "gpt2": Workload(
        "GPT-2 124M, B=64, T=1024, bf16",
        {**GPT, "layers": 12, "width": 768, "heads": 12, "context": 1024, "classes": 50304,
         "tie_embeddings": True},
        256, [1024], ["tokens", "--rows", "8000000"], 64, ADAMW, "bf16", 12, 4, 16, "default"),
    "resnet50": Workload(
        "ResNet-50, 224 px, B=256, bf16", {"name": "resnet50", "channels": [64, 128, 256, 512]},
        1000, [3, 224, 224], ["--rows", "1024"], 256, SGD, "bf16", 20, 8, 0, "default"),
    "mlp": Workload("MLP 784-3x512-10, B=64, f32", {"name": "mlp", "hidden": [512, 512, 512]},
                    10, [784], ["--rows", "20000"], 64, ADAMW, "f32", 3000, 500),
    "lenet": Workload("LeNet (3x3: 6, 16; 120), B=64, f32",
                      {"name": "cnn", "channels": [6, 16], "hidden": [120]},
                      10, [1, 28, 28], ["--rows", "20000"], 64, ADAMW, "f32", 2000, 300),
    "resnet18": Workload("ResNet-18 CIFAR, B=128, bf16",
                         {"name": "resnet18", "channels": [64, 128, 256, 512]},
                         10, [3, 32, 32], ["--rows", "20000"], 128, SGD, "bf16", 250, 50),
    "gpt": Workload("GPT 4 layers, 128 wide, T=128, B=16, bf16",
                    {**GPT, "layers": 4, "width": 128, "context": 128, "classes": 256,
                     "tie_embeddings": False},
                    256, [128], ["tokens", "--rows", "4000000"], 16, ADAMW, "bf16", 1000, 200),
}
SMALL = ["mlp", "lenet", "resnet18", "gpt"]  # bound by launches

# What takes the place of a workload's values on a CPU, to see that everything works.
TINY_GPT = {"layers": 1, "width": 16, "heads": 2, "context": 16, "classes": 256}
TINY = {
    "gpt2": {"model": TINY_GPT, "shape": [16], "synth": ["tokens", "--rows", "4000"], "batch": 8,
             "micro_batch": 2},
    "resnet50": {"model": {"channels": [4, 4, 4, 4]}, "shape": [3, 32, 32], "batch": 4},
    "mlp": {"model": {"hidden": [8, 8, 8]}},
    "lenet": {"model": {"channels": [2, 2], "hidden": [8]}},
    "resnet18": {"model": {"channels": [4, 4, 4, 4]}, "batch": 8},
    "gpt": {"model": TINY_GPT, "shape": [16], "synth": ["tokens", "--rows", "4000"]},
}


@dataclasses.dataclass
class Row:
    """A speed of `ours` over that of `theirs`: above 1 Lockstep's is the faster one, or what it adds
    costs nothing."""
    key: str  # of --rows
    workloads: list  # more than one: their geometric mean
    ours: str
    theirs: str
    what: str  # "" = the workload alone
    against: str
    unit: str
    must: float = None
    aim: float = None


COMPILED = "torch.compile"
OVERHEAD = "torch.compile, reduce-overhead"
ROWS = [
    Row("gpt2", ["gpt2"], "lockstep", "compiled", "", COMPILED, "tokens/s", 0.95, 1.05),
    Row("gpt2", ["gpt2"], "lockstep", "eager", "", "eager", "tokens/s", 1.4, 1.8),
    Row("resnet50", ["resnet50"], "lockstep", "compiled", "", COMPILED, "samples/s", 0.95, 1.10),
    *[Row("small", [name], "lockstep", "compiled", "", OVERHEAD, "ms", 0.95, 1.10) for name in SMALL],
    *[Row("small", [name], "lockstep", "eager", "", "eager", "ms") for name in SMALL],
    Row("small", SMALL, "lockstep", "compiled", "these four, geometric mean", OVERHEAD, "ms", 0.95, 1.10),
    Row("small", SMALL, "lockstep", "eager", "these four, geometric mean", "eager", "ms", 2.0, 4.0),
    Row("parallel", ["resnet18"], "mpirun", "lockstep", "data-parallel step at 1 rank", "plain step",
        "ms", 0.99, 0.997),
    Row("reduction", ["gpt2"], "lockstep", "fast", "reduction: invariant, 4 micro-batches",
        "reduction: fast", "ms", 1 / 1.10, 1 / 1.05),
    Row("launch", ["gpt"], "first", "first-compiled", "launch to step 10, cold", OVERHEAD, "s", 4.0, 10.0),
    Row("checkpoint", ["gpt2"], "saving", "usual", "a checkpoint every 10 s, 1.49 GB",
        "without", "tokens/s", 0.98, 0.99),
]
KEYS = list(dict.fromkeys(row.key for row in ROWS))


class Failed(Exception):
    """Why a contender has no figure; never the end of the others."""


class Lab:
    """The folder that all happens in, the time that is left, and how things are run."""

    def __init__(self, options, folder):
        self.folder, self.dry, self.rounds = folder, options.dry_run, options.rounds
        self.binaries = options.binaries.resolve()
        self.deadline = time.monotonic() + options.seconds
        self.device = "cpu" if self.dry else "cuda"
        self.save_seconds = 0.4 if self.dry else 10
        self.runs = 0
        self.lacking = {}  # workload -> why it has no data
        self.workloads = copy.deepcopy(WORKLOADS)
        if options.gpt2_micro_batch:
            self.workloads["gpt2"].micro_batch = options.gpt2_micro_batch
        for name, tiny in TINY.items() if self.dry else []:
            workload = self.workloads[name]
            workload.model.update(tiny["model"])
            self.workloads[name] = dataclasses.replace(
                workload, precision="f32", steps=12, warmup=2,
                **{key: value for key, value in tiny.items() if key != "model"})
            if "tokens" not in workload.synth:
                self.workloads[name].synth = ["--rows", "64"]

    def left(self):
        return self.deadline - time.monotonic()

    def require_time(self, seconds):
        if self.left() < seconds:
            raise Failed(f"no time left ({self.left():.0f} s, it takes about {seconds:.0f})")

    def start_data(self, name):
        workload = self.workloads[name]
        words = list(workload.synth)
        if words[0] != "tokens":
            form = ["--features", workload.shape[0]] if len(workload.shape) == 1 else [
                "--shape", ",".join(map(str, workload.shape))]
            words = ["classification", *form, "--classes", workload.classes, *words]
        return subprocess.Popen(
            list(map(str, [self.binaries / "lockstep", "data", "synth", *words, "--output",
                           self.folder / f"{name}.h5"])),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def train(self, name, command=("lockstep-worker",), steps=None, train=None, checkpoint=None):
        """The folder of a finished run, and when it was started."""
        if name in self.lacking:
            raise Failed(self.lacking[name])
        workload = self.workloads[name]
        self.runs += 1
        run = f"run-{self.runs}"
        config = {
            "run": {"name": run}, "model": {"classes": workload.classes, **workload.model},
            "data": {"train": f"{name}.h5"},
            "train": {"steps": steps or workload.steps + workload.warmup,
                      "global_batch": workload.batch,
                      "micro_batch": workload.micro_batch or workload.batch,
                      "optimizer": workload.optimizer, **(train or {})},
            "evaluate": {"every_epochs": 0},
            "checkpoint": {"every_epochs": 0, "best": "none", "keep": 1, **(checkpoint or {})},
            "compute": {"device": self.device, "precision": workload.precision}}
        # JSON is YAML.
        (self.folder / f"{run}.yaml").write_text(json.dumps(config))
        *before, program = command
        words = [*before, self.binaries / program, "train", f"{run}.yaml"]
        started = time.time()
        try:
            done = subprocess.run(list(map(str, words)), cwd=self.folder, text=True,
                                  capture_output=True, stdin=subprocess.DEVNULL,
                                  timeout=max(1, min(RUN_SECONDS, self.left())))
        except subprocess.TimeoutExpired as error:
            raise Failed(f"not finished in {error.timeout:.0f} s") from None
        except OSError as error:
            raise Failed(str(error)) from None
        if done.returncode != 0:
            lines = [line.strip() for line in (done.stderr + done.stdout).splitlines()
                     if any(map(str.isalpha, line))]
            reason = next((line for line in lines if "error" in line.lower()), " ".join(lines))
            raise Failed(f"exit code {done.returncode}: {reason[:300]}")
        return self.folder / "runs" / run, started


def stamp(entry):
    return datetime.datetime.fromisoformat(entry["time"].replace("Z", "+00:00")).timestamp()


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def step_ends(run):
    return {line["step"]: stamp(line) for line in lines_of(run / "metrics.jsonl")
            if line["type"] == "step"}


def mean_between(ends, first, last):
    # Stamps are of whole milliseconds: the mean over many steps is finer than each.
    return (ends[last] - ends[first]) / (last - first) * 1e3


class Lockstep:
    """Milliseconds of a step of a run, the data path included."""
    seconds = 6  # of a measurement, before it is known

    def __init__(self, lab, name, **how):
        self.lab, self.name, self.how, self.notes = lab, name, how, []

    def prepare(self):
        pass

    def measure(self):
        run, _ = self.lab.train(self.name, **self.how)
        ends = step_ends(run)
        # The last step's end waits for the last checkpoint.
        return mean_between(ends, self.lab.workloads[self.name].warmup, max(ends) - 1)

    def close(self):
        pass


class SavingLockstep(Lockstep):
    """The same with a checkpoint every so often, over a whole number of periods."""

    def __init__(self, lab, name):
        super().__init__(lab, name)
        self.usual = None  # milliseconds of a step without
        self.seconds = 2.6 * lab.save_seconds + 6

    def measure(self):
        usual = self.usual
        if usual is None:
            raise Failed("the run without checkpoints failed")
        period = self.lab.save_seconds
        run, _ = self.lab.train(
            self.name, steps=math.ceil((2.3 * period + 1) / usual * 1e3),
            checkpoint={"every_seconds": period})
        ends = step_ends(run)
        saves = sorted(event["step"] for event in lines_of(run / "events.jsonl")
                       if event["event"] == "checkpoint" and event["step"] < max(ends))
        if len(saves) < 2:
            raise Failed(f"{len(saves)} checkpoints within the run")
        apart = (ends[saves[-1]] - ends[saves[0]]) / (len(saves) - 1)
        self.notes = [f"checkpoints were {apart:.1f} s apart"]
        return mean_between(ends, saves[0], saves[-1])


class FirstLockstep(Lockstep):
    """Milliseconds from the command, as a user gives it, to the end of the first steps."""

    def measure(self):
        run, started = self.lab.train(self.name, command=("lockstep",), steps=FIRST_STEPS + 2)
        return (step_ends(run)[FIRST_STEPS] - started) * 1e3


class Peer:
    """A process of gpu_train.py, which stays while others are measured: it compiles once."""
    seconds = 5

    def __init__(self, lab, name, kind, compilers=1):
        self.lab, self.name, self.kind, self.notes = lab, name, kind, []
        self.process = self.ready = self.refused = None
        self.unread = b""
        # Nothing of an earlier run, nor of another contender.
        self.caches = tempfile.mkdtemp(prefix="caches-", dir=lab.folder)
        self.threads = max(2, (os.cpu_count() or 1) // compilers)

    def start(self):
        variables = {**os.environ, "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
                     "TORCHINDUCTOR_CACHE_DIR": self.caches, "TRITON_CACHE_DIR": self.caches,
                     "TORCHINDUCTOR_COMPILE_THREADS": str(self.threads)}
        if self.lab.dry:
            variables["OMP_NUM_THREADS"] = "1"  # more of them wait for each other on busy cores
        self.errors = open(pathlib.Path(self.caches) / "stderr", "w+")
        self.process = subprocess.Popen(
            [sys.executable, PEER, "--workload",
             json.dumps(dataclasses.asdict(self.lab.workloads[self.name])), "--kind", self.kind,
             "--device", self.lab.device, "--started", str(time.time()),
             "--first-steps", str(FIRST_STEPS if self.kind == "compiled" else 0)],
            env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)

    def answer(self, seconds):
        limit = time.monotonic() + seconds
        while True:
            *lines, self.unread = self.unread.split(b"\n")
            entry = next((json.loads(line) for line in lines if line.startswith(b"{")), None)
            if entry is not None:
                break
            place = self.process.stdout.fileno()
            if not select.select([place], [], [], max(0.0, limit - time.monotonic()))[0]:
                self.close()
                raise Failed(f"no answer in {max(0.0, seconds):.0f} s")
            read = os.read(place, 65536)
            self.unread += read
            if not read:
                self.errors.seek(0)
                said = self.errors.read().strip().splitlines()
                entry = {"error": said[-1] if said else "it ended without a word"}
                break
        if "error" in entry:
            self.close()
            raise Failed(entry["error"][:300])
        return entry

    def prepare(self):
        if self.process is None:
            self.start()
        if self.ready is None:
            self.ready = self.answer(self.lab.left() * PREPARE_SHARE)

    def measure(self):
        workload = self.lab.workloads[self.name]
        self.process.stdin.write(f"{workload.warmup} {workload.steps}\n".encode())
        self.process.stdin.flush()
        entry = self.answer(min(RUN_SECONDS, self.lab.left()))
        if entry["parts"] > 1:
            self.notes = [f"its batch in {entry['parts']} parts, for lack of memory"]
        return entry["ms"]

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class FirstPeer:
    """Milliseconds from the command to the end of the first steps: the start of a peer, once."""
    seconds = 0

    def __init__(self, peer):
        self.peer, self.notes = peer, []

    def prepare(self):
        pass

    def measure(self):
        if self.peer.ready is None:
            self.peer.prepare()
        return self.peer.ready["first_steps_seconds"] * 1e3

    def close(self):
        pass


@dataclasses.dataclass
class Figures:
    values: list = dataclasses.field(default_factory=list)  # milliseconds, one a turn
    failure: str = ""
    notes: list = dataclasses.field(default_factory=list)

    def median(self):
        return statistics.median(self.values) if self.values else None


def take_turn(lab, label, contender, figures):
    if figures.failure:
        return
    begin = time.monotonic()
    try:
        lab.require_time(contender.seconds)
        contender.prepare()
        figures.values.append(contender.measure())
        contender.seconds = time.monotonic() - begin
    except (Failed, OSError, ValueError, KeyError, subprocess.SubprocessError) as failure:
        figures.failure = str(failure) or type(failure).__name__
    figures.notes = contender.notes
    print(f"{label}: {figures.failure or f'{figures.values[-1]:.3f} ms'}, "
          f"{lab.left():.0f} s left", file=sys.stderr, flush=True)


def contenders_of(lab, rows, compilers):
    """workload -> role -> contender, of what the rows compare."""
    found = {}
    for row in rows:
        for name in row.workloads:
            roles = found.setdefault(name, {})
            for role in (row.ours, row.theirs):
                if role.startswith("first") or role in roles:
                    continue
                roles[role] = {
                    "lockstep": lambda: Lockstep(lab, name),
                    "fast": lambda: Lockstep(lab, name, train={"reduction": "fast"}),
                    "mpirun": lambda: Lockstep(lab, name,
                                               command=(*mpirun(), "lockstep-worker")),
                    "saving": lambda: SavingLockstep(lab, name),
                    "usual": lambda: Lockstep(lab, name),
                    "compiled": lambda: Peer(lab, name, "compiled", compilers),
                    "eager": lambda: Peer(lab, name, "eager"),
                }[role]()
    return found


def mpirun():
    # Debian's packages call it mpirun.openmpi until they are installed.
    program = shutil.which("mpirun") or shutil.which("mpirun.openmpi") or "mpirun"
    return program, "-n", "1", "--bind-to", "none"


def make_data(lab, names):
    running = {name: lab.start_data(name) for name in names}
    for name, process in running.items():
        try:
            _, errors = process.communicate(timeout=max(1, min(DATA_SECONDS, lab.left())))
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
            errors = f"not made in {DATA_SECONDS} s"
        if process.returncode != 0:
            lab.lacking[name] = f"no data: {errors.strip()[:300]}"


def measure_launch(lab, row, peer):
    """Role -> figures."""
    name = row.workloads[0]
    ours, theirs = FirstLockstep(lab, name), FirstPeer(peer)
    figures = {row.ours: Figures(), row.theirs: Figures()}
    for role, contender in ((row.ours, ours), (row.theirs, theirs), (row.ours, ours)):
        take_turn(lab, f"{name}, {role}", contender, figures[role])
    return figures


def measure(lab, rows):
    """workload -> role -> figures, and the peers' versions."""
    names = list(dict.fromkeys(name for row in rows for name in row.workloads))
    figures = {name: {} for name in names}
    contenders = contenders_of(lab, rows, max(1, len(names) - 1))
    launch = next((row for row in rows if row.key == "launch"), None)
    peers = [contender for roles in contenders.values() for contender in roles.values()
             if isinstance(contender, Peer)]
    try:
        if launch:
            # First, while nothing else goes on. Its peer stays for the other rows.
            name = launch.workloads[0]
            make_data(lab, [name])
            first = contenders[name].get("compiled")
            if first is None:
                first = Peer(lab, name, "compiled")
                peers.append(first)
            first.threads = os.cpu_count() or 1
            figures[name] = measure_launch(lab, launch, first)
            names.remove(name)
        for peer in peers:
            if peer.process is None:
                peer.start()
        make_data(lab, names)
        wait_for(lab, peers)
        for name, roles in contenders.items():
            figures[name].update(measure_workload(lab, name, roles))
        for name, roles in contenders.items():
            if "saving" in roles:  # last, since it takes longest
                figures[name].update(measure_saving(lab, name, roles, figures[name]))
    finally:
        for peer in peers:
            peer.close()
    return figures, next((peer.ready["versions"] for peer in peers if peer.ready), {})


def wait_for(lab, peers):
    """Until all have compiled, since compilers would disturb what is measured."""
    limit = time.monotonic() + lab.left() * PREPARE_SHARE
    for peer in peers:
        try:
            if peer.ready is None:
                peer.ready = peer.answer(limit - time.monotonic())
        except Failed as failure:
            peer.refused = f"not ready in time: {failure}"


def measure_saving(lab, name, roles, known):
    """Role -> figures."""
    figures = {"saving": Figures(), "usual": Figures()}
    usual = known["lockstep"].median() if "lockstep" in known else None
    if usual is None:
        take_turn(lab, f"{name}, usual", roles["usual"], figures["usual"])
    else:
        figures["usual"].values.append(usual)
    roles["saving"].usual = figures["usual"].median()
    for role in figures:
        take_turn(lab, f"{name}, {role}", roles[role], figures[role])
    return figures


def measure_workload(lab, name, roles):
    """Role -> figures."""
    turns = [role for role in roles if role not in ("saving", "usual")]
    figures = {role: Figures(failure=getattr(roles[role], "refused", None) or "")
               for role in turns}
    for number in range(lab.rounds):
        for role in turns if number % 2 == 0 else turns[::-1]:
            take_turn(lab, f"{name}, {role}", roles[role], figures[role])
    return figures


def shown(value, unit, workload):
    """Of milliseconds a step, in the row's unit."""
    if unit == "ms":
        return f"{value:.3f} ms"
    if unit == "s":
        return f"{value / 1e3:.2f} s"
    samples = workload.batch * (workload.shape[0] if unit == "tokens/s" else 1)
    return f"{samples / value * 1e3:,.0f} {unit}"


class Table:
    """Rows in Markdown, and footnotes that say why a figure is missing or how it came about."""

    def __init__(self, lab, figures):
        self.lab, self.figures, self.footnotes = lab, figures, []

    def mark(self, text):
        if text not in self.footnotes:
            self.footnotes.append(text)
        return f" [{self.footnotes.index(text) + 1}]"

    def cell(self, name, role, unit):
        found = self.figures[name][role]
        notes = [*found.notes, found.failure] if found.failure else found.notes
        marks = "".join(self.mark(note) for note in notes)
        value = found.median()
        return ("-" if value is None else shown(value, unit, self.lab.workloads[name])) + marks

    def ratios(self, row):
        """Of the medians, and the lowest of neighbouring turns; of several workloads the mean."""
        pairs = []
        for name in row.workloads:
            ours, theirs = (self.figures[name][role].values for role in (row.ours, row.theirs))
            if not ours or not theirs:
                return None
            middle = statistics.median(theirs) / statistics.median(ours)
            pairs.append((middle, min([middle, *(b / a for a, b in zip(ours[::-1], theirs[::-1]))])))
        return [math.exp(statistics.fmean(map(math.log, values))) for values in zip(*pairs)]

    def row(self, row):
        single = row.workloads[0] if len(row.workloads) == 1 else None
        what = ": ".join(filter(None, [self.lab.workloads[single].what if single else "", row.what]))
        ratios = self.ratios(row)
        met = ""
        if row.must is not None:
            met = "-" if ratios is None else (
                "aim" if ratios[1] >= row.aim else "must" if ratios[1] >= row.must else "no")
        missing = self.mark("one of them has no figure") if ratios is None and not single else ""
        cells = [what,
                 self.cell(single, row.ours, row.unit) if single else "",
                 row.against + (": " + self.cell(single, row.theirs, row.unit) if single else ""),
                 "-" + missing if ratios is None else f"{ratios[0]:.2f} ({ratios[1]:.2f})",
                 *("" if goal is None else f"{goal:g}" for goal in (row.must, row.aim)), met]
        return "| " + " | ".join(cells) + " |"

    def render(self, rows, versions):
        gpt2 = self.lab.workloads["gpt2"]
        lines = [f"# Lockstep and PyTorch on {versions.get('device', 'one GPU')}", "",
                 ", ".join([f"{datetime.date.today()}", *(
                     f"{name} {value}" for name, value in {**versions, **machine()}.items()
                     if name != "device")]) + ".", "",
                 "| workload | Lockstep | peer | ratio (lowest) | must | aim | met |",
                 "| --- | --- | --- | --- | --- | --- | --- |",
                 *(self.row(row) for row in rows), "",
                 "Ratios are speeds: above 1 Lockstep is the faster one. Figures are medians of "
                 f"{self.lab.rounds} turns or more, in A B B A order; the lowest ratio is that of "
                 "neighbouring turns and decides what is met. Lockstep's figures are end to end, "
                 "with its data path, invariant unless said; PyTorch's are by CUDA events, of "
                 "batches in pinned memory, with fused optimizers and channels_last. f32 is f32 on "
                 "both sides, TF32 off. GPT-2's vocabulary is padded to 50,304; Lockstep computes "
                 f"its {gpt2.batch} samples in micro-batches of {gpt2.micro_batch}."]
        if self.lab.dry:
            lines += ["", "A dry run with tiny sizes on a CPU: its figures mean nothing."]
        if self.footnotes:
            lines += ["", *(f"[{number}] {text}  "
                            for number, text in enumerate(self.footnotes, start=1))]
        return "\n".join(lines) + "\n"


def machine():
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,clocks.sm,power.limit",
                               "--format=csv,noheader"], capture_output=True, text=True, timeout=20)
    except OSError:
        return {}
    return {"driver, clock, power limit": done.stdout.strip()} if done.returncode == 0 else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--rows", default=",".join(KEYS), help="of " + ",".join(KEYS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=200, help="for all of it")
    parser.add_argument("--gpt2-micro-batch", type=int, default=0, help="of Lockstep; 0 = 16")
    parser.add_argument("--dry-run", action="store_true",
                        help="tiny sizes on the CPU: shows that every row can be made")
    options = parser.parse_args()
    for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
        os.environ.setdefault(name, "1")
    keys = options.rows.split(",")
    unknown = [key for key in keys if key not in KEYS]
    if unknown:
        sys.exit(f"bench: rows {', '.join(unknown)} are unknown ({', '.join(KEYS)} exist)")
    rows = [row for row in ROWS if row.key in keys]

    with tempfile.TemporaryDirectory() as name:
        lab = Lab(options, pathlib.Path(name))
        figures, versions = measure(lab, rows)
        table = Table(lab, figures)
        options.output.write_text(table.render(rows, versions))
    if options.dry_run and any(found.failure for roles in figures.values()
                               for found in roles.values()):
        sys.exit("bench: a contender failed:\n" + "\n".join(table.footnotes))


if __name__ == "__main__":
    main()
