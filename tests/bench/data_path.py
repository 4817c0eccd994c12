"""The part `data` of the benchmark: rows of HDF5 files made into float batches, by Lockstep and by
those who do the same with h5py, numpy and torch's DataLoader. See README.md beside this file."""

import ctypes
import importlib.util
import json
import mmap
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np

PEER = pathlib.Path(__file__).resolve().parent / "peers/h5py_read.py"
EPOCHS = 4  # of an order file; one more goes into the checksum
BLOCK, WINDOW = 64, 64  # samples of a block, blocks that are shuffled together
QUICK = 16  # so much smaller are the files of a quick look
ALL_CHUNKS = 512 << 20  # a cache that holds every decoded row
MEMORY_BUDGET = 64 << 20
# Models of which a step is timed with its loader and without, and the timed steps of a block of
# some 200 ms. The learning rate is so small that the resident batch is not learned by heart: its
# gradients would become denormal numbers, which are slow.
TRAINED = {"mlp": ("MLP 784-512-512-10", "{name: mlp, hidden: [512, 512]}", 20),
           "cnn": ("CNN 28x28 conv32-conv64-fc128-10", "{name: cnn}", 4)}
TRAINED_ROWS = 60_000
SETTLED_SECONDS = 4  # older files' chunk indexes are kept

# About 256 MiB each. The first numbers are the rows.
FILES = {
    "1k": (262_144, "--features", 256),
    "784": (327_680, "--shape", "1,28,28"),
    "12k": (21_504, "--features", 3072),
    "deflate": (262_144, "--features", 256, "--chunk-rows", BLOCK, "--deflate", 4),
    "chunks": (262_144, "--features", 256, "--chunk-rows", 8),
}


class Contender(NamedTuple):
    label: str
    words: tuple  # of its command, after the file
    part: int = 1  # a slow one reads this fraction of each epoch
    epochs: int = EPOCHS


class Ratio(NamedTuple):
    ours: str
    peer: str
    target: float = None  # none: shown beside the others
    aim: float = None


class Contest(NamedTuple):
    what: str
    file: str
    order: str
    batch: int
    skip: int  # epochs that are not counted
    own: dict  # name: Contender
    peers: dict  # name: the contenders of which the fastest is taken
    ratios: tuple
    cold: bool = False  # the file is out of the page cache before each run


def h5py_ways(part, epochs=2, more=()):
    """Every way of reading shuffled rows with h5py; the DataLoader's need torch."""
    batches = Contender("sorted rows, a batch a call", ("--way", "batches", *more), part, epochs)
    rows = Contender("a row a call", ("--way", "rows", *more), part, epochs)
    loaders = [Contender(f"DataLoader, {kind}, {workers} workers",
                         ("--way", way, "--workers", workers, *more), part, epochs)
               for way, kind in (("loader-batches", "sorted rows, a batch an item"),
                                 ("loader-rows", "a row an item"))
               for workers in (0, 2)]
    return [batches, rows, *loaders]


TRAIN = Contender("Lockstep, through its loader", ("train",))
DECODING = Contender("Lockstep, through its loader, one decoding thread beside the reader",
                     ("train", "--decode-threads", 1))
SOURCE = Contender("Lockstep, one reader thread", ("source",))
GATHER = Contender("C gather by hand", ("gather",))
MEMMAPS = [Contender("fancy index", ("--way", "memmap")),
           Contender("take into the same memory", ("--way", "memmap-take"))]


def contiguous(what, file, batch):
    return Contest(f"exact shuffle, contiguous, {what}", file, "exact", batch, 1,
                   {"train": TRAIN, "source": SOURCE},
                   {"h5py": h5py_ways(4), "memmap": MEMMAPS, "gather": [GATHER]},
                   (Ratio("train", "h5py", 20, 60), Ratio("train", "memmap", 2.0, 3.5),
                    Ratio("source", "gather", 0.85, 0.95), Ratio("train", "gather", 0.85, 0.95)))


