"""`bench comm` as a user runs it: real ranks, every sum right, both ways beside each other."""

import json

from lab import Lab, check, check_contains

with Lab() as lab:
    rows = json.loads(lab.lockstep("bench", "comm", "--ranks", 3, "--sizes", "4K,1000", "--json").stdout)
    check([(row["algorithm"], row["bytes"]) for row in rows] ==
          [("node memory", 4096), ("MPI_Allreduce", 4096), ("node memory", 1000),
           ("MPI_Allreduce", 1000)], f"rows are {rows}")
    for row in rows:
        check(row["right"] and row["ranks"] == 3 and row["microseconds"] > 0, f"row is {row}")
        ratio = row["bus_bandwidth"] / row["algorithm_bandwidth"]
        check(abs(ratio - 4 / 3) < 1e-9, f"bus bandwidth is {ratio} of the algorithm's")

    table = lab.lockstep("bench", "comm", "--local", "--sizes", "1K:16K").stdout
    check_contains(table, "f32 sum over 1 rank on 1 node", "1 KiB", "4 KiB", "16 KiB", "right")

    told = lab.lockstep("bench", "comm", "--sizes", "4Q", code=2).stderr
    check_contains(told, "size '4Q' cannot be used")
