"""PyTorch on one GPU, at its best: fused optimizers, channels_last, flash attention, pinned batches of
bytes, gradients set to None, and torch.compile over the forward pass and the loss.

    gpu_train.py --workload JSON --kind compiled|eager [--device cpu] [--first-steps 10]

The workload is one of tests/gpu/bench.py. Prints a line of JSON when it is ready, with the seconds from
--started (Unix time just before the command was started) to the end of the first steps. Then each line
"WARMUP STEPS" of its input gets a line with the milliseconds of a step; it ends with its input."""

import argparse
import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

import ddp_train

HOST_BATCHES = 8
MOST_PARTS = 8


def make_model(workload):
    given = {key: value for key, value in workload["model"].items() if key != "name"}
    name = workload["model"]["name"]
    if name == "mlp":
        return ddp_train.Mlp(workload["shape"][0], *given["hidden"], workload["classes"])
    if name == "cnn":
        return ddp_train.Cnn(given["channels"], given["hidden"][0])
    if name == "resnet18":
        return ddp_train.ResNet18(**given)
    if name == "resnet50":
        return ddp_train.ResNet50(given["channels"], workload["classes"])
    given["tied"] = given.pop("tie_embeddings")
    given["vocabulary"] = given.pop("classes")
    model = ddp_train.Gpt(**given)
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            nn.init.normal_(parameter, std=0.02)
    return model


def make_optimizer(workload, parameters):
    given = dict(workload["optimizer"])
    kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[given.pop("name")]
    return kind(parameters, fused=True, **given)


def host_batches(workload, pinned):
    """Batches as a good loader has them: images as bytes in channels_last order."""
    batch, shape = workload["batch"], workload["shape"]
    for _ in range(HOST_BATCHES):
        if workload["model"]["name"] == "gpt":
            # As many different tokens as Lockstep's file has, of a larger vocabulary.
            tokens = torch.randint(workload["classes"], (batch, shape[0] + 1))
            parts = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        else:
            if len(shape) == 1:
                inputs = torch.randn(batch, *shape)
            else:
                inputs = torch.randint(256, (batch, *shape), dtype=torch.uint8).contiguous(
                    memory_format=torch.channels_last)
            parts = inputs, torch.randint(workload["classes"], (batch,))
        yield tuple(part.pin_memory() if pinned else part for part in parts)


class Training:
    def __init__(self, workload, kind, device):
        torch.manual_seed(1)
        # As Lockstep has it: f32 is f32.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        self.device = torch.device(device)
        on_gpu = self.device.type == "cuda"
        self.model = make_model(workload).to(self.device)
        if len(workload["shape"]) == 3:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.bf16 = workload["precision"] == "bf16"
        self.compiled = kind == "compiled" and on_gpu
        self.mode = workload["compile_mode"]
        self.loss_of = self.loss
        if self.compiled:
            self.loss_of = torch.compile(self.loss, mode=self.mode, dynamic=False, fullgraph=True)
        self.optimizer = make_optimizer(workload, self.model.parameters())
        self.batches = list(host_batches(workload, on_gpu))
        self.parts = 1  # of a batch, when all of it takes too much memory
        self.steps = 0

    def loss(self, inputs, targets):
        if inputs.dtype == torch.uint8:
            inputs = inputs.float() / 255
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self.model(inputs)
        return F.cross_entropy(outputs.flatten(0, -2).float(), targets.flatten())

    def step(self):
        inputs, targets = (part.to(self.device, non_blocking=True)
                           for part in self.batches[self.steps % HOST_BATCHES])
        self.optimizer.zero_grad(set_to_none=True)
        for part in zip(inputs.chunk(self.parts), targets.chunk(self.parts)):
            if self.compiled and self.mode == "reduce-overhead":
                torch.compiler.cudagraph_mark_step_begin()
            loss = self.loss_of(*part)
            (loss / self.parts if self.parts > 1 else loss).backward()
        self.optimizer.step()
        self.steps += 1

    def fitting_step(self):
        """A step, with the batch in as few parts as the memory allows."""
        while True:
            try:
                self.step()
                return self.synchronize()
            except torch.OutOfMemoryError:
                if self.parts == MOST_PARTS:
                    raise
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            self.parts *= 2

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def measure(self, warmup, steps):
        self.fitting_step()
        for _ in range(warmup):
            self.step()
        if self.device.type != "cuda":
            begin = time.perf_counter()
            for _ in range(steps):
                self.step()
            return (time.perf_counter() - begin) / steps * 1e3
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(steps):
            self.step()
        last.record()
        last.synchronize()
        milliseconds = first.elapsed_time(last) / steps
        self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()  # the next contender needs the memory
        return milliseconds


def versions(device):
    if device == "cpu":
        return {"torch": torch.__version__, "device": "CPU"}
    return {"torch": torch.__version__, "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
            "NCCL": ".".join(map(str, torch.cuda.nccl.version())),
            "device": torch.cuda.get_device_name()}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", type=json.loads, required=True)
    parser.add_argument("--kind", choices=("compiled", "eager"), required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--first-steps", type=int, default=0)
    parser.add_argument("--started", type=float, default=time.time())
    options = parser.parse_args()

    def say(**entry):
        print(json.dumps(entry), flush=True)

    try:
        training = Training(options.workload, options.kind, options.device)
        for number in range(options.first_steps):
            training.step() if number else training.fitting_step()
        training.synchronize()
        say(first_steps_seconds=time.time() - options.started, versions=versions(options.device))
        if options.device != "cpu":
            torch.cuda.empty_cache()
        for line in sys.stdin:
            warmup, steps = map(int, line.split())
            say(ms=training.measure(warmup, steps), parts=training.parts)
    except Exception as error:  # whatever a compiler may throw is this contender's end only
        say(error=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}" if str(error)
            else type(error).__name__)
        sys.exit(1)


if __name__ == "__main__":
    main()
