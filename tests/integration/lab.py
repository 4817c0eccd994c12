"""What the integration tests share: running the real binaries as a user would, in a folder of
their own, with a deadline, and reading what they leave."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

BIN = pathlib.Path(os.environ["LOCKSTEP_BIN"])
LOCKSTEP = BIN / "lockstep"
WORKER = BIN / "lockstep-worker"
DEADLINE_SECONDS = 240

# One machine, as root, more ranks than cores: see README, "On one machine".
MPI_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_btl_tcp_if_include": "lo",
    "OMPI_MCA_oob_tcp_if_include": "lo",
}


class Lab:
    """A temporary folder; every command runs in it."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="lockstep-lab-"))
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            print(f"left as it was: {self.path}", file=sys.stderr)

    def run(self, *command, code=0, environment=None):
        """Runs and returns the finished process; its exit code must be `code`."""
        done = subprocess.run(
            [str(part) for part in command], cwd=self.path, text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=DEADLINE_SECONDS,
            env={**os.environ, **MPI_ENVIRONMENT, **(environment or {})})
        if code is not None and done.returncode != code:
            raise AssertionError(
                f"{' '.join(map(str, command))}\nexited {done.returncode}, not {code}\n"
                f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}")
        return done

    def lockstep(self, *arguments, **options):
        return self.run(LOCKSTEP, *arguments, **options)

    def mpirun(self, ranks, *arguments, **options):
        return self.run("mpirun", "-n", ranks, WORKER, *arguments, **options)

    def start(self, *command, stdout=subprocess.PIPE, environment=None):
        """Starts and returns the running process, in a session of its own."""
        return subprocess.Popen(
            [str(part) for part in command], cwd=self.path, text=True, stdin=subprocess.DEVNULL,
            stdout=stdout, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **MPI_ENVIRONMENT, **(environment or {})})

    def write(self, name, text):
        (self.path / name).write_text(text)
        return name

    def show(self, run):
        return json.loads(self.lockstep("show", run, "--json").stdout)

    def lines(self, run, name):
        text = (self.path / "runs" / run / name).read_text()
        return [json.loads(line) for line in text.splitlines()]

    def ledger_lines(self, run):
        """How many there are by now; of a run that may not have begun."""
        ledger = self.path / "runs" / run / "ledger.jsonl"
        return ledger.read_text().count("\n") if ledger.exists() else 0

    def steps(self, run):
        """The ledger's lines of steps, without those of digests that came later."""
        return [line for line in self.lines(run, "ledger.jsonl") if "step" in line]


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def wait_for(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"waited {seconds} s for {what}")
        time.sleep(0.02)


def check_contains(text, *parts):
    for part in parts:
        check(part in text, f"{part!r} is missing in:\n{text}")


def worker_pids(belongs):
    """Process numbers, in order, of the living workers whose words `belongs` accepts; it gets the
    process number too."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().decode().split("\0")
            if words[0].endswith("lockstep-worker") and belongs(words, pid):
                found.append(pid)
        except OSError:
            continue
    return sorted(found)


def processes_with(text):
    """Command lines of living processes that contain `text`."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if text in line and state != "Z":
            found.append(line)
    return found
