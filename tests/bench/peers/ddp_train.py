"""The peers: the same models, sizes and optimizers in PyTorch, tuned by its own documentation.

    torchrun --nproc-per-node 2 ddp_train.py --exchange ddp ...   DistributedDataParallel over gloo
    mpirun -n 2 python ddp_train.py --exchange mpi ...            one flat gradient, MPI_Allreduce
    python ddp_train.py --exchange none ...                       one process, no communication

Prints one line of JSON (rank 0): model, step_ms (median), samples_per_second, and
first_step_seconds since --started (Unix time just before the command was started)."""

import argparse
import ctypes
import json
import os
import statistics
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class Mlp(nn.Sequential):
    def __init__(self, *widths):
        layers = [nn.Flatten()]
        for width, following in zip(widths, widths[1:]):
            layers += [nn.Linear(width, following), nn.ReLU()]
        super().__init__(*layers[:-1])


class Cnn(nn.Module):
    def __init__(self, channels=(32, 64), hidden=128):
        super().__init__()
        first, second = channels
        self.conv1 = nn.Conv2d(1, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.dense = nn.Linear(second * 7 * 7, hidden)
        self.head = nn.Linear(hidden, 10)

    def forward(self, x):
        # Pooling before ReLU gives the same numbers on a quarter of the elements, as Lockstep does.
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        return self.head(F.relu(self.dense(x.flatten(1))))


def shortcut_of(inputs, outputs, stride):
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                         nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = shortcut_of(inputs, outputs, stride)

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Sequential):
    """With the 3x3 stem for CIFAR (He et al. 2016, section 4.2)."""

    def __init__(self, channels=(64, 128, 256, 512)):
        width = channels[0]
        layers = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        for stage, outputs in enumerate(channels):
            for block in range(2):
                layers.append(BasicBlock(width, outputs, 2 if stage and not block else 1))
                width = outputs
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


class Bottleneck(nn.Module):
    """Its stride is in the 3x3 convolution, as in torchvision's "v1.5"."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.shortcut = shortcut_of(inputs, outputs, stride)

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(self.norm3(self.conv3(y)) + self.shortcut(x))


class ResNet50(nn.Sequential):
    def __init__(self, channels=(64, 128, 256, 512), classes=1000):
        width = channels[0]
        # Pooled before ReLU: the same numbers, as Lockstep does.
        layers = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width),
                  nn.MaxPool2d(3, 2, 1), nn.ReLU()]
        for stage, (inner, blocks) in enumerate(zip(channels, (3, 4, 6, 3))):
            for block in range(blocks):
                layers.append(Bottleneck(width, inner, 2 if stage and not block else 1))
                width = 4 * inner
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, context, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(
            batch, context, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed = self.out(mixed.transpose(1, 2).reshape(batch, context, width))
        x = x + F.dropout(mixed, self.dropout, self.training)
        hidden = self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return x + F.dropout(hidden, self.dropout, self.training)


class Gpt(nn.Module):
    def __init__(self, layers=4, width=256, heads=4, context=128, vocabulary=256, dropout=0.1,
                 tied=False):
        super().__init__()
        self.dropout = dropout
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, tokens):
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = F.dropout(self.tokens(tokens) + self.positions(positions), self.dropout, self.training)
        return self.head(self.norm(self.blocks(x)))


CONTEXT = 128
MODELS = {"tiny": lambda: Mlp(64, 64, 10), "mlp": lambda: Mlp(784, 512, 512, 10),
          "wide": lambda: Mlp(784, 4096, 4096, 1216, 10), "cnn": Cnn, "resnet18": ResNet18,
          "gpt": Gpt}


class Batches:
    """Random samples of the files that the harness wrote from Lockstep's own data file."""

    def __init__(self, model, folder, rank):
        self.tokens = model == "gpt"
        self.random = torch.Generator().manual_seed(rank)
        if self.tokens:
            self.stream = torch.from_numpy(np.load(f"{folder}/tokens.npy"))
            self.samples = (len(self.stream) - 1) // CONTEXT
        else:
            self.inputs = torch.from_numpy(np.load(f"{folder}/x.npy"))
            self.targets = torch.from_numpy(np.load(f"{folder}/y.npy").astype(np.int64))
            self.samples = len(self.targets)

    def next(self, size):
        rows = torch.randint(self.samples, (size,), generator=self.random)
        if self.tokens:
            places = rows[:, None] * CONTEXT + torch.arange(CONTEXT + 1)
            window = self.stream[places].long()
            return window[:, :-1].contiguous(), window[:, 1:].contiguous()
        inputs = self.inputs[rows]
        return inputs if inputs.is_floating_point() else inputs.float().div_(255), \
            self.targets[rows]


def make_optimizer(model, parameters):
    if model in ("tiny", "resnet18"):
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, fused=True)
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01, fused=True)