def first_epoch(contender):
    return contender._replace(epochs=1)


CONTESTS = {
    "exact-1k": contiguous("1 KiB rows f32", "1k", 256),
    "exact-784": contiguous("784-byte images u8", "784", 256),
    "exact-12k": contiguous("12 KiB rows f32", "12k", 64),
    "deflate-sequential": Contest(
        "sequential, deflate + shuffle, first epoch", "deflate", "sequential", 256, 0,
        {"train": first_epoch(DECODING), "alone": first_epoch(TRAIN)},
        {"h5py": [Contender("slices", ("--way", "slices"), 1, 1)],
         "h5py-2": [Contender("DataLoader, slices, 2 workers",
                              ("--way", "loader-batches", "--workers", 2), 1, 1)]},
        (Ratio("train", "h5py", 2.0, 3.5), Ratio("alone", "h5py"), Ratio("train", "h5py-2"))),
    "deflate-exact": Contest(
        "exact shuffle, deflate + shuffle, fits in memory, second epoch on", "deflate", "exact",
        256, 1, {"train": TRAIN._replace(words=("train", "--cache", ALL_CHUNKS))},
        {"h5py": h5py_ways(32),
         "h5py-cache": h5py_ways(1, 2, ("--chunk-cache", ALL_CHUNKS))[:4]},
        (Ratio("train", "h5py", 50, 200), Ratio("train", "h5py-cache", 8, 25))),
    "deflate-block": Contest(
        "block shuffle, deflate + shuffle, first epoch", "deflate", "block", 256, 0,
        {"train": first_epoch(DECODING), "alone": first_epoch(TRAIN)},
        {"h5py": [Contender("the chunks of each window once, the same order",
                            ("--way", "windows", "--window", BLOCK * WINDOW), 1, 1)]},
        (Ratio("train", "h5py", 2.0, 3.5), Ratio("alone", "h5py"))),
    "cold": Contest(
        "cold, sequential, contiguous, 1 KiB rows f32", "1k", "sequential", 256, 0,
        {"train": first_epoch(TRAIN)}, {"dd": [Contender("dd bs=1M of=/dev/null", ("dd",))]},
        (Ratio("train", "dd", 0.8, 0.95),), cold=True),
}
OTHERS = ["training", "index", "stats", "memory"]
ENTRIES = [*CONTESTS, *OTHERS]
PEERS = {"h5py": "h5py", "memmap": "numpy.memmap", "gather": "raw C", "dd": "dd",
         "h5py-2": "h5py in 2 processes", "h5py-cache": "h5py with all chunks in its cache"}


class Bench:
    """The files, and a way to run each contender once."""

    def __init__(self, harness, options, folder):
        self.harness, self.options, self.folder = harness, options, folder
        self.shrink = QUICK if options.quick else 1
        self.program = harness.DATA_BENCH
        self.has_torch = importlib.util.find_spec("torch") is not None

    def json(self, *command):
        """What it printed. One thread each: who wants two starts two processes."""
        output = self.harness.run(command, 1, self.harness.MALLOC, self.folder)
        return json.loads(next(line for line in output.splitlines() if line.startswith("{")))

    def peer(self, *words):
        return self.json(sys.executable, PEER, *words)

    def rows(self, file):
        return FILES[file][0] // self.shrink

    def file(self, name):
        path = self.folder / f"{name}.h5"
        if not path.exists():
            self.harness.run([self.harness.LOCKSTEP, "data", "synth", "classification", "--rows",
                              self.rows(name), *FILES[name][1:], "--classes", 10, "--output", path],
                             1, {}, self.folder)
        return path


    def figure(self, what, unit, values, target, aim=None):
        """One that should be small: its median, and the high end of its interval."""
        _, high = self.harness.interval_of_median(values, np.random.default_rng(1))
        return {"what": what, "unit": unit, "found": statistics.median(values), "high": high,
                "target": target, "aim": aim}


class StaysCached(Exception):
    pass


