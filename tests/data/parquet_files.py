"""Parquet files for tests, as pyarrow writes them: parquet_files.py FOLDER"""
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq

folder = pathlib.Path(sys.argv[1])


def write(name, columns, **options):
    pq.write_table(pa.table(columns), folder / name, **options)


# Every type that is a number or a text, in several row groups.
write("types.parquet", {
    "i8": pa.array([1, 2, -3], pa.int8()),
    "u64": pa.array([4, 5, 6], pa.uint64()),
    "bool": pa.array([True, False, True]),
    "f16": pa.array([0.5, 1.5, -2.5], pa.float16()),
    "f32": pa.array([0.25, 1, 2], pa.float32()),
    "f64": pa.array([7, 8, 9], pa.float64()),
    "text": pa.array(["b", "a", "b"]),
    "large": pa.array(["z", "z", "y"], pa.large_string()),
    "coded": pa.array(["q", "p", "p"]).dictionary_encode(),
    "label": pa.array([2, 0, 1], pa.int64()),
}, row_group_size=2, compression="zstd")

lists = [[1, 2], [3, 4], [5, 6]]
write("lists.parquet", {
    "list": pa.array(lists, pa.list_(pa.float32())),
    "fixed": pa.array(lists, pa.list_(pa.float64(), 2)),
    "one": pa.array([7, 8, 9], pa.float32()),
    "y": pa.array([0.5, 1.5, 2.5]),
})

write("bad.parquet", {
    "a": pa.array([1, None, 3, float("nan")], pa.float32()),
    "list": pa.array([[1, 2], [1, 2], [1], [1, 2]], pa.list_(pa.float32())),
    "label": pa.array([0, 1, 1, 1]),
})

write("dates.parquet", {
    "a": pa.array([1, 2]),
    "when": pa.array([0, 1], pa.timestamp("s")),
    "__index_level_0__": pa.array([5, 6]),
    "label": pa.array([0, 1]),
})
