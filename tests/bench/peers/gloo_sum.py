"""Times gloo's all-reduce of float32 arrays in place: one line of JSON with seconds by size.

    torchrun --nproc-per-node 2 gloo_sum.py --sizes 4096,65536"""

import argparse
import json
import os
import statistics
import time

import torch
import torch.distributed

parser = argparse.ArgumentParser()
parser.add_argument("--sizes", required=True, help="bytes, parted by commas")
options = parser.parse_args()

torch.set_num_threads(1)
cores = sorted(os.sched_getaffinity(0))
rank = int(os.environ["RANK"])
if len(cores) > rank:
    os.sched_setaffinity(0, {cores[rank]})
torch.distributed.init_process_group("gloo")

seconds = {}
for size in map(int, options.sizes.split(",")):
    values = torch.zeros(size // 4)

    def batch(calls):
        torch.distributed.barrier()
        begin = time.perf_counter()
        for _ in range(calls):
            torch.distributed.all_reduce(values)
        return (time.perf_counter() - begin) / calls

    # All ranks must make the same number of calls: the slowest one's time decides it.
    once = torch.tensor([batch(3)])
    torch.distributed.all_reduce(once, torch.distributed.ReduceOp.MAX)
    calls = max(1, min(2000, int(0.1 / max(once.item(), 1e-6))))
    seconds[size] = statistics.median(batch(calls) for _ in range(5))
if rank == 0:
    print(json.dumps(seconds), flush=True)
os._exit(0)
