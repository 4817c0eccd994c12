"""A job on a real Slurm of several nodes: it is warned, saves, ends with 75 and goes back into the
queue; a node dies and Slurm puts it back; each time it goes on and ends with the bits of an
undisturbed run."""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration"))
from lab import BIN, MPI_ENVIRONMENT, Lab, check, check_contains, wait_for  # noqa: E402

LAB = HERE / "slurm_lab.sh"
TEMPLATE = HERE.parents[1] / "slurm" / "lockstep.sbatch"
CONFIG = """
model: {name: mlp, hidden: [64, 64]}
data:  {train: train.h5}
train: {steps: 3000, global_batch: 64, micro_batch: 16, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 100, every_epochs: 0, keep: 2}
"""
PATIENCE_SECONDS = 120


class Slurm:
    """A lab in `folder`; Slurm commands run through it."""

    def __init__(self, folder):
        self.environment = {**os.environ, **MPI_ENVIRONMENT, "SLURM_LAB": str(folder / "slurm"),
                            "SLURM_LAB_NODES": "2", "PATH": f"{BIN}:{os.environ['PATH']}",
                            "SLURM_CONF": str(folder / "slurm" / "etc" / "slurm.conf")}
        self.folder = folder

    def __enter__(self):
        self.lab("up")
        return self

    def __exit__(self, *unused):
        self.lab("down")

    def run(self, *command):
        done = subprocess.run([str(part) for part in command], cwd=self.folder, text=True,
                              capture_output=True, timeout=PATIENCE_SECONDS,
                              env=self.environment)
        check(done.returncode == 0, f"{command} exited {done.returncode}: {done.stderr}")
        return done.stdout

    def lab(self, *command):
        return self.run(LAB, *command)

    def submit(self, *arguments):
        return self.run("sbatch", "--parsable", "--nodes=2", "--ntasks-per-node=2", "--time=5",
                        TEMPLATE, *arguments).strip()

    def restarts(self, job):
        text = self.run("scontrol", "-o", "show", "job", job)
        return int(text.split("Restarts=")[1].split()[0])


with Lab() as lab:
    lab.path.chmod(0o755)
    lab.lockstep("data", "synth", "classification", "--rows", 4000, "--features", 32,
                 "--classes", 10, "--output", "train.h5")
    lab.write("exp.yaml", CONFIG)
    lab.lockstep("train", "exp.yaml", "--local", "--name", "calm")
    calm = lab.show("calm")["state_digest"]

    def output_of(job):
        return (lab.path / f"lockstep-{job}.out").read_text()

    with Slurm(lab.path) as slurm:
        warned = slurm.submit("exp.yaml")
        run = f"job-{warned}"
        wait_for(lambda: lab.ledger_lines(run) > 200, "the first steps of a job")
        slurm.run("scancel", "--batch", "--signal=USR1", warned)
        wait_for(lambda: slurm.restarts(warned) == 1, "the job to go back into the queue")
        check_contains(output_of(warned), "stopped on request, state saved")
        check(lab.show(run)["exit_code"] in (75, -1), "the job did not save and stop")
        slurm.lab("wait-job", warned, "COMPLETED", str(PATIENCE_SECONDS))
        record = lab.show(run)
        check(record["state_digest"] == calm, "a warned job ends with other bits")
        check(record["status"] == "done", f"a warned job ends as {record['status']}")
        check(len(record["hosts"]) == 2, f"resumed on {record['hosts']}")
        lab.lockstep("verify", run)

        cut = slurm.submit("exp.yaml")
        run = f"job-{cut}"
        wait_for(lambda: lab.ledger_lines(run) > 400, "the first checkpoints of a job")
        slurm.lab("fail-node", "n2")
        wait_for(lambda: slurm.restarts(cut) == 1, "Slurm to put the job back into the queue")
        slurm.lab("start-node", "n2")
        slurm.lab("wait-job", cut, "COMPLETED", str(PATIENCE_SECONDS))
        check(lab.show(run)["state_digest"] == calm, "a job that lost a node ends with other bits")
        lab.lockstep("verify", run)
