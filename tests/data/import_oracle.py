"""Makes files with the programs that people have them from, and compares what Lockstep imported.

    import_oracle.py write-npy FOLDER    *.npy and *.npz of many types, shapes and orders
    import_oracle.py check-npy FOLDER    F.h5 beside each F.npy or F.npz holds its array
"""
import pathlib
import sys

import h5py
import numpy as np

TYPES = ["?", "u1", "i1", "<u2", ">u2", "<i2", "<u4", ">u4", "<i4", ">i4", "<u8", "<i8", ">i8",
         "<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]
SHAPES = [(11,), (5, 2, 3, 4)]
ARCHIVED = ["?", ">i4", "<f8"]


def write_npy(folder):
    random = np.random.default_rng(1)
    for dtype in TYPES:
        for shape in SHAPES:
            values = (random.normal(size=shape) * 100).astype(dtype)
            order = "big" if dtype[0] == ">" else "little"
            name = f"{order}-{np.dtype(dtype).name}-{len(shape)}"
            np.save(folder / f"{name}-c.npy", values)
            np.save(folder / f"{name}-f.npy", np.asfortranarray(values))
            if dtype not in ARCHIVED:
                continue
            np.savez_compressed(folder / f"{name}-z.npz", x=np.asfortranarray(values),
                                y=np.arange(shape[0]))
            np.savez(folder / f"{name}-s.npz", x=values[::-1], y=np.arange(shape[0]))


def check_npy(folder):
    count = 0
    for path in sorted(folder.glob("*.np[yz]")):
        loaded = np.load(path)
        with h5py.File(path.with_suffix(".h5")) as file:
            wanted = loaded if path.suffix == ".npy" else loaded["x"]
            wanted = wanted.astype("u1") if wanted.dtype == bool else wanted
            assert file["x"].dtype == wanted.dtype.newbyteorder("<"), (path, file["x"].dtype)
            np.testing.assert_array_equal(file["x"][:], wanted, str(path))
            if path.suffix == ".npz":
                np.testing.assert_array_equal(file["y"][:], loaded["y"])
        count += 1
    assert count == 2 * len(SHAPES) * (len(TYPES) + len(ARCHIVED)), count


{"write-npy": write_npy, "check-npy": check_npy}[sys.argv[1]](pathlib.Path(sys.argv[2]))
