"""Reads and writes dataset files with h5py, to compare with what Lockstep reads and writes.

    h5py_oracle.py check OUT.h5 IMAGES LABELS   OUT.h5 holds these IDX files
    h5py_oracle.py write OUT.h5                 a file with everything that h5py users do
"""
import gzip
import sys

import h5py
import numpy as np


def idx(path):
    opener = gzip.open if open(path, "rb").read(2) == b"\x1f\x8b" else open
    with opener(path, "rb") as file:
        data = file.read()
    types = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, types[data[2]], offset=4 + 4 * data[3]).reshape(shape)


def check(output, images, labels):
    with h5py.File(output) as file:
        assert sorted(file) == ["x", "y"], sorted(file)
        np.testing.assert_array_equal(file["x"][:], idx(images))
        np.testing.assert_array_equal(file["y"][:], idx(labels))


def write(output):
    rows = np.arange(60, dtype=np.float64).reshape(20, 3)
    with h5py.File(output, "w") as file:
        file["plain"] = rows.astype("<f4")
        file["half"] = rows.astype("<f2")
        file["big"] = rows.astype(">i4")
        file.create_dataset("packed", data=rows.astype("<u2"), chunks=(7, 2), compression="gzip",
                            shuffle=True, fletcher32=True)
        file.create_dataset("growing", data=rows.astype("<f8"), chunks=(4, 3), maxshape=(None, 3))
        file.create_dataset("scaled", data=rows.astype("<i8"), chunks=(5, 3), scaleoffset=0)
        file["names"] = ["a"] * 20
        file["flags"] = np.zeros(20, dtype=bool)


{"check": check, "write": write}[sys.argv[1]](*sys.argv[2:])