def leave_page_cache(path):
    """Throws StaysCached when the file does not leave it: then nothing cold is measured."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            bytes_of = np.frombuffer(memory, np.uint8)
            pages = np.zeros(-(-len(memory) // mmap.PAGESIZE), np.uint8)
            code = ctypes.CDLL(None).mincore(ctypes.c_void_p(bytes_of.ctypes.data),
                                             ctypes.c_size_t(len(memory)),
                                             ctypes.c_void_p(pages.ctypes.data))
            del bytes_of
    if code != 0 or (pages & 1).mean() > 0.01:
        raise StaysCached("the file cannot be brought out of the page cache here")


class Race:
    """One contest."""

    def __init__(self, bench, contest):
        self.bench, self.contest = bench, contest
        self.path = bench.file(contest.file)
        self.rows = bench.rows(contest.file)
        self.verify = ["--verify", self.rows // 32]
        self.reading = ["--order", contest.order, "--batch", contest.batch, "--block", BLOCK,
                        "--window", WINDOW]
        self.order = bench.folder / "order"
        bench.json(bench.program, "order", self.path, *self.reading, "--epochs", EPOCHS + 1,
                   "--output", self.order)
        self.checksums = {}

    def run(self, contender):
        """Seconds of a sample, and bytes of ready batches a second."""
        if self.contest.cold:
            leave_page_cache(self.path)
        mode, *words = contender.words
        if mode == "dd":
            return self.copy_to_nowhere()
        if mode.startswith("--"):
            found = self.bench.peer("read", self.path, *contender.words, "--order", self.order,
                                    "--batch", self.contest.batch, "--epochs", contender.epochs,
                                    "--samples", self.rows // contender.part, *self.verify)
        else:
            if mode == "gather":
                at = self.bench.peer("offsets", self.path)
                words = ["--inputs-offset", at["x"], "--targets-offset", at["y"]]
            found = self.bench.json(self.bench.program, mode, self.path, *self.reading, "--epochs",
                                    contender.epochs, *self.verify, "--verify-epoch", EPOCHS,
                                    *words)
        self.checksums[contender.label] = found["checksum"]
        seconds = statistics.median(found["seconds"][self.contest.skip:])
        return {"sample_seconds": seconds / found["samples"],
                "bytes_per_second": found["bytes"] / seconds}

    def copy_to_nowhere(self):
        done = subprocess.run(["dd", f"if={self.path}", "of=/dev/null", "bs=1M"], text=True,
                              capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"})
        # 268435456 bytes (268 MB, 256 MiB) copied, 0.1 s, 2.7 GB/s
        line = done.stderr.splitlines()[-1]
        size, seconds = int(line.split()[0]), float(line.split(", ")[-2].split()[0])
        return {"sample_seconds": seconds / self.rows, "bytes_per_second": size / seconds}

    def fastest(self, contenders, tried):
        """By one run each; all that were run go into `tried`."""
        usable = [one for one in contenders
                  if self.bench.has_torch or not one.words[1:2] or "loader" not in one.words[1]]
        if len(usable) < 2:
            return usable[0] if usable else None
        rates = [self.told(one)["bytes_per_second"] for one in usable]
        tried += [f"{one.label} {megabytes(rate)}" for one, rate in zip(usable, rates)]
        return usable[rates.index(max(rates))]

    def told(self, contender):
        result = self.run(contender)
        print(f"    {contender.label}: {megabytes(result['bytes_per_second'])}", flush=True)
        return result

    def measure(self, rounds):
        harness, contest, tried = self.bench.harness, self.contest, []
        ways = {**{name: [one] for name, one in contest.own.items()}, **contest.peers}
        chosen = {name: self.fastest(some, tried) for name, some in ways.items()}
        chosen = {name: one for name, one in chosen.items() if one}
        results, loud = harness.interleave(chosen, rounds, self.bench.options.quiet_wait,
                                           lambda name, _: self.told(chosen[name]))
        if len(set(self.checksums.values())) != 1:
            sys.exit(f"{contest.what}: not all read the same samples: {self.checksums}")
        random = np.random.default_rng(1)
        return {"loud_starts": loud, "tried": tried,
                "labels": {name: one.label for name, one in chosen.items()},
                "rates": {name: statistics.median(run["bytes_per_second"] for run in runs)
                          for name, runs in results.items()},
                "ratios": [{**ratio._asdict(), **harness.compare(results, ratio.ours, ratio.peer,
                                                                 random, "sample_seconds")}
                           for ratio in contest.ratios if ratio.peer in chosen],
                "runs": results}


def statistics_agree(ours, theirs):
    column = next(one for one in ours["columns"] if one["name"] == "x")
    moved = sum(abs(a - b) for a, b in zip(column["histogram"]["counts"], theirs["histogram"]))
    return (column["min"] == theirs["min"] and column["max"] == theirs["max"]
            and abs(column["mean"] - theirs["mean"]) < 1e-9 * theirs["std"]
            and abs(column["std"] - theirs["std"]) < 1e-9 * theirs["std"]
            # A value at an edge of two bins may be rounded into either.
            and moved <= 1e-5 * column["elements"])


def measure_stats(bench, rounds):
    """`lockstep data stats` as a whole command; numpy without its start and imports."""
    harness, path = bench.harness, bench.file("1k")
    command = [harness.LOCKSTEP, "data", "stats", path, "--columns", "x", "--threads", 2, "--json",
               "--no-cache"]
    asked = subprocess.run([harness.LOCKSTEP, "data", "stats", "--help"], capture_output=True)
    if asked.returncode != 0:
        return {"skipped": "this build has no 'lockstep data stats'"}
    found = {}

    def run(name, _):
        if name == "stats":
            begin = time.perf_counter()
            found[name] = json.loads(harness.run(command, 1, {}, bench.folder))
            seconds = time.perf_counter() - begin
        else:
            answer = bench.peer("stats", path)
            found[name], seconds = answer["result"], answer["seconds"]
        rate = path.stat().st_size / seconds
        print(f"    {name}: {megabytes(rate)}", flush=True)
        return {"sample_seconds": seconds, "bytes_per_second": rate}

    results, loud = harness.interleave(["stats", "numpy"], rounds, bench.options.quiet_wait, run)
    if not statistics_agree(found["stats"], found["numpy"]):
        sys.exit(f"the statistics differ: {found}")
    ratio = harness.compare(results, "stats", "numpy", np.random.default_rng(1), "sample_seconds")
    return {"loud_starts": loud, "tried": [],
            "labels": {"stats": "data stats, 2 threads",
                       "numpy": "numpy over h5py, 2 processes"},
            "rates": {name: statistics.median(run["bytes_per_second"] for run in runs)
                      for name, runs in results.items()},
            "ratios": [{**Ratio("stats", "numpy", 1.5, 3)._asdict(), **ratio}], "runs": results}


def measure_index(bench, rounds):
    """Opening a file to its first row, with the index of its chunks learned or known."""
    path, known = bench.file("chunks"), bench.folder / "indexes"
    time.sleep(max(0, path.stat().st_mtime + SETTLED_SECONDS - time.time()))

    def open_it(*more):
        return bench.json(bench.program, "index", path, *more)

    chunks = open_it("--cache-directory", known)["chunks"]
    if not any(known.iterdir()):
        sys.exit(f"no index of '{path}' was kept in '{known}'")
    results, loud = bench.harness.interleave(
        {"learned": [], "known": ["--cache-directory", known]}, rounds, bench.options.quiet_wait,
        lambda name, _: open_it(*(["--cache-directory", known] if name == "known" else [])))
    return {"loud_starts": loud, "runs": results, "figures": [
        bench.figure(f"opened to the first row, {chunks:,} chunks, nothing known", "s",
                     [run["seconds"] for run in results["learned"]], 2, 0.5),
        bench.figure("the same again, the index in its folder", "s",
                     [run["seconds"] for run in results["known"]], 0.020, 0.005)]}


def measure_training(bench, rounds):
    """A step with its loader over the same step with one resident batch, in one process."""
    harness, program, figures, runs, loud = bench.harness, bench.harness.STEP_BENCH, [], {}, 0
    if not program.exists():
        return {"skipped": "this build has no trainer"}
    path = bench.folder / "images.h5"
    harness.run([harness.LOCKSTEP, "data", "synth", "classification", "--rows",
                 TRAINED_ROWS // bench.shrink, "--shape", "1,28,28", "--classes", 10, "--output",
                 path], 1, {}, bench.folder)
    for name, (what, model, steps) in TRAINED.items():
        config = bench.folder / f"{name}.yaml"
        config.write_text(f"""
