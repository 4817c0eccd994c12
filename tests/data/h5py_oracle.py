"""Reads and writes dataset files with h5py, to compare with what Lockstep reads and writes.

    h5py_oracle.py check OUT.h5 IMAGES LABELS   OUT.h5 holds these IDX files
    h5py_oracle.py write OUT.h5                 a file with everything that h5py users do
    h5py_oracle.py stats F.h5 STATS.json        the statistics are numpy's of the finite elements
"""
import gzip
import json
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


def stats(path, result):
    with open(result) as file:
        columns = json.load(file)["columns"]
    assert columns
    with h5py.File(path) as file:
        for column in columns:
            values = file[column["name"]][:].reshape(-1)
            finite = values[np.isfinite(values)].astype(np.float64)
            assert column["elements"] == values.size
            assert column["nan"] == np.isnan(values).sum() and column["inf"] == np.isinf(values).sum()
            assert column["zeros"] == (values == 0).sum()
            assert column["min"] == finite.min() and column["max"] == finite.max()
            np.testing.assert_allclose(column["mean"], finite.mean(), rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(column["std"], finite.std(), rtol=1e-12, atol=1e-12)
            for quantile in column["quantiles"]:
                np.testing.assert_allclose(quantile["value"], np.quantile(finite, quantile["at"]),
                                           rtol=1e-14, atol=1e-14)
            counts = column["histogram"]["counts"]
            edges = np.linspace(column["min"], column["max"], len(counts) + 1)
            if len(counts) > 1:
                np.testing.assert_array_equal(counts, np.histogram(finite, edges)[0])
            if column["channels"]:
                images = file[column["name"]][:].astype(np.float64)
                np.testing.assert_allclose([c["mean"] for c in column["channels"]],
                                           images.mean(axis=(0, 2, 3)), rtol=1e-12)
                np.testing.assert_allclose([c["std"] for c in column["channels"]],
                                           images.std(axis=(0, 2, 3)), rtol=1e-12)


{"check": check, "write": write, "stats": stats}[sys.argv[1]](*sys.argv[2:])
