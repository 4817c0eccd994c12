"""The part `recovery` of the benchmark: how long after the death of a rank all ranks have taken
their next step, here and under torchrun, and how many steps are computed again.
See README.md beside this file."""

import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import time

PEER = pathlib.Path(__file__).resolve().parent / "peers/ddp_elastic.py"
CONFIG = """
model: {name: mlp, hidden: [512, 512]}
data:  {train: train.h5}
train: {steps: 1000000, global_batch: 128, micro_batch: 16, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 500, every_epochs: 0, keep: 2}
launch: {restarts: 1000}
log: {metrics_every_steps: 0}
"""
# Steps of about 50 ms, and a kill a minute on average.
USEFUL_BATCH, USEFUL_SECONDS, USEFUL_SAVE_SECONDS, KILLS_OF_USEFUL = 2560, 600, 30, 10
USEFUL_CONFIG = CONFIG.replace("global_batch: 128, micro_batch: 16",
                               f"global_batch: {USEFUL_BATCH}, micro_batch: 64").replace(
    "every_steps: 500", f"every_seconds: {USEFUL_SAVE_SECONDS}")
MPI_ENVIRONMENT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
KILLS = 6
PATIENCE_SECONDS = 30
MOST_RATIO, MOST_SECONDS, MOST_AGAIN = 0.2, 2.5, 1
LEAST_USEFUL, LEAST_ABOVE = 0.93, 0.15


def wait_for(condition, what, pause=0.002):
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(pause)


def children_of(pid):
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            yield int(entry)
            yield from children_of(int(entry))


def workers_under(pid):
    found = []
    for child in children_of(pid):
        try:
            words = pathlib.Path(f"/proc/{child}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if words[0].endswith("lockstep-worker"):
            found.append(child)
    return sorted(found)


class Tail:
    """The step of the newest whole line of a growing file."""

    def __init__(self, path, step_of):
        self.path, self.step_of = path, step_of

    def newest(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 4096))
                lines = file.read().split(b"\n")[:-1]
        except OSError:
            return 0
        for line in reversed(lines):
            step = self.step_of(line)
            if step is not None:
                return step
        return 0


def ledger_step(line):
    try:
        return json.loads(line).get("step")
    except ValueError:
        return None


class OwnRun:
    """`lockstep train` on two ranks."""

    def __init__(self, harness, folder, config, name):
        self.run = folder / "runs" / name
        self.process = subprocess.Popen(
            [harness.LOCKSTEP, "train", config, "--ranks", "2", "--name", name],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **MPI_ENVIRONMENT})
        self.ledger = Tail(self.run / "ledger.jsonl", ledger_step)

    def newest(self):
        return self.ledger.newest()

    def victim(self, rank):
        """The rank's process, or None while there is none."""
        return dict(enumerate(workers_under(self.process.pid))).get(rank)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_SECONDS)

    def repeated(self):
        """Steps that were computed again, after each failure."""
        events = [json.loads(line)
                  for line in (self.run / "events.jsonl").read_text().splitlines()]
        failed = [event["step"] for event in events if event["event"] == "failure"]
        resumed = [event["step"] for event in events if event["event"] == "resume"]
        return [max(0, at - back) for at, back in zip(failed, resumed)]


class PeerRun:
    """DistributedDataParallel under torchrun; goes on from the folder's checkpoint."""

    def __init__(self, folder, *words):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
             "--max-restarts", "1000", "--master-addr", "127.0.0.1", "--master-port",
             str(random.randint(20000, 30000)), PEER, "--folder", folder, "--steps", "1000000",
             *words],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"})
        self.steps = Tail(folder / "steps-0.txt", lambda line: int(line.split()[0]))

    @staticmethod
    def forget(folder):
        for old in folder.glob("steps-*.txt"):
            old.unlink()
        (folder / "checkpoint.pt").unlink(missing_ok=True)

    def newest(self):
        return self.steps.newest()

    def victim(self, rank):
        pid = (self.folder / f"pid-{rank}.txt").read_text()
        return int(pid) if pid and pathlib.Path(f"/proc/{pid}").exists() else None

    def end(self):
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)


