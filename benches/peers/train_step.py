"""Trains the same networks in PyTorch and in TESLA, in turns, and prints what each does per second.

    python train_step.py --tesla target/release/tesla                      # all work below
    python train_step.py --tesla target/release/tesla cnn64 --rounds 5     # one

Both read the same IDX files of images (random ones by default, or those in --images), and both sides are
measured as wall time and as CPU time of whole epochs after the first, batches gathered from memory and turned
into floats included. CPU time says what the work costs where other programs share the machine.

`epoch` is one epoch of the CNN, the first, with PyTorch's own DataLoader over a Dataset with torchvision-like
steps per image, two workers, as its tutorials have it; the others gather whole batches from one tensor, which is
the fastest way there is in PyTorch.

The threads of both sides are --threads (default 2). PyTorch needs torch and numpy; where they are not, only TESLA
is measured. --device and --torch-device choose a GPU. No internet.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time

import common

WORK = {
    # name: (model, batch, epochs after the first, the least ratio that is the goal)
    "mlp256": ("mlp", 256, 3, 1.5),
    "mlp64": ("mlp", 64, 3, 1.2),
    "cnn64": ("cnn", 64, 2, 1.1),
    "epoch": ("cnn", 64, 0, 1.2),
}
ROWS = 16384
MODEL = {
    "mlp": 'kind = "mlp"\nhidden = [512, 256]\n',
    "cnn": 'kind = "cnn"\nblocks = [{ filters = 32, padding = "valid" }, { filters = 64, padding = "valid" }]\n'
    "hidden = [128]\n",
}
NAME = {"mlp": "MLP 784-512-256-10", "cnn": "CNN 32C3-P2-64C3-P2-128"}


def torch_model(kind, hidden=(512, 256)):
    from torch import nn

    if kind == "mlp":
        widths = [784, *hidden]
        layers = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], 10))
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def torch_side(name, path, threads, device):
    import torch
    from torch import nn

    kind, batch, epochs, _ = WORK[name]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    x, y = common.read_images(path)
    x, y = torch.from_numpy(x.copy()), torch.from_numpy(y.astype("int64"))
    model = torch_model(kind).to(device)
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

    first = min(epochs, 1)
    for epoch in range(epochs + 1):
        if epoch == first:
            start, start_cpu = time.perf_counter(), cpu()
        total = 0.0
        for images, labels in batches():
            optimizer.zero_grad()
            loss = loss_of(model(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            # On a GPU, reading each loss would wait for each step.
            total += loss.item() if device == "cpu" else loss.detach()
    # Waits for what the GPU still does.
    float(total)
    done = max(epochs, 1) * len(x)
    print(json.dumps({
        "wall": done / (time.perf_counter() - start),
        "cpu": done / (cpu() - start_cpu),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "version": torch.__version__,
    }))  # fmt: skip


def tesla_side(tesla, folder, name, path, threads, device):
    kind, batch, epochs, _ = WORK[name]
    config = f'[data]\nsource = "{path}"\nsplit = {{ by = "random", valid = 0.0, test = 0.0 }}\n'
    config += f'[audit]\nlevel = "off"\n[model]\n{MODEL[kind]}[train]\nepochs = {epochs + 1}\nbatch_size = {batch}\n'
    run = common.train(tesla, config, folder, threads, device)
    started = common.when(run, "epoch" if epochs else "started")
    ended = common.when(run, "epoch", last=True)
    done = max(epochs, 1) * common.when(run, "started")["rows"][0]
    return {
        "wall": done / (ended["at"] - started["at"]),
        "cpu": done / max(ended["cpu"] - started["cpu"], 0.01),
        "memory": run["memory"],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", nargs="*", default=list(WORK))
    parser.add_argument("--tesla", help="the program to measure")
    parser.add_argument("--images", help="an IDX file of 28x28 images, its labels beside it")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="flex", help="TESLA's device")
    parser.add_argument("--torch-device", default="cpu", help="`cpu`, `cuda`, or `none` to leave PyTorch out")
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--torch", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch:
        return torch_side(args.torch, args.images, args.threads, args.torch_device)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = args.images or common.make_images(folder, args.rows)
        for name in args.work or WORK:
            found = {"torch": [], "tesla": []}
            for _ in range(args.rounds):
                if args.torch_device != "none":
                    own = [sys.executable, __file__, "--torch", name, "--images", path]
                    own += ["--threads", args.threads, "--torch-device", args.torch_device]
                    found["torch"].append(common.call(own, args.threads))
                found["tesla"].append(tesla_side(args.tesla, folder, name, path, args.threads, args.device))
            kind, batch, _, goal = WORK[name]
            print(f"{name}: {kind}, batch {batch}, {args.threads} threads, {args.rounds} rounds in turns")
            middle = {}
            for side, rounds in found.items():
                if not rounds:
                    continue
                for what in ("wall", "cpu", "memory"):
                    middle[side, what] = statistics.median(r[what] for r in rounds)
                print(
                    f"  {side}: {middle[side, 'wall']:7.0f} rows/s"
                    f" ({min(r['wall'] for r in rounds):.0f} to {max(r['wall'] for r in rounds):.0f}),"
                    f" {middle[side, 'cpu']:7.0f} rows per CPU second, peak {middle[side, 'memory']:.0f} MB"
                )
            what = f"{NAME[kind]}, AdamW, batch {batch}"
            if name == "epoch":
                what += f", an epoch of {'Fashion-MNIST' if args.images else 'random images'} with a `DataLoader`"
            peer, theirs, memory = "PyTorch", [r["wall"] for r in found["torch"]], ""
            if theirs:
                ratio = {w: middle["tesla", w] / middle["torch", w] for w in ("wall", "cpu", "memory")}
                print(
                    f"  tesla/torch: {ratio['wall']:.2f}x wall, {ratio['cpu']:.2f}x CPU, {ratio['memory']:.2f}x memory"
                )
                first = found["torch"][0]
                peer = f"PyTorch {first['version']}" + (f" on {first['device']}" if args.torch_device == "cuda" else "")
                memory = f"peak memory {middle['tesla', 'memory']:.0f} MB against {middle['torch', 'memory']:.0f} MB"
            ours = [r["wall"] for r in found["tesla"]]
            rows.append(common.row(what, peer, ours, theirs, "rows/s", goal, memory))
            common.write(args.json, rows)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
