"""`lockstep drill` on this installation: every drill passes, and nothing is left of it."""

import json
import os
import pathlib
import sys

from lab import LOCKSTEP, Lab, check, processes_with

RANKS = int(sys.argv[1]) if len(sys.argv) > 1 else 2

with Lab() as lab:
    listed = json.loads(lab.lockstep("drill", "--list", "--json").stdout)
    shared = set(os.listdir("/dev/shm"))
    command = lab.start(LOCKSTEP, "drill", "--ranks", RANKS, "--directory", lab.path / "labs")
    output, _ = command.communicate(timeout=580)
    print(output)
    check(command.returncode == 0, f"drill exits {command.returncode}")
    for drill in listed:
        check(f"\n{drill['name']} " in output, f"{drill['name']} was not run")
    check("all" in output and "passed in" in output, "it does not say that all passed")
    check(not list((lab.path / "labs").iterdir()), "its folder was not removed")
    check(not processes_with(str(lab.path)), "a process is left")
    left = [name for name in set(os.listdir("/dev/shm")) - shared if "lockstep" in name]
    check(not left, f"shared memory is left: {left}")