class Bench:
    def __init__(self, harness, folder, options):
        self.harness, self.folder, self.options = harness, folder, options
        harness.make_images(folder)
        (folder / "recovery.yaml").write_text(CONFIG)
        (folder / "useful.yaml").write_text(USEFUL_CONFIG)
        self.runs = 0

    def start(self, config):
        self.runs += 1
        return OwnRun(self.harness, self.folder, config, f"kills-{self.runs}")

    def own(self, kills):
        """Kills one of two ranks again and again; returns seconds and repeated steps of each."""
        run = self.start("recovery.yaml")
        seconds = []
        try:
            wait_for(lambda: run.newest() > 600, "the first steps")
            for kill in range(kills):
                time.sleep(0.3 + random.random())
                victim = wait_for(lambda: run.victim(kill % 2), "ranks")
                killed = time.time()
                os.kill(victim, signal.SIGKILL)
                time.sleep(0.02)  # steps that were under way
                before = run.newest()
                wait_for(lambda: run.newest() > before, "the next step")
                seconds.append(time.time() - killed)
        finally:
            run.end()
        return seconds, run.repeated()

    def peer(self, kills):
        PeerRun.forget(self.folder)
        run = PeerRun(self.folder, "--save-every", "500")
        tails = [Tail(self.folder / f"steps-{rank}.txt", lambda line: float(line.split()[1]))
                 for rank in range(2)]
        seconds, repeated = [], []
        try:
            wait_for(lambda: run.newest() > 600, "the first steps of the peer", 0.02)
            for kill in range(kills):
                time.sleep(0.3 + random.random())
                victim, at = wait_for(lambda: run.victim(kill % 2), "ranks"), run.newest()
                killed = time.time()
                os.kill(victim, signal.SIGKILL)
                # The survivor may still finish the step under way.
                wait_for(lambda: all(tail.newest() > killed + 0.1 for tail in tails),
                         "the peer's next step")
                seconds.append(max(tail.newest() for tail in tails) - killed)
                first = int((self.folder / "steps-0.txt").read_text().splitlines()[-1].split()[0])
                repeated.append(max(0, at - first + 1))
        finally:
            run.end()
        return seconds, repeated

    def kill(self, kills):
        random.seed(1)
        own, again = self.own(kills)
        peer, peer_again, lost = [], [], 0
        while len(peer) < kills and lost < kills + 4:
            # Now and then torchrun's survivor waits for ever: that is told, not averaged.
            try:
                seconds, repeated = self.peer(1)
                peer, peer_again = peer + seconds, peer_again + repeated
            except TimeoutError:
                lost += 1
        own_more, more = self.own(kills)
        own, again = own + own_more, again + more
        return {"own": own, "peer": peer, "again": again, "peer_again": peer_again, "peer_lost": lost,
                "ratio": statistics.median(own) / statistics.median(peer)}

    def useful(self, start, seconds):
        """Steps that `seconds` with kills brought / those that they had brought at the usual pace."""
        chance = random.Random(1)
        run, lost, kills = start(), 0, 0
        try:
            wait_for(lambda: run.newest() > 20, "the first steps", 0.02)
            first, begin = run.newest(), time.monotonic()
            pace, seen, newest, progress = [], begin, first, begin
            due = begin + chance.expovariate(KILLS_OF_USEFUL / seconds)
            while (now := time.monotonic()) < begin + seconds:
                time.sleep(min(1.0, max(0.05, due - now)))
                now, before, newest = time.monotonic(), newest, run.newest()
                if newest > before and now - seen > 0.5:
                    pace.append((newest - before) / (now - seen))
                progress, seen = (now if newest != before else progress), now
                victim = run.victim(kills % 2) if now >= due else None
                if victim:
                    os.kill(victim, signal.SIGKILL)
                    kills += 1
                    due = now + chance.expovariate(KILLS_OF_USEFUL / seconds)
                if now - progress > PATIENCE_SECONDS:  # as a user who looks now and then would
                    lost += 1
                    run.end()
                    run, progress = start(), now
            wall = time.monotonic() - begin
            usual = statistics.median(pace)
            return {"share": (run.newest() - first) / (usual * wall), "step": 1 / usual,
                    "kills": kills, "lost": lost}
        finally:
            run.end()

    def useful_shares(self, seconds):
        PeerRun.forget(self.folder)
        return {"seconds": seconds, "own": self.useful(lambda: self.start("useful.yaml"), seconds),
                "peer": self.useful(lambda: PeerRun(
                    self.folder, "--batch", str(USEFUL_BATCH // 2), "--save-seconds",
                    str(USEFUL_SAVE_SECONDS)), seconds)}


def measure(harness, folder, options):
    bench = Bench(harness, folder, options)
    found = {**bench.kill(2 if options.quick else KILLS), "commit": harness.commit()}
    print(f"  kill: {found['ratio']:.3f}", flush=True)
    found["useful"] = bench.useful_shares(30 if options.quick else USEFUL_SECONDS)
    print(f"  useful: {found['useful']['own']['share']:.3f}, "
          f"the peer {found['useful']['peer']['share']:.3f}", flush=True)
    return found


def holds(yes):
    return "yes" if yes else "no"


def render(found, _):
    own, peer = statistics.median(found["own"]), statistics.median(found["peer"])
    longest, again = max(found["own"]), max(found["again"])
    useful = found["useful"]
    shares = {side: useful[side]["share"] for side in ("own", "peer")}
    enough = shares["own"] >= max(LEAST_USEFUL, shares["peer"] + LEAST_ABOVE)
    return ["## Recovery", "",
            "kill -9 of one of two ranks of an MLP 784-512-512-10 (AdamW) until all ranks have taken "
            "their next step. The peer is DistributedDataParallel under torchrun --max-restarts, "
            "with a checkpoint every 500 steps on both sides; nobody else saves or restarts it.", "",
            "| | Lockstep | torchrun | ratio | target | holds |",
            "| --- | --- | --- | --- | --- | --- |",
            f"| time, median | {own:.2f} s | {peer:.2f} s | {found['ratio']:.3f} "
            f"| at most {MOST_RATIO} | {holds(found['ratio'] <= MOST_RATIO)} |",
            f"| time, longest | {longest:.2f} s | {max(found['peer']):.2f} s | "
            f"| under {MOST_SECONDS} s | {holds(longest < MOST_SECONDS)} |",
            f"| steps computed again, most | {again} | {max(found['peer_again'])} | "
            f"| at most {MOST_AGAIN} | {holds(again <= MOST_AGAIN)} |",
            f"| useful step time / wall time, {useful['own']['kills']} kills in "
            f"{useful['seconds']} s | {shares['own']:.3f} | {shares['peer']:.3f} "
            f"| +{shares['own'] - shares['peer']:.3f} | at least {LEAST_USEFUL}, "
            f"{LEAST_ABOVE} above | {holds(enough)} |", "",
            f"- useful time: global batch {USEFUL_BATCH} (a step {useful['own']['step'] * 1e3:.0f} ms "
            f"here, {useful['peer']['step'] * 1e3:.0f} ms there), kills at the same moments of both, "
            f"a checkpoint every {USEFUL_SAVE_SECONDS} s; torchrun was started again by hand "
            f"{useful['peer']['lost']} times when nothing had moved for {PATIENCE_SECONDS} s "
            f"(Lockstep: {useful['own']['lost']}). Steps kept at the end, times the usual step.",
            f"- {len(found['own'])} kills here, {len(found['peer'])} there, "
            f"and {found['peer_lost']} more after which torchrun did not come back in "
            f"{PATIENCE_SECONDS} s; "
            f"commit {found['commit']}"]