model: {model}
data: {{train: {path}}}
train:
  epochs: 1
  global_batch: 256
  micro_batch: 32
  optimizer: {{name: adamw, lr: 1e-6}}
compute: {{threads: 1, device: cpu}}
""")
        found = {"loader": [], "resident": [], "waited": []}
        for number in range(rounds):
            loud += not harness.wait_for_quiet(bench.options.quiet_wait)
            run = bench.json(program, config, "--rounds", 2 if bench.options.quick else 10,
                             "--steps", 2 if bench.options.quick else steps)
            for key, values in run.items():
                found[key] += values
            print(f"    {name} {number + 1}/{rounds}: {statistics.median(run['loader']) * 1e3:.3g}"
                  f" ms a step, {statistics.median(run['resident']) * 1e3:.3g} ms without a loader",
                  flush=True)
        runs[name] = found
        times = {key: statistics.median(values) * 1e3 for key, values in found.items()}
        figure = bench.figure(
            f"step with the loader / with one resident batch, {what}, 1 rank, 8 micro-batches of "
            f"32 ({times['loader']:.3g} ms a step, {times['waited']:.2g} ms of it waiting)", "",
            [a / b for a, b in zip(found["loader"], found["resident"])], 1.05, 1.01)
        again = [later / earlier for key in ("loader", "resident")
                 for earlier, later in zip(found[key][0::2], found[key][1::2])]
        low, high = harness.interval_of_median(again, np.random.default_rng(1))
        figures.append({**figure, "control": [low, high],
                        "measurable": harness.is_quiet_enough(low, high)})
    return {"loud_starts": loud, "runs": runs, "figures": figures}


def measure_memory(bench, _):
    """What reading takes beyond the memory that it was given: one run of each order."""
    path, figures = bench.file("deflate"), []
    for order in ("exact", "block"):
        run = bench.json(bench.program, "memory", path, "--order", order, "--epochs", 1, "--cache",
                         MEMORY_BUDGET // bench.shrink, "--block", BLOCK, "--window",
                         WINDOW // bench.shrink)
        share = run["growth"] / (run["cache"] + run["batches"]) - 1
        figures.append(bench.figure(
            f"memory beyond {run['cache'] / 2**20:.0f} MiB of cache and the batches, {order} "
            f"shuffle of {bench.rows('deflate') >> 10} MiB ({run['opened'] / 2**20:.1f} MiB when "
            "the file was opened)", "%", [100 * share], 5))
    return {"loud_starts": 0, "figures": figures}


def measure(harness, folder, options):
    bench = Bench(harness, options, folder)
    rounds = options.rounds or (1 if options.quick else 4)
    if not bench.has_torch and not options.quick:
        sys.exit("torch is missing (its DataLoader is one of the peers); "
                 "run './bootstrap.sh bench'")
    entries = {}
    for name in harness.names(options.contests, ENTRIES):
        print(f"  {name}", flush=True)
        try:
            if name in CONTESTS:
                entries[name] = Race(bench, CONTESTS[name]).measure(rounds)
            else:
                entries[name] = {"training": measure_training, "index": measure_index,
                                 "stats": measure_stats, "memory": measure_memory}[name](bench,
                                                                                         rounds)
        except StaysCached as problem:
            entries[name] = {"skipped": str(problem)}
        entries[name]["commit"] = harness.commit()
    return {"versions": versions(), "entries": entries}


def versions():
    import h5py
    return {"h5py": h5py.__version__, "HDF5": h5py.version.hdf5_version, "numpy": np.__version__}


def keep_older(older, newer):
    """The entries of both, the newer ones where there are two."""
    entries = {**older["entries"], **newer["entries"]}
    return {**newer, "entries": {name: entries[name] for name in ENTRIES if name in entries}}


def megabytes(rate):
    return f"{rate / 1e6:,.0f} MB/s"


def goal(target, aim, unit=""):
    if target is None:
        return ""
    return f"{target:g}{unit}" + (f" ({aim:g}{unit})" if aim is not None else "")


def verdict(holds, reaches):
    return "yes, and the aim" if reaches else "yes" if holds else "no"


def render_ratio(name, entry, ratio, cell):
    ours, peer = ratio["ours"], ratio["peer"]
    holds = "" if ratio["target"] is None else "?" if not ratio["measurable"] else verdict(
        ratio["low"] >= ratio["target"], ratio["low"] >= ratio["aim"])
    what = CONTESTS[name].what if name in CONTESTS else "statistics of the same file"
    row = [what, entry["labels"][ours], megabytes(entry["rates"][ours]),
           f"{PEERS.get(peer, peer)}: {entry['labels'][peer]}", megabytes(entry["rates"][peer]),
           cell(ratio), goal(ratio["target"], ratio["aim"]), holds]
    return f"| {' | '.join(row)} |"


def render_figure(figure):
    scale, unit, digits = {"s": (1e3, " ms", 3), "%": (1, " %", 3), "": (1, "", 4)}[figure["unit"]]
    target, aim = (None if goal_ is None else goal_ * scale
                   for goal_ in (figure["target"], figure["aim"]))
    holds = verdict(figure["high"] <= figure["target"],
                    figure["aim"] is not None and figure["high"] <= figure["aim"])
    found = f"{figure['found'] * scale:.{digits}g}{unit}"
    if not figure.get("measurable", True):
        low, high = figure["control"]
        found, holds = f"not measurable now (control {low:.2f}..{high:.2f}; {found})", "?"
    row = [figure["what"], found, f"{figure['high'] * scale:.{digits}g}{unit}",
           goal(target, aim, unit), holds]
    return f"| {' | '.join(row)} |"


def render(result, cell):
    entries = result["entries"]
    lines = ["## HDF5 files into float batches", "",
             f"h5py {result['versions']['h5py']} with HDF5 {result['versions']['HDF5']}, numpy "
             f"{result['versions']['numpy']}. Files of about 256 MiB, warm page cache unless it "
             "says cold, every run a new process. Lockstep's loader has one reader thread beside "
             "the caller, its values are checked, its wall time is counted whole. All contenders "
             "fill f32 batches (bytes divided by 255) and classes, and were found to give the same "
             "bits in the same order. MB/s are of ready batches. Where several ways of a peer were "
             "tried, the fastest of one run each went on.", "",
             "| | Lockstep | | peer | | its time / Lockstep's | target (aim) | holds |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for name, entry in entries.items():
        lines += [render_ratio(name, entry, ratio, cell) for ratio in entry.get("ratios", [])]
    figures = [figure for entry in entries.values() for figure in entry.get("figures", [])]
    if figures:
        lines += ["", "| | found | at most | target (aim) | holds |",
                  "| --- | --- | --- | --- | --- |", *map(render_figure, figures)]
    lines.append("")
    for name, entry in entries.items():
        if "skipped" in entry:
            lines.append(f"- {name}: not measurable here: {entry['skipped']}")
        else:
            tried = "; tried: " + ", ".join(entry["tried"]) if entry.get("tried") else ""
            lines.append(f"- {name}: commit {entry['commit']}; {entry['loud_starts']} runs started "
                         f"on a machine that did not become quiet{tried}")
    return lines
