"""The peer of a recovery: DistributedDataParallel under torchrun, which restarts all ranks when one
dies, with a checkpoint that each start loads.

    torchrun --nproc-per-node 2 --max-restarts 100 ddp_elastic.py --folder F --steps N ...

Every rank appends a line to F/steps-RANK.txt after each step: step, Unix time, and writes
its pid to F/pid-RANK.txt at each start. A checkpoint of model and optimizer is saved to
F/checkpoint.pt, whole or not at all, after every --save-every steps or --save-seconds."""

import argparse
import os
import pathlib
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from ddp_train import Mlp  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=pathlib.Path, required=True)
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--widths", default="784,512,512,10")
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--save-every", type=int, default=0)
parser.add_argument("--save-seconds", type=float, default=0)
options = parser.parse_args()

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()
(options.folder / f"pid-{rank}.txt").write_text(str(os.getpid()))
inputs = torch.from_numpy(np.load(options.folder / "x.npy")).float().div_(255).flatten(1)
targets = torch.from_numpy(np.load(options.folder / "y.npy")).long()
torch.manual_seed(1)
model = DistributedDataParallel(Mlp(*map(int, options.widths.split(","))))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
checkpoint = options.folder / "checkpoint.pt"
done = 0
if checkpoint.exists():
    state = torch.load(checkpoint)
    model.module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    done = state["step"]

with open(options.folder / f"steps-{rank}.txt", "a", buffering=1) as stamps:
    saved = time.monotonic()
    while done < options.steps:
        rows = torch.randint(len(inputs), (options.batch,))
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        optimizer.step()
        done += 1
        stamps.write(f"{done} {time.time():.6f}\n")
        by_time = options.save_seconds and time.monotonic() - saved >= options.save_seconds
        if rank == 0 and (by_time or options.save_every and done % options.save_every == 0):
            partial = checkpoint.with_suffix(".partial")
            torch.save({"model": model.module.state_dict(), "optimizer": optimizer.state_dict(),
                        "step": done}, partial)
            os.replace(partial, checkpoint)
            saved = time.monotonic()
dist.destroy_process_group()