class MpiGroup:
    """Open MPI's all-reduce by its C interface: no mpi4py to install, no copies to make."""

    def __init__(self):
        self.mpi = ctypes.CDLL("libmpi.so.40", ctypes.RTLD_GLOBAL)
        self.mpi.MPI_Init(None, None)
        self.world = ctypes.c_void_p(ctypes.addressof(
            ctypes.c_char.in_dll(self.mpi, "ompi_mpi_comm_world")))
        self.float = ctypes.c_void_p(ctypes.addressof(
            ctypes.c_char.in_dll(self.mpi, "ompi_mpi_float")))
        self.sum = ctypes.c_void_p(ctypes.addressof(
            ctypes.c_char.in_dll(self.mpi, "ompi_mpi_op_sum")))
        self.rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
        self.size = int(os.environ["OMPI_COMM_WORLD_SIZE"])

    def sum_in_place(self, tensor):
        in_place = ctypes.c_void_p(1)
        code = self.mpi.MPI_Allreduce(in_place, ctypes.c_void_p(tensor.data_ptr()), tensor.numel(),
                                      self.float, self.sum, self.world)
        if code != 0:
            sys.exit(f"MPI_Allreduce returned {code}")


def flatten_gradients(model):
    """One buffer for all gradients, each parameter's .grad a view of it."""
    parameters = list(model.parameters())
    flat = torch.zeros(sum(p.numel() for p in parameters))
    offset = 0
    for parameter in parameters:
        parameter.grad = flat[offset:offset + parameter.numel()].view_as(parameter)
        offset += parameter.numel()
    return flat


def bind_to_core(rank):
    """mpirun binds each rank to a core of its own, torchrun does not: same on both sides."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > rank:
        os.sched_setaffinity(0, {cores[rank]})


def make_step(options):
    """The rank and a function that trains on one batch."""
    torch.manual_seed(1)
    model = MODELS[options.model]()
    order = torch.channels_last if options.channels_last else torch.contiguous_format
    model = model.to(memory_format=order)
    loss_of = nn.CrossEntropyLoss()

    if options.exchange == "ddp":
        # Its worker threads must inherit the binding.
        rank = int(os.environ["RANK"])
        bind_to_core(rank)
        torch.distributed.init_process_group("gloo")
        model = nn.parallel.DistributedDataParallel(
            model, gradient_as_bucket_view=True, static_graph=True)
    elif options.exchange == "mpi":
        group = MpiGroup()
        rank = group.rank
        flat = flatten_gradients(model)
    else:
        rank = 0
    optimizer = make_optimizer(options.model, model.parameters())

    def step(inputs, targets):
        if options.channels_last:
            inputs = inputs.to(memory_format=order)
        if options.exchange == "mpi":
            flat.zero_()
        else:
            optimizer.zero_grad(set_to_none=True)
        outputs = model(inputs)
        loss = loss_of(outputs.flatten(0, -2), targets.flatten())
        loss.backward()
        if options.exchange == "mpi":
            group.sum_in_place(flat)
            flat.div_(group.size)
        optimizer.step()
        return loss.item()

    return rank, step


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--exchange", choices=("ddp", "mpi", "none"), default="ddp")
    parser.add_argument("--data", required=True, help="folder with x.npy and y.npy, or tokens.npy")
    parser.add_argument("--batch", type=int, required=True, help="samples a rank and step")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--warmup", type=int, required=True, help="first steps left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true",
                        help="keep images and convolutions in PyTorch's channels_last order")
    parser.add_argument("--started", type=float, default=time.time())
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    rank, step = make_step(options)
    batches = Batches(options.model, options.data, rank)
    world_size = int(os.environ.get("WORLD_SIZE", os.environ.get("OMPI_COMM_WORLD_SIZE", "1")))

    seconds, first_step_seconds, loss, warm = [], 0.0, 0.0, 0.0
    for number in range(options.steps):
        begin = time.perf_counter()
        if number == options.warmup:
            warm = begin
        loss = step(*batches.next(options.batch))
        seconds.append(time.perf_counter() - begin)
        if number == 0:
            first_step_seconds = time.time() - options.started
    mean = (time.perf_counter() - warm) / (options.steps - options.warmup)

    if rank == 0:
        median = statistics.median(seconds[options.warmup:])
        print(json.dumps({
            "model": options.model, "exchange": options.exchange, "world_size": world_size,
            "step_ms": median * 1e3, "mean_ms": mean * 1e3,
            "samples_per_second": options.batch * world_size / median,
            "first_step_seconds": first_step_seconds, "loss": loss,
            "torch": torch.__version__}), flush=True)
    if options.exchange == "mpi":
        ctypes.CDLL("libmpi.so.40").MPI_Finalize()
    # DDP over gloo can deadlock in its exit handlers.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
