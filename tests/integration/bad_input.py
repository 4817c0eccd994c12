"""Bad input, one case each: the right exit code, a message that names what is wrong and what to
do, no process left, and the last good checkpoint intact.

Usage: bad_input.py data|checkpoints|environment"""

import json
import os
import pathlib
import shutil
import sys

import h5py
import numpy

from lab import LOCKSTEP, Lab, check, check_contains, processes_with

CONFIG = """
model: {name: mlp, hidden: [16]}
data:  {train: train.h5}
train: {steps: 4, global_batch: 16, micro_batch: 4, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 2, keep: 5}
"""


def write_h5(path, **columns):
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values)


def good_columns(rows=64):
    random = numpy.random.default_rng(1)
    return {"x": random.normal(size=(rows, 5)).astype("f4"), "y": numpy.arange(rows) % 3}


def refused(lab, code, *parts, command=("train", "exp.yaml"), ranks=(1, 2)):
    """The command fails the same way on each number of ranks, and leaves nothing running."""
    for count in ranks:
        done = lab.lockstep(*command, "--ranks", count, code=code)
        check_contains(done.stderr, *parts)
        check(not processes_with(str(lab.path)), "a process is left")


def changed_data(lab, train):
    """A run goes on with the samples that it began with, or not at all."""
    write_h5(train, **good_columns())
    lab.lockstep("train", "exp.yaml", "--local", "--name", "begun")
    shutil.rmtree(lab.path / "runs" / "begun" / "checkpoints" / "step-00000004")
    digest = lab.show("begun")["state_digest"]
    whole = train.read_bytes()
    columns = good_columns()
    columns["x"][40, 2] += 1
    write_h5(train, **columns)
    refused(lab, 3, "train.h5", "instead", "bring the data back",
            command=("resume", "begun"))
    train.write_bytes(whole)
    lab.lockstep("resume", "begun", "--ranks", 2)
    check(lab.show("begun")["state_digest"] == digest, "another digest")


def data_cases(lab):
    lab.write("exp.yaml", CONFIG)
    train = lab.path / "train.h5"
    changed_data(lab, train)
    train.unlink()

    refused(lab, 3, "train.h5", "does not exist")

    write_h5(train, **good_columns(20000))
    whole = train.read_bytes()
    train.write_bytes(whole[: len(whole) // 2])
    refused(lab, 3, "train.h5", "truncated")

    train.write_bytes(b"not a dataset, however long it may be" * 100)
    refused(lab, 3, "train.h5", "HDF5")

    columns = good_columns()
    write_h5(train, x=columns["x"], y=numpy.array([b"cat"] * 64))
    refused(lab, 3, "'y'", "train.h5")

    write_h5(train, x=columns["x"], y=columns["y"][:60])
    refused(lab, 3, "64", "60", "train.h5")

    write_h5(train, x=columns["x"], y=columns["y"] - 1)
    refused(lab, 3, "row 0", "'y'", "-1")

    write_h5(train, **columns)
    refused(lab, 3, "'y'", "label 2 in row", command=("train", "exp.yaml", "model.classes=2"))

    refused(lab, 3, "'inputs'", command=("train", "exp.yaml", "data.inputs=inputs"))

    refused(lab, 2, "cnn", "shape", command=("train", "exp.yaml", "model.name=cnn"))

    refused(lab, 2, "data.augment", "'x'", "shape [5]",
            command=("train", "exp.yaml", "data.augment.flip=0.5"))

    columns["x"][37, 2] = numpy.nan
    write_h5(train, **columns)
    refused(lab, 3, "row 37", "'x'", "nan")

    write_h5(train, **good_columns(10))
    done = lab.lockstep("train", "exp.yaml", code=None)
    check(done.returncode in (2, 3), f"too few samples exit {done.returncode}")
    check_contains(done.stderr, "10", "16")


def trained(lab):
    lab.write("exp.yaml", CONFIG)
    write_h5(lab.path / "train.h5", **good_columns())
    lab.lockstep("train", "exp.yaml", "--name", "good")
    return lab.path / "runs" / "good" / "checkpoints"


def checkpoint_cases(lab):
    checkpoints = trained(lab)
    newest = checkpoints / "step-00000004"
    pristine = lab.path / "pristine"
    shutil.copytree(checkpoints, pristine)
    digest = lab.show("good")["state_digest"]

    def damaged(change, *parts, target=newest):
        """The damaged checkpoint is refused by name; a resume passes it over for the older one
        and ends with the right bits."""
        shutil.rmtree(checkpoints)
        shutil.copytree(pristine, checkpoints)
        change()
        done = lab.lockstep("evaluate", target, "data.test=train.h5", code=6)
        check_contains(done.stderr, *parts)
        check((checkpoints / "step-00000002").is_dir(), "the older checkpoint is gone")
        lab.lockstep("resume", "good", "--ranks", 2)
        check(lab.show("good")["state_digest"] == digest, "the resumed run has other bits")

    def flip(name, position):
        path = newest / name
        content = bytearray(path.read_bytes())
        content[position] ^= 0x10
        path.write_bytes(bytes(content))

    damaged(lambda: flip("model.safetensors", -5), "model.safetensors")
    damaged(lambda: flip("optimizer.safetensors", -5), "optimizer.safetensors")
    damaged(lambda: flip("manifest.json", 40), "step-00000004")

    def cut():
        path = newest / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])

    damaged(cut, "model.safetensors")

    def newer():
        path = newest / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["version"] = 99
        path.write_text(json.dumps(manifest))

    damaged(newer, "newer")

    # Of another model: the run's saved configuration was changed.
    config = lab.path / "runs" / "good" / "config.yaml"
    saved = config.read_text()
    config.write_text(saved.replace("[16]", "[24]").replace("- 16", "- 24"))
    check(config.read_text() != saved, "the configuration was not changed")
    done = lab.lockstep("resume", "good", code=6)
    check_contains(done.stderr, "dense0.weight")
    config.write_text(saved)

    done = lab.lockstep("resume", "goood", code=6)
    check_contains(done.stderr, "good")


