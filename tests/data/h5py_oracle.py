"""Reads and writes dataset files with h5py, to compare with what Lockstep reads and writes.

    h5py_oracle.py check OUT.h5 IMAGES LABELS   OUT.h5 holds these IDX files
    h5py_oracle.py write OUT.h5                 a file with everything that h5py users do
    h5py_oracle.py elsewhere FOLDER             files that keep their values in other files
    h5py_oracle.py recipes OUT.h5 SEED COUNT    random datasets in any layout that h5py can make
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


def elsewhere(folder):
    rows = np.arange(60, dtype="<f4").reshape(20, 3)
    for i in range(2):
        with h5py.File(f"{folder}/part{i}.h5", "w") as file:
            file["x"] = rows[10 * i:10 * i + 10]
    layout = h5py.VirtualLayout(shape=(20, 3), dtype="<f4")
    for i in range(2):
        layout[10 * i:10 * i + 10] = h5py.VirtualSource(f"part{i}.h5", "x", shape=(10, 3))
    rows[:10].tofile(f"{folder}/raw0")
    rows[10:].tofile(f"{folder}/raw1")
    with h5py.File(f"{folder}/all.h5", "w") as file:
        file.create_virtual_dataset("virtual", layout, fillvalue=-1)
        file["linked"] = h5py.ExternalLink("part1.h5", "x")
        file["dangling"] = h5py.ExternalLink("gone.h5", "x")
        file.create_dataset("raw", (20, 3), "<f4",
                            external=[(f"{folder}/raw0", 0, 120), (f"{folder}/raw1", 0, 120)])


# The numbers are registered filters, which need a plugin of HDF5: Blosc, LZ4, Zstandard.
COMPRESSIONS = [{"compression": "gzip", "compression_opts": 1}, {"compression": "gzip"},
                {"compression": "lzf"},
                {"compression": 32001, "compression_opts": (0, 0, 0, 0, 5, 1, 0)},
                {"compression": 32001, "compression_opts": (0, 0, 0, 0, 9, 2, 1)},
                {"compression": 32004}, {"compression": 32004, "compression_opts": (64,)},
                {"compression": 32015}]
TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def random_type(random):
    plain = random.choice(["<", ">"]) + random.choice(TYPES)
    kind = random.integers(8)
    if kind == 0:
        return np.dtype("?")
    if kind == 1:
        return np.dtype([("a", plain), ("b", "<i2", (2,)), ("c", [("d", ">f4"), ("e", "u1")])])
    if kind == 2:
        return h5py.enum_dtype({"RED": 1, "GREEN": 2}, basetype="i2")
    return np.dtype(plain)


def random_values(random, dtype, shape):
    size = int(np.prod(shape)) * dtype.itemsize
    # Few different bytes, so that filters find something to do; no NaN patterns are spared.
    raw = random.integers(0, 3, size, dtype="u1") * random.integers(1, 80)
    if dtype == np.dtype("?"):
        raw %= 2
    return np.frombuffer(raw.astype("u1").tobytes(), dtype).reshape(shape)


def filter_options(random, dtype):
    options = {}
    if random.integers(2):
        options.update(COMPRESSIONS[random.integers(len(COMPRESSIONS))])
    if random.integers(2):
        options["shuffle"] = True
    if random.integers(3) == 0:
        options["fletcher32"] = True
    elif random.integers(8) == 0 and dtype.kind in "iu":
        options["scaleoffset"] = 0
    return options


def bfloat16(file, name, rows, chunk):
    """bfloat16 as libraries store it: a float type of its own."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if chunk:
        plist.set_chunk(chunk)
        plist.set_deflate(3)
    space = h5py.h5s.create_simple(rows.shape)
    dataset = h5py.h5d.create(file.id, name.encode(), kind, space, plist)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, rows, mtype=kind)


def recipe(random, file, name):
    dtype = random_type(random)
    shape = tuple(int(n) for n in random.integers(1, 24, random.integers(1, 5)))
    values = random_values(random, dtype, shape)
    options = {}
    layout = random.integers(6)
    if layout > 0:
        options["chunks"] = tuple(int(random.integers(1, n + 1)) for n in shape)
        options.update(filter_options(random, dtype))
        if random.integers(3) == 0:
            options["maxshape"] = tuple(None if random.integers(2) else 2 * n for n in shape)
        if random.integers(3) == 0 and dtype.kind in "iuf":
            options["fillvalue"] = 7
    if "maxshape" not in options and "chunks" in options and random.integers(4) == 0:
        # Chunks higher than the dataset have to be allowed for.
        options["maxshape"] = tuple(2 * n for n in shape)
        options["chunks"] = tuple(min(2 * n, c + 5) for n, c in zip(shape, options["chunks"]))
    try:
        dataset = file.create_dataset(name, shape, dtype, **options)
        written = random.integers(4)
        if written == 0:
            dataset[: shape[0] // 2] = values[: shape[0] // 2]
        elif written > 1:
            dataset[...] = values
    except (ValueError, OSError, RuntimeError):
        # A filter without a plugin, or one that refuses this type.
        if name in file:
            del file[name]
        file[name] = values


def recipes(output, seed, count):
    random = np.random.default_rng(int(seed))
    libver = ["earliest", "latest", "v108", ("v110", "v110")][int(seed) % 4]
    block = [0, 512, 1024][int(seed) % 3]
    with h5py.File(output, "w", libver=libver, userblock_size=block) as file:
        for i in range(int(count)):
            recipe(random, file, f"d{i}")
        rows = random.integers(0, 1 << 16, (9, 5)).astype("<u2")
        bfloat16(file, "brain", rows, None)
        bfloat16(file, "brains", rows, (4, 3))
        file["words"] = ["", "one", "zwei", "\u00e9t\u00e9"]
        file["fixed"] = np.array([b"", b"a", b"bcd", b"xyz"], "S3")


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


{"check": check, "write": write, "elsewhere": elsewhere, "recipes": recipes,
 "stats": stats}[sys.argv[1]](*sys.argv[2:])
