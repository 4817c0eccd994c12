"""The peer of checkpoints: the same model and optimizer under DistributedDataParallel, saved by
torch.distributed.checkpoint.async_save while it trains.

    torchrun --nproc-per-node 2 dcp_save.py ...

As its documentation shows it: with a thread, and files that are synced. Writers and stagers that keep
the memory of their copies need a GPU's driver or fail on the second save (torch 2.11). Prints one line of JSON (rank 0): the steps' stamps, and for
each save when it began, how long async_save itself blocked, and when it was durable (files are synced by default)."""

import argparse
import json
import os
import shutil
import sys
import threading
import time

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict

import ddp_train


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=ddp_train.MODELS, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--save-at", required=True, help="steps after which to save, as 10,40")
    parser.add_argument("--directory", required=True, help="of the checkpoints")
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(1)
    rank = int(os.environ["RANK"])
    ddp_train.bind_to_core(rank)
    torch.distributed.init_process_group("gloo")
    # The saving thread's collectives must not meet DDP's in one gloo group.
    group = torch.distributed.new_group(backend="gloo")
    model = torch.nn.parallel.DistributedDataParallel(
        ddp_train.MODELS[options.model](), gradient_as_bucket_view=True, static_graph=True)
    optimizer = ddp_train.make_optimizer(options.model, model.parameters())
    loss_of = torch.nn.CrossEntropyLoss()
    batches = ddp_train.Batches(options.model, options.data, rank)

    save_at = {int(step) for step in options.save_at.split(",")}
    stamps, saves, waits = [], [], []

    def watch(future, save):
        future.result()
        save["durable"] = time.perf_counter()

    for number in range(1, options.steps + 1):
        inputs, targets = batches.next(options.batch)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(inputs), targets)
        loss.backward()
        optimizer.step()
        loss.item()
        stamps.append(time.perf_counter())
        if number in save_at:
            for wait in waits:
                wait.join()
            path = f"{options.directory}/step-{number}"
            weights, states = get_state_dict(model, optimizer)
            begin = time.perf_counter()
            future = dcp.async_save({"model": weights, "optimizer": states}, checkpoint_id=path,
                                    process_group=group)
            saves.append({"step": number, "begin": begin, "blocked": time.perf_counter() - begin})
            waits = [threading.Thread(target=watch, args=(future, saves[-1]))]
            waits[0].start()
    for wait in waits:
        wait.join()
    if rank == 0:
        files = [os.path.join(path, name) for path, _, names in
                 os.walk(f"{options.directory}/step-{max(save_at)}") for name in names]
        print(json.dumps({"stamps": stamps, "saves": saves,
                          "bytes": sum(map(os.path.getsize, files)),
                          "torch": torch.__version__}), flush=True)
    torch.distributed.barrier()
    if rank == 0:
        shutil.rmtree(options.directory)
    sys.stdout.flush()
    os._exit(0)


main()
