"""The format's own library against Lockstep's files.

check FILE EXPECTED   FILE opens and holds what the lines of EXPECTED say
write FILE EXPECTED   makes both, for the test to read

A line of EXPECTED: dtype, shape (`2x3`, `-` for a scalar), SHA-256 of the bytes, name."""

import hashlib
import sys

import numpy
from safetensors import safe_open
from safetensors.numpy import save_file

DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32",
          "uint8": "U8", "bool": "BOOL"}


def line(name, array):
    shape = "x".join(map(str, array.shape)) or "-"
    return f"{DTYPES[str(array.dtype)]} {shape} {hashlib.sha256(array.tobytes()).hexdigest()} {name}"


def check(path, expected):
    with safe_open(path, framework="numpy") as file:
        found = sorted(line(name, file.get_tensor(name)) for name in file.keys())
        metadata = file.metadata()
    wanted = sorted(open(expected, encoding="utf-8").read().splitlines())
    if not wanted or found != wanted:
        sys.exit(f"found\n{found}\nwanted\n{wanted}")
    if not metadata or metadata["format"] != "pt":
        sys.exit(f"metadata is {metadata}")


def write(path, expected):
    random = numpy.random.default_rng(7)
    tensors = {
        "weights": random.standard_normal((5, 3)).astype("float32"),
        "half": random.standard_normal((2, 2, 2)).astype("float16"),
        "double": random.standard_normal(9),
        "count": numpy.array(412, dtype="int64"),
        "classes": random.integers(0, 10, 7).astype("int32"),
        "bytes": random.integers(0, 256, 13).astype("uint8"),
        "mask": random.integers(0, 2, 3).astype("bool"),
        "empty": numpy.zeros((0, 4), dtype="float32"),
        'name with "quotes" and ä': numpy.ones(1, dtype="float32"),
    }
    save_file(tensors, path, metadata={"format": "pt", "who": "Zoë"})
    with open(expected, "w", encoding="utf-8") as out:
        for name, array in tensors.items():
            print(line(name, array), file=out)


{"check": check, "write": write}[sys.argv[1]](*sys.argv[2:])
