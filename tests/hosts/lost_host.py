"""A run over three hosts (namespaces of this machine with networks of their own) loses one: its
processes are killed, or its power is cut and its peers hear nothing more. It goes on from the
newest checkpoint on the hosts that are left and ends with the bits of an undisturbed run. Where a
rank alone is lost, it goes on from the hosts' memory, which holds nothing of it afterwards."""

import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration"))
from lab import LOCKSTEP, MPI_ENVIRONMENT, Lab, check, check_contains, wait_for  # noqa: E402


LAB = HERE / "hosts_lab.sh"
NET = "198.18.0"
EVERY_STEPS = 100
CONFIG = f"""
model: {{name: mlp, hidden: [64, 64]}}
data:  {{train: train.h5}}
train: {{steps: 3000, global_batch: 64, micro_batch: 16, optimizer: {{name: adamw, lr: 1e-3}}}}
checkpoint: {{every_steps: {EVERY_STEPS}, every_epochs: 0, keep: 2}}
"""
PATIENCE_SECONDS = 120


class Hosts:
    """head, h1, h2 and h3; mpirun runs on the head."""

    def __init__(self, folder):
        self.folder = folder
        network = f"{NET}.0/24"
        self.environment = {
            **os.environ, **MPI_ENVIRONMENT, "HOSTS_LAB": str(folder / "hosts"),
            "HOSTS_LAB_NET": NET, "OMPI_MCA_plm_rsh_agent": f"{LAB} rsh",
            "OMPI_MCA_btl_tcp_if_include": network, "OMPI_MCA_oob_tcp_if_include": network}

    def __enter__(self):
        self.lab("up", "3")
        return self

    def __exit__(self, *unused):
        self.lab("down")

    def lab(self, *words):
        subprocess.run([LAB, *words], cwd=self.folder, check=True, env=self.environment,
                       timeout=PATIENCE_SECONDS)

    def train(self, name, *words, environment=None):
        return self.lockstep("train", "exp.yaml", "--name", name, *words, environment=environment)

    def lockstep(self, *words, environment=None):
        return subprocess.Popen(
            [LAB, "exec", "head", LOCKSTEP, *words], cwd=self.folder, text=True,
            env={**self.environment, **(environment or {})}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def check_nothing_kept(hosts, run, names):
    """Each host has a /dev/shm of its own."""
    for name in names:
        listed = subprocess.run([LAB, "exec", name, "ls", "/dev/shm"], cwd=hosts.folder, text=True,
                                env=hosts.environment, capture_output=True, check=True)
        check("lockstep" not in listed.stdout, f"{run} left on {name}: {listed.stdout}")


with Lab() as lab:
    lab.lockstep("data", "synth", "classification", "--rows", 4000, "--features", 32,
                 "--classes", 10, "--output", "train.h5")
    lab.write("exp.yaml", CONFIG)
    lab.lockstep("train", "exp.yaml", "--local", "--name", "calm")
    calm = lab.show("calm")["state_digest"]

    with Hosts(lab.path) as hosts:
        for how in ("crash", "kill"):
            run = f"lost-by-{how}"
            process = hosts.train(run, "--hosts", "h1:1,h2:1,h3:2", "launch.min_ranks=2")
            wait_for(lambda: lab.ledger_lines(run) > 3 * EVERY_STEPS, f"the first steps of {run}")
            hosts.lab(how, "h3")
            lost, at = time.monotonic(), lab.ledger_lines(run)
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
            check(process.returncode == 0, f"{run} exited {process.returncode}:\n{output}")
            print(f"{how}: done {time.monotonic() - lost:.1f} s after the loss")
            check_contains(output, "h3", "restart 1 of 3 on 2 ranks")
            record = lab.show(run)
            check(record["state_digest"] == calm, f"{run}: other bits")
            check(sorted(record["hosts"]) == ["h1", "h2"], f"{run} ended on {record['hosts']}")
            resumed = next(event for event in lab.lines(run, "events.jsonl")
                           if event["event"] == "resume")
            check(resumed["from"] != "memory", f"{run} went on from memory that is gone")
            # A save may be under way, and the ledger has a line for each digest as well.
            check(at - resumed["step"] <= 2.2 * EVERY_STEPS,
                  f"{run} was at step {at} and went on from {resumed['step']}")
            lab.lockstep("verify", run)
            check_nothing_kept(hosts, run, ("h1", "h2"))
            hosts.lab("boot", "h3")

        # A rank alone dies, on a host that the supervisor does not see: not a step is repeated.
        for step, budget in ((333, 3), (1777, 0)):
            run = f"lost-rank-{step}"
            process = hosts.train(run, "--hosts", "h1:1,h2:2", f"launch.restarts={max(budget, 1)}",
                                  environment={"LOCKSTEP_FAULT":
                                               f"kill rank=2 phase=step step={step} attempt="
                                               + ("0" if budget else "-1")})
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
            check(process.returncode == (0 if budget else 8),
                  f"{run} exited {process.returncode}:\n{output}")
            resumed = [(event["from"], event["step"]) for event in lab.lines(run, "events.jsonl")
                       if event["event"] == "resume"]
            check(resumed and set(resumed) == {("memory", step)}, f"{run} went on from {resumed}")
            check_nothing_kept(hosts, run, ("h1", "h2"))
            if not budget:  # given up; what memory held was saved
                check_contains(output, "which memory held, is saved")
                resumed = hosts.lockstep("resume", run)
                output, _ = resumed.communicate(timeout=PATIENCE_SECONDS)
                check(resumed.returncode == 0, f"{run} cannot be resumed:\n{output}")
            check(lab.show(run)["state_digest"] == calm, f"{run}: other bits")
            lab.lockstep("verify", run)

        # Too few are left: it says so, and can be resumed when the host is back.
        process = hosts.train("too-few", "--hosts", "h1:1,h3:1")
        wait_for(lambda: lab.ledger_lines("too-few") > 3 * EVERY_STEPS, "the first steps")
        hosts.lab("crash", "h3")
        lost = time.monotonic()
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        check(process.returncode != 0, "a run went on with too few ranks")
        check_contains(output, "h3", "launch.min_ranks")
        check_nothing_kept(hosts, "too-few", ("h1",))

        # No host is left to ask for anything: the verdict is told all the same.
        process = hosts.train("all-lost", "--hosts", "h1:1")
        wait_for(lambda: lab.ledger_lines("all-lost") > EVERY_STEPS, "the first steps")
        hosts.lab("crash", "h1")
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        # 1 where mpirun names the host; else it is tried again until it is given up.
        check(process.returncode in (1, 8),
              f"without a host it exited {process.returncode}:\n{output}")
        check_contains(output, "h1", "run failed")
        record = lab.show("all-lost")
        check(record["exit_code"] == process.returncode and record["status"] == "failed",
              f"the record does not tell: {record}")
        print(f"too few: ended {time.monotonic() - lost:.1f} s after the loss")
