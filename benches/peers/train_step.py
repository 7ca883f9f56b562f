"""Trains the same networks in PyTorch and in TESLA, in turns, and prints what each does per second.

    python train_step.py --tesla target/release/tesla                      # all work below
    python train_step.py --tesla target/release/tesla cnn64 --rounds 5     # one

Both read the same IDX files of images (random ones by default, or those in --images), and both sides are
measured as wall time and as CPU time of whole epochs after the first, batches gathered from memory and turned
into floats included. CPU time says what the work costs where other programs share the machine.

`epoch` is the CNN with PyTorch's own DataLoader over a Dataset with torchvision-like steps per image,
two workers, as its tutorials have it; the others gather whole batches from one tensor, which is the fastest
way there is in PyTorch.

The threads of both sides are --threads (default 2). Needs torch and numpy; no internet.
"""

import argparse
import json
import os
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time

WORK = {
    # name: (model, batch, epochs after the first)
    "mlp256": ("mlp", 256, 3),
    "mlp64": ("mlp", 64, 3),
    "cnn64": ("cnn", 64, 2),
    "epoch": ("cnn", 64, 1),
}
ROWS = 16384
MODEL = {
    "mlp": 'kind = "mlp"\nhidden = [512, 256]\n',
    "cnn": 'kind = "cnn"\nblocks = [{ filters = 32 }, { filters = 64 }]\nhidden = [128]\n',
}


def make_images(folder, rows):
    import numpy

    rng = numpy.random.default_rng(7)
    images = rng.integers(0, 256, (rows, 28, 28), dtype=numpy.uint8)
    labels = rng.integers(0, 10, rows, dtype=numpy.uint8)
    path = os.path.join(folder, "some-images-idx3-ubyte")
    with open(path, "wb") as f:
        f.write(struct.pack(">IIII", 0x803, rows, 28, 28) + images.tobytes())
    with open(os.path.join(folder, "some-labels-idx1-ubyte"), "wb") as f:
        f.write(struct.pack(">II", 0x801, rows) + labels.tobytes())
    return path


def read_images(path):
    import numpy

    images = open(path, "rb").read()
    rows = struct.unpack(">I", images[4:8])[0]
    labels = open(path.replace("images-idx3", "labels-idx1"), "rb").read()
    x = numpy.frombuffer(images, numpy.uint8, offset=16).reshape(rows, 1, 28, 28)
    return x, numpy.frombuffer(labels, numpy.uint8, offset=8)


def torch_side(name, path, threads):
    import torch
    from torch import nn

    kind, batch, epochs = WORK[name]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    x, y = read_images(path)
    x, y = torch.from_numpy(x.copy()), torch.from_numpy(y.astype("int64"))
    if kind == "mlp":
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
        )
    else:
        model = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    loss_of = nn.CrossEntropyLoss()

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(x)

        def __getitem__(self, i):
            return (x[i].float() / 255 - 0.5) / 0.5, y[i]

    def batches():
        if name == "epoch":
            yield from torch.utils.data.DataLoader(Images(), batch_size=batch, shuffle=True, num_workers=2)
            return
        order = torch.randperm(len(x))
        for at in range(0, len(x), batch):
            rows = order[at : at + batch]
            yield (x[rows].float() / 255 - 0.5) / 0.5, y[rows]

    def cpu():
        return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])

    for epoch in range(epochs + 1):
        if epoch == 1:
            start, start_cpu = time.perf_counter(), cpu()
        total = 0.0
        for images, labels in batches():
            optimizer.zero_grad()
            loss = loss_of(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
    done = epochs * len(x)
    print(json.dumps({
        "wall": done / (time.perf_counter() - start),
        "cpu": done / (cpu() - start_cpu),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))  # fmt: skip


def run(command, threads):
    """Wall time, CPU time and the most memory of a program."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    out, error = child.stdout.read(), child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed: {error.decode()}")
    wall = time.perf_counter() - start
    return out.decode(), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def tesla_side(tesla, folder, name, path, threads):
    """Time of some epochs more, so that reading and writing files do not count."""
    kind, batch, epochs = WORK[name]
    rows = len(read_images(path)[1])
    times = []
    for count in (1, epochs + 1):
        config = os.path.join(folder, f"{name}-{count}.toml")
        with open(config, "w") as f:
            f.write(f'[data]\nsource = "{path}"\nsplit = {{ by = "random", valid = 0.0, test = 0.0 }}\n')
            f.write(f"[model]\n{MODEL[kind]}")
            f.write(f"[train]\nepochs = {count}\nbatch_size = {batch}\n")
        command = [tesla, "train", config, "--device", "flex", "--out", os.path.join(folder, "run"), "-q"]
        times.append(run(command, threads)[1:])
    (wall, cpu, _), (wall_more, cpu_more, memory) = times
    done = epochs * rows
    return {"wall": done / (wall_more - wall), "cpu": done / (cpu_more - cpu), "memory": memory}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", nargs="*", default=list(WORK))
    parser.add_argument("--tesla", help="the program to measure")
    parser.add_argument("--images", help="an IDX file of 28x28 images, its labels beside it")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch:
        return torch_side(args.torch, args.images, args.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = args.images or make_images(folder, args.rows)
        for name in args.work or WORK:
            found = {"torch": [], "tesla": []}
            for _ in range(args.rounds):
                own = [sys.executable, __file__, "--torch", name, "--images", path, "--threads", str(args.threads)]
                found["torch"].append(json.loads(run(own, args.threads)[0]))
                found["tesla"].append(tesla_side(args.tesla, folder, name, path, args.threads))
            kind, batch, _ = WORK[name]
            print(f"{name}: {kind}, batch {batch}, {args.threads} threads, {args.rounds} rounds in turns")
            middle = {}
            for side, rounds in found.items():
                for what in ("wall", "cpu", "memory"):
                    values = sorted(r[what] for r in rounds)
                    middle[side, what] = statistics.median(values)
                print(
                    f"  {side}: {middle[side, 'wall']:7.0f} rows/s"
                    f" ({min(r['wall'] for r in rounds):.0f} to {max(r['wall'] for r in rounds):.0f}),"
                    f" {middle[side, 'cpu']:7.0f} rows per CPU second, peak {middle[side, 'memory']:.0f} MB"
                )
            ratio = {what: middle["tesla", what] / middle["torch", what] for what in ("wall", "cpu", "memory")}
            print(f"  tesla/torch: {ratio['wall']:.2f}x wall, {ratio['cpu']:.2f}x CPU, {ratio['memory']:.2f}x memory")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
