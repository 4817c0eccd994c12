"""Reads a dataset file with h5py, numpy or torch's DataLoader into ready float32 batches, in the
order that it is given, and prints what that took as one line of JSON.

    h5py_read.py read FILE --way batches --order ORDER --batch 256 --samples 65536 --epochs 2
    h5py_read.py offsets FILE           where x and y lie in it
    h5py_read.py stats FILE             mean, std, min, max and histogram of x by two processes

ORDER holds the sample numbers of some epochs, i64: the last one is not timed, its first samples go
into the checksum, as data_bench.cpp computes it."""

import argparse
import json
import multiprocessing
import time

import h5py
import numpy as np

GAIN = np.float32(1 / 255)
SLICE_BATCHES = 8  # of a sequential read
BINS = 64
STATS_BLOCK = 1 << 17  # elements that stay in the second-level cache


class File:
    """x and y. y is small: it is read whole, once."""

    def __init__(self, options):
        cache = {}
        if options.chunk_cache:
            # As h5py's documentation advises: about 100 slots a chunk that fits, a prime number.
            cache = {"rdcc_nbytes": options.chunk_cache, "rdcc_w0": 1.0, "rdcc_nslots": 1_000_003}
        self.h5 = h5py.File(options.file, "r", **cache)
        self.x = self.h5["x"]
        self.y = self.h5["y"][...]

    def ready(self, rows, out):
        """`rows` as float32 in `out`, between 0 and 1 where they are bytes."""
        if rows.dtype == np.uint8:
            np.multiply(rows, GAIN, out=out)
        elif rows is not out:
            out[...] = rows
        return out


def batch_memory(x, rows, dtype=np.float32):
    return np.empty((rows, *x.shape[1:]), dtype)


def raw_memory(x, out):
    """Where rows of x are read to: `out` itself when they are float32 in the file."""
    return out if x.dtype == np.float32 else batch_memory(x, len(out), x.dtype)


def read_rows(file, samples, raw):
    """One read a row."""
    for i, sample in enumerate(samples):
        raw[i] = file.x[sample]


def read_sorted(file, samples, raw):
    """One read of the sorted rows, then into their order."""
    order = np.argsort(samples)
    raw[order] = file.x[samples[order]]


def in_batches(read):
    def way(file, options):
        out = batch_memory(file.x, options.batch)
        raw = raw_memory(file.x, out)

        def epoch(order):
            for begin in range(0, len(order), options.batch):
                samples = order[begin:begin + options.batch]
                read(file, samples, raw)
                yield file.ready(raw, out), file.y[samples]
        return epoch
    return way


def memmap(take):
    def way(file, options):
        x = np.asarray(np.memmap(options.file, file.x.dtype, "r", file.x.id.get_offset(),
                                 file.x.shape))
        out = batch_memory(x, options.batch)
        raw = raw_memory(x, out)

        def epoch(order):
            for begin in range(0, len(order), options.batch):
                samples = order[begin:begin + options.batch]
                rows = take(x, samples, raw)
                # Fancy indexing makes new memory, which is a ready batch when it holds floats.
                ready = rows if rows.dtype == np.float32 else file.ready(rows, out)
                yield ready, file.y[samples]
        return epoch
    return way


def take_reused(x, samples, raw):
    # With the default mode numpy makes a copy of `out` first.
    return np.take(x, samples, axis=0, out=raw, mode="clip")


def slices(file, options):
    """A sequential pass, some batches at a time."""
    rows = options.batch * SLICE_BATCHES
    out = batch_memory(file.x, rows)
    raw = raw_memory(file.x, out)

    def epoch(order):
        for begin in range(0, len(order), rows):
            end = min(begin + rows, len(order))
            file.x.read_direct(raw, np.s_[begin:end], np.s_[:end - begin])
            ready = file.ready(raw[:end - begin], out[:end - begin])
            for at in range(0, end - begin, options.batch):
                yield ready[at:at + options.batch], file.y[begin + at:begin + at + options.batch]
    return epoch


