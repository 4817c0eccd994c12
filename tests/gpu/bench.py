"""Lockstep and PyTorch on one GPU, in one run: the same models, data sizes, optimizers and precision.
Called by run.sh; writes a table. Step times are medians of a run's steps without warm-up, then over
rounds of the contenders in turn, forwards and backwards.

Usage: bench.py --binaries FOLDER --output RESULT.md [--rounds N]"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench/peers"))
import ddp_train  # noqa: E402

STEPS, WARMUP = 120, 40
ADAMW = "{name: adamw, lr: 1e-3, weight_decay: 0.01}"
SGD = "{name: sgd, lr: 0.05, momentum: 0.9}"
# model, its configuration, data, samples a step, optimizer, precision
WORKLOADS = [
    ("mlp", "{name: mlp, hidden: [512, 512]}", "flat", 64, ADAMW, "f32"),
    ("cnn", "{name: cnn}", "digits", 64, ADAMW, "f32"),
    ("resnet18", "{name: resnet18}", "images", 128, SGD, "f32"),
    ("resnet18", "{name: resnet18}", "images", 128, SGD, "bf16"),
    ("gpt", "{name: gpt, layers: 4, width: 256, heads: 4, context: 128, dropout: 0.1}", "tokens", 32,
     ADAMW, "bf16"),
]
DATA = {"flat": ["classification", "--features", "784", "--classes", "10", "--rows", "20000"],
        "digits": ["classification", "--shape", "1,28,28", "--classes", "10", "--rows", "20000"],
        "images": ["classification", "--shape", "3,32,32", "--classes", "10", "--rows", "20000"],
        "tokens": ["tokens", "--classes", "256", "--rows", "2000000"]}


def make_data(binaries, folder):
    for name, words in DATA.items():
        subprocess.run([binaries / "lockstep", "data", "synth", *words, "--output",
                        folder / f"{name}.h5"], check=True, capture_output=True, timeout=120)


def lockstep(binaries, folder, workload, run):
    model, text, data, batch, optimizer, precision = workload
    (folder / f"{run}.yaml").write_text(f"""
run: {{name: {run}}}
model: {text}
data: {{train: {data}.h5}}
train: {{steps: {STEPS}, global_batch: {batch}, micro_batch: {batch}, optimizer: {optimizer}}}
evaluate: {{every_epochs: 0}}
checkpoint: {{every_epochs: 0, best: none}}
compute: {{device: cuda, precision: {precision}}}
""")
    begin = time.time()
    subprocess.run([binaries / "lockstep-worker", "train", f"{run}.yaml"], check=True, cwd=folder,
                   capture_output=True, timeout=120)
    ends = []
    for line in (folder / "runs" / run / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["type"] == "step":
            ends.append(datetime.datetime.fromisoformat(
                entry["time"].replace("Z", "+00:00")).timestamp())
    # Stamps are of whole milliseconds: the mean over all steps is finer than each.
    return {"ms": (ends[-2] - ends[WARMUP]) / (len(ends) - 2 - WARMUP) * 1e3,
            "tenth": ends[9] - begin}


def batch_of(data, batch, device):
    if data == "tokens":
        tokens = torch.randint(256, (batch, ddp_train.CONTEXT + 1), device=device)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    shape = {"flat": (784,), "digits": (1, 28, 28), "images": (3, 32, 32)}[data]
    return (torch.randn(batch, *shape, device=device),
            torch.randint(10, (batch,), device=device))


class OnDevice(nn.Module):
    """The peers' GPT makes its positions on the CPU."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        with torch.device(inputs.device):
            return self.model(inputs)


def pytorch(workload, compiled):
    model_name, _, data, batch, optimizer, precision = workload
    torch.manual_seed(1)
    begin = time.time()
    device = torch.device("cuda")
    model = OnDevice(ddp_train.MODELS[model_name]()).to(device)
    if model_name in ("cnn", "resnet18"):
        model = model.to(memory_format=torch.channels_last)
    step_model = torch.compile(model, mode="reduce-overhead") if compiled else model
    loss_of = nn.CrossEntropyLoss()
    optimiser = ddp_train.make_optimizer(model_name, model.parameters())
    host = [tuple(part.cpu().pin_memory() for part in batch_of(data, batch, device))
            for _ in range(8)]
    tenth, events = 0.0, []
    for number in range(STEPS):
        inputs, targets = (part.to(device, non_blocking=True) for part in host[number % len(host)])
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            outputs = step_model(inputs)
            loss = loss_of(outputs.flatten(0, -2).float(), targets.flatten())
        loss.backward()
        optimiser.step()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        events.append(event)
        if number == 9:
            torch.cuda.synchronize()
            tenth = time.time() - begin
    torch.cuda.synchronize()
    return {"ms": events[WARMUP].elapsed_time(events[-1]) / (STEPS - 1 - WARMUP), "tenth": tenth}


def measure(binaries, folder, rounds, deadline):
    rows = []
    for index, workload in enumerate(WORKLOADS):
        kinds = ["lockstep", "eager", "compiled"]
        found = {kind: [] for kind in kinds}
        for number in range(rounds):
            for kind in kinds if number % 2 == 0 else kinds[::-1]:
                if time.time() > deadline:
                    break
                if kind == "lockstep":
                    found[kind].append(lockstep(binaries, folder, workload,
                                                f"run-{index}-{number}"))
                else:
                    torch._dynamo.reset()
                    found[kind].append(pytorch(workload, kind == "compiled"))
        rows.append((workload, {kind: {key: statistics.median(one[key] for one in runs)
                                       for key in ("ms", "tenth")} if runs else None
                                for kind, runs in found.items()}))
    return rows


def render(rows):
    name = torch.cuda.get_device_name()
    driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,clocks.sm,power.limit",
                             "--format=csv,noheader"], capture_output=True, text=True).stdout.strip()
    lines = [f"# Lockstep and PyTorch on {name}", "",
             f"{datetime.date.today()}: driver, clock, power limit {driver}; torch "
             f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, "
             f"NCCL {'.'.join(map(str, torch.cuda.nccl.version()))}. One GPU. Lockstep's figures are "
             "end to end, with its data path; PyTorch's are of batches in pinned memory.", "",
             "| workload | Lockstep ms | eager ms | compiled ms | / eager | / compiled | "
             "step 10 after, s | eager | compiled |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for (model, _, _, batch, _, precision), found in rows:
        def figure(kind, key, digits):
            return f"{found[kind][key]:.{digits}f}" if found[kind] else "-"

        def ratio(kind):
            if not found["lockstep"] or not found[kind]:
                return "-"
            return f"{found[kind]['ms'] / found['lockstep']['ms']:.2f}"

        lines.append(f"| {model} {precision}, {batch} | " + " | ".join(
            [figure(kind, "ms", 3) for kind in ("lockstep", "eager", "compiled")]
            + [ratio("eager"), ratio("compiled")]
            + [figure(kind, "tenth", 2) for kind in ("lockstep", "eager", "compiled")]) + " |")
    lines += ["", "Ratios are speeds: above 1 Lockstep is faster."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=100, help="no new run after so long")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench: torch sees no GPU")
    os.environ.setdefault("TORCHINDUCTOR_FX_GRAPH_CACHE", "0")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        binaries = options.binaries.resolve()
        make_data(binaries, folder)
        rows = measure(binaries, folder, options.rounds, time.time() + options.seconds)
    options.output.write_text(render(rows))


if __name__ == "__main__":
    main()
