"""The parts of the benchmark that are not about steps: sums over ranks, and memory of a rank."""

import json
import math
import os
import pathlib
import subprocess
import sys
import time

SIZES = [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20]
# Open MPI's tuned algorithms for all-reduce: basic linear, non-overlapping, recursive doubling,
# ring, segmented ring, Rabenseifner. 0 lets it choose.
MPI_ALGORITHMS = range(0, 7)
GLOO = pathlib.Path(__file__).resolve().parent / "peers/gloo_sum.py"


def measure_sums(bench, folder, _):
    """Seconds by size of Lockstep's way, MPI_Allreduce (the best of its algorithms), and gloo."""
    best = {"lockstep": {}, "mpi": {}, "gloo": {}}

    def keep(kind, size, seconds):
        best[kind].setdefault(size, []).append(seconds)

    sizes = ",".join(map(str, SIZES))
    for _ in range(2):
        mpi = {size: [] for size in SIZES}
        for algorithm in MPI_ALGORITHMS:
            variables = {**bench.MPI, "OMPI_MCA_coll_tuned_use_dynamic_rules": "1",
                         "OMPI_MCA_coll_tuned_allreduce_algorithm": str(algorithm)}
            bench.wait_for_quiet(20)
            rows = json.loads(bench.run([*bench.mpirun(), bench.WORKER, "bench-comm", "--json",
                                         "--sizes", sizes], 1, variables, folder))
            for row in rows:
                if not row["right"]:
                    sys.exit(f"a wrong sum: {row}")
                seconds = row["microseconds"] / 1e6
                if row["algorithm"] == "node memory":
                    keep("lockstep", row["bytes"], seconds)
                else:
                    mpi[row["bytes"]].append(seconds)
        for size in SIZES:
            keep("mpi", size, min(mpi[size]))
        bench.wait_for_quiet(20)
        output = bench.run([sys.executable, "-m", "torch.distributed.run", "--standalone",
                            "--nproc-per-node", bench.RANKS, GLOO, "--sizes", sizes], 1,
                           bench.MALLOC, folder)
        line = next(line for line in output.splitlines() if line.startswith("{"))
        for size, seconds in json.loads(line).items():
            keep("gloo", int(size), seconds)
        print("  sums: one round done", flush=True)
    # Keys as JSON has them: what an earlier run left is rendered again.
    return {kind: {str(size): sorted(values)[len(values) // 2] for size, values in by_size.items()}
            for kind, by_size in best.items()}


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def render_sums(result, _):
    lines = ["## Sums over 2 ranks of a node", "",
             "f32, every rank gets the sum. Lockstep: each rank's array lies in node memory, as a "
             "step's gradients do; MPI_Allreduce and gloo in place, MPI with the best of its tuned "
             "algorithms at each size.", "",
             "| size | Lockstep | MPI_Allreduce | gloo |", "| --- | --- | --- | --- |"]
    for size in SIZES:
        row = [f"{size >> 10} KiB", *(f"{result[kind][str(size)] * 1e6:,.1f} us"
                                      for kind in ("lockstep", "mpi", "gloo"))]
        lines.append(f"| {' | '.join(row)} |")
    for kind, name in (("mpi", "MPI_Allreduce"), ("gloo", "gloo")):
        ratio = geometric_mean([seconds / result[kind][size]
                                for size, seconds in result["lockstep"].items()])
        lines += ["", f"Geometric mean of time / {name}'s: {ratio:.3f}."]
    return lines


def proportional_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def descendants(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def peak_memory(command, variables, folder, is_worker, ranks):
    """Bytes of all workers together, shared pages counted once, while they train."""
    process = subprocess.Popen([str(word) for word in command], cwd=folder, env=variables,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        try:
            workers = [pid for pid in descendants(process.pid) if is_worker(pid)]
            if len(workers) == ranks:
                most = max(most, sum(proportional_bytes(pid) for pid in workers))
        except (OSError, ProcessLookupError):
            pass
        time.sleep(0.1)
    if process.returncode != 0 or most == 0:
        sys.exit(f"{' '.join(map(str, command))} exited {process.returncode}")
    return most


def measure_memory(bench, folder, _):
    """What one more rank costs: three ranks against two, the small mlp."""
    contest = bench.Contest("mlp", folder, False)

    def named(name):
        def check(pid):
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return any(word.endswith(name) for word in words[:3])
        return check

    def lockstep(ranks):
        name = contest.write_config(6 * 32, 6, "invariant")
        return peak_memory([*bench.mpirun(ranks), bench.WORKER, "train", f"{name}.yaml"],
                           bench.environment(1, bench.MPI), folder, named(b"lockstep-worker"),
                           ranks)

    def ddp(ranks):
        return peak_memory(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
             ranks, bench.PEER, "--exchange", "ddp", "--model", "mlp", "--data", folder, "--batch",
             64, "--steps", 300, "--warmup", 40], bench.environment(1, bench.MALLOC), folder,
            lambda pid: named(b"ddp_train.py")(pid) and b"torch.distributed.run"
            not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes(), ranks)

    result = {"lockstep": lockstep(3) - lockstep(2), "ddp": ddp(3) - ddp(2)}
    print(f"  memory: {result}", flush=True)
    return result


def render_memory(result, _):
    ours, theirs = result["lockstep"], result["ddp"]
    return ["## Memory of one more rank", "",
            f"MLP 784-512-512-10, three ranks against two, shared pages counted once: Lockstep "
            f"{ours / 2**20:.0f} MiB, a worker of torchrun {theirs / 2**20:.0f} MiB: "
            f"{ours / theirs:.2f} of it. Optimizer state exists once in the whole job and "
            "parameters once a node."]