def environment_cases(lab):
    checkpoints = trained(lab)
    digest = lab.show("good")["state_digest"]

    refused(lab, 2, "4 micro-batches", ranks=(5, 8))

    done = lab.lockstep("train", "exp.yaml", "compute.device=cuda", code=4)
    check_contains(done.stderr, "cuda", "GPU" if not pathlib.Path("/dev/nvidia0").exists() else "")

    # No MPI: nothing on the PATH but what a shell has.
    tools = lab.path / "tools"
    tools.mkdir()
    done = lab.lockstep("train", "exp.yaml", "--ranks", 2, code=4, environment={"PATH": str(tools)})
    check_contains(done.stderr, "mpirun", "openmpi-bin")

    # Ranks that disagree: each reads a configuration of its own.
    lab.write("rank.sh", f'''#!/bin/sh
exec {os.environ["LOCKSTEP_BIN"]}/lockstep-worker train exp.yaml run.name=torn train.seed=$((7 + OMPI_COMM_WORLD_RANK / 2))
''')
    done = lab.run("mpirun", "-n", 3, "sh", "rank.sh", code=2)
    check_contains(done.stderr, "rank 2", "configuration")
    check(not processes_with(str(lab.path)), "a process is left")

    # A run directory that cannot be written: a file is in its place.
    lab.write("blocked", "")
    done = lab.lockstep("train", "exp.yaml", "run.directory=blocked/runs", code=4)
    check_contains(done.stderr, "blocked")

    # A full disk: a small file system of its own, where the machine lets us have one.
    full = lab.path / "full"
    full.mkdir()
    mounted = os.geteuid() == 0 and lab.run(
        "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", full, code=None).returncode == 0
    if mounted:
        try:
            done = lab.lockstep("train", "exp.yaml", "run.directory=full/runs", "--name", "full",
                                "train.steps=400", "checkpoint.keep=1000", code=4)
            check_contains(done.stderr, "full")
            left = sorted((full / "runs" / "full" / "checkpoints").glob("step-*"))
            check(left, "no checkpoint came to be before the disk was full")
            lab.lockstep("evaluate", left[-1], "data.test=train.h5", code=None)
        finally:
            lab.run("umount", full)

    done = lab.lockstep("train", "exp.yaml", "--name", "good", code=2)
    check_contains(done.stderr, "good", "resume")
    check(lab.show("good")["state_digest"] == digest, "the good run was touched")
    check(len(list(checkpoints.iterdir())) == 2, "checkpoints were touched")


def main(kind):
    with Lab() as lab:
        {"data": data_cases, "checkpoints": checkpoint_cases,
         "environment": environment_cases}[kind](lab)


main(sys.argv[1])