def windows(file, options):
    """The chunks of each window once, neighbours in one read; then the window's order."""
    chunk = file.x.chunks[0]
    memory = batch_memory(file.x, options.window, file.x.dtype)
    out = batch_memory(file.x, options.batch)
    raw = raw_memory(file.x, out)

    def epoch(order):
        for begin in range(0, len(order), options.window):
            samples = order[begin:begin + options.window]
            chunks = np.unique(samples // chunk)
            ends = np.flatnonzero(np.diff(chunks) != 1) + 1
            at = 0
            for run in np.split(chunks, ends):
                rows = len(run) * chunk
                file.x.read_direct(memory, np.s_[run[0] * chunk:run[0] * chunk + rows],
                                   np.s_[at:at + rows])
                at += rows
            places = np.searchsorted(chunks, samples // chunk) * chunk + samples % chunk
            for first in range(0, len(samples), options.batch):
                part = slice(first, first + options.batch)
                np.take(memory, places[part], axis=0, out=raw, mode="clip")
                yield file.ready(raw, out), file.y[samples[part]]
    return epoch


def loader(read_item, batched):
    """torch's DataLoader; each worker opens the file for itself."""
    def way(file, options):
        import torch
        import torch.utils.data
        file.h5.close()

        class Samples(torch.utils.data.Dataset):
            file = None

            def __len__(self):
                return len(file.y)

            def __getitem__(self, item):
                if self.file is None:
                    self.file = File(options)
                return read_item(self.file, item)

        class Order(torch.utils.data.Sampler):
            samples = []

            def __len__(self):
                return len(self.samples) // options.batch

            def __iter__(self):
                for begin in range(0, len(self.samples), options.batch):
                    samples = self.samples[begin:begin + options.batch]
                    yield samples if batched else samples.tolist()

        def collate(items):
            rows = np.stack([row for row, _ in items])
            ready = file.ready(rows, np.empty(rows.shape, np.float32))
            return torch.from_numpy(ready), torch.tensor([label for _, label in items])

        torch.set_num_threads(1)
        order_of = Order()
        batches = torch.utils.data.DataLoader(
            Samples(), num_workers=options.workers, persistent_workers=options.workers > 0,
            **({"sampler": order_of, "batch_size": None} if batched
               else {"batch_sampler": order_of, "collate_fn": collate}))

        def epoch(order):
            order_of.samples = order
            for inputs, labels in batches:
                yield inputs.numpy(), labels.numpy()
        return epoch
    return way


def one_row(file, sample):
    return file.x[sample], int(file.y[sample])


def one_batch(file, samples):
    import torch
    out = batch_memory(file.x, len(samples))
    raw = raw_memory(file.x, out)
    if np.all(np.diff(samples) == 1):
        file.x.read_direct(raw, np.s_[samples[0]:samples[-1] + 1])
    else:
        read_sorted(file, samples, raw)
    return torch.from_numpy(file.ready(raw, out)), torch.from_numpy(file.y[samples])


WAYS = {
    "rows": in_batches(read_rows),
    "batches": in_batches(read_sorted),
    "memmap": memmap(lambda x, samples, raw: x[samples]),
    "memmap-take": memmap(take_reused),
    "slices": slices,
    "windows": windows,
    "loader-rows": loader(one_row, batched=False),
    "loader-batches": loader(one_batch, batched=True),
}


def checksum_of(batches):
    """Of all bits and the order of the samples, modulo 2^64."""
    total, position = 0, 0
    for inputs, labels in batches:
        bits = np.ascontiguousarray(inputs).reshape(len(inputs), -1).view(np.uint32)
        rows = bits.sum(axis=1, dtype=np.uint64) + labels.astype(np.uint64)
        places = np.arange(position + 1, position + len(inputs) + 1, dtype=np.uint64)
        total += int((rows * places).sum(dtype=np.uint64))
        position += len(inputs)
    return total % (1 << 64)


def read(options):
    file = File(options)
    orders = np.fromfile(options.order, np.int64)
    orders = orders.reshape(-1, len(file.y) - len(file.y) % options.batch)
    samples = options.samples or orders.shape[1]
    samples -= samples % options.batch
    epoch = WAYS[options.way](file, options)
    seconds, size = [], 0
    for order in orders[:options.epochs]:
        size = 0
        begin = time.perf_counter()
        for inputs, _ in epoch(order[:samples]):
            size += inputs.nbytes
        seconds.append(time.perf_counter() - begin)
    verified = options.verify - options.verify % options.batch
    return {"samples": samples, "bytes": size, "seconds": seconds,
            "checksum": checksum_of(epoch(orders[-1][:verified]))}


def offsets(options):
    file = File(options)
    return {"x": file.x.id.get_offset(), "y": file.h5["y"].id.get_offset()}


def stats_of_part(path, begin, end, answers, ranges):
    """One process's rows. Reads them once, then goes over them twice: bins need the range."""
    x = h5py.File(path, "r")["x"]
    memory = np.empty((end - begin, *x.shape[1:]), x.dtype)
    x.read_direct(memory, np.s_[begin:end])
    values = memory.reshape(-1)
    blocks = [values[at:at + STATS_BLOCK] for at in range(0, len(values), STATS_BLOCK)]
    wide = np.empty(STATS_BLOCK)
    low, high, total, squares = np.inf, -np.inf, 0.0, 0.0
    for block in blocks:
        low, high = min(low, block.min()), max(high, block.max())
        doubles = wide[:len(block)]
        doubles[...] = block
        total += doubles.sum()
        squares += doubles @ doubles
    answers.put((float(low), float(high)))
    low, high = ranges.get()
    counts = sum(np.histogram(block, BINS, (low, high))[0] for block in blocks)
    answers.put((float(total), float(squares), counts.tolist()))


def stats(options):
    """Two processes; the time of starting Python and importing is left out."""
    x = h5py.File(options.file, "r")["x"]
    rows, elements, half = x.shape[0], x.size, x.shape[0] // 2
    fork = multiprocessing.get_context("fork")
    answers, ranges = fork.Queue(), fork.Queue()
    begin = time.perf_counter()
    parts = [fork.Process(target=stats_of_part, args=(options.file, *part, answers, ranges))
             for part in ((0, half), (half, rows))]
    for part in parts:
        part.start()
    both = [answers.get() for _ in parts]
    low, high = min(a for a, _ in both), max(b for _, b in both)
    for _ in parts:
        ranges.put((low, high))
    totals, squares, counts = zip(*[answers.get() for _ in parts])
    mean = sum(totals) / elements
    result = {"min": low, "max": high, "mean": mean,
              "std": (sum(squares) / elements - mean * mean) ** 0.5,
              "histogram": [sum(both) for both in zip(*counts)]}
    seconds = time.perf_counter() - begin
    for part in parts:
        part.join()
    return {"seconds": seconds, "result": result}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("read", "offsets", "stats"))
    parser.add_argument("file")
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--order")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--samples", type=int, default=0, help="of each timed epoch; 0 = all")
    parser.add_argument("--verify", type=int, default=0)
    parser.add_argument("--window", type=int, default=0, help="samples that are shuffled together")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--chunk-cache", type=int, default=0, help="bytes; 0 = h5py's default")
    options = parser.parse_args()
    print(json.dumps({"read": read, "offsets": offsets, "stats": stats}[options.task](options)))


if __name__ == "__main__":
    main()
