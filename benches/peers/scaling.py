"""How the time of a training step grows with batch, width, depth and threads, in TESLA and in PyTorch.

    python scaling.py --tesla target/release/tesla --svg docs/performance-scaling.svg

Images of 28x28 random bytes, AdamW. Both sides time whole epochs after the first, as `train_step.py` does, in turns;
what is shown is the median of the rounds.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time

import common
from train_step import torch_model

PANELS = {
    # title: (what grows, its values, (model, hidden layers, batch) of a value)
    "MLP 784-512-256-10, by batch": ("rows in a batch", [1, 8, 64, 512], lambda n: ("mlp", [512, 256], n)),
    "MLP 784-n-n-10, batch 64, by width": ("width n", [64, 256, 1024, 2048], lambda n: ("mlp", [n, n], 64)),
    "MLP 784-256-…-10, batch 64, by depth": ("hidden layers", [1, 2, 4, 8], lambda n: ("mlp", [256] * n, 64)),
    "CNN 32C3-P2-64C3-P2-128, by batch": ("rows in a batch", [1, 8, 64, 256], lambda n: ("cnn", [128], n)),
}
THREADS = [1, 2]
EPOCHS = 2


def rows_for(batch):
    return max(batch * 16, 256)


def torch_side(jobs, threads):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    times = []
    for path, kind, hidden, batch in jobs:
        x, y = common.read_images(path)
        x, y = torch.from_numpy(x.copy()), torch.from_numpy(y.astype("int64"))
        model = torch_model(kind, hidden)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
        loss_of = nn.CrossEntropyLoss()
        for epoch in range(EPOCHS + 1):
            if epoch == 1:
                start = time.perf_counter()
            order = torch.randperm(len(x))
            for at in range(0, len(x), batch):
                rows = order[at : at + batch]
                optimizer.zero_grad()
                loss = loss_of(model((x[rows].float() / 255 - 0.5) / 0.5), y[rows])
                loss.backward()
                optimizer.step()
                loss.item()
        times.append((time.perf_counter() - start) / EPOCHS / (len(x) / batch))
    print(json.dumps({"times": times, "version": torch.__version__}))


def tesla_side(tesla, job, folder, threads):
    path, kind, hidden, batch = job
    model = f'kind = "{kind}"\nhidden = {hidden}\n'
    if kind == "cnn":
        model += 'blocks = [{ filters = 32, padding = "valid" }, { filters = 64, padding = "valid" }]\n'
    config = f'[data]\nsource = "{path}"\nsplit = {{ by = "random", valid = 0.0, test = 0.0 }}\n'
    config += f'[audit]\nlevel = "off"\n[model]\n{model}[train]\nepochs = {EPOCHS + 1}\nbatch_size = {batch}\n'
    run = common.train(tesla, config, folder, threads)
    seconds = common.when(run, "epoch", last=True)["at"] - common.when(run, "epoch")["at"]
    return seconds / EPOCHS / (rows_for(batch) / batch)


def draw(panels, version):
    """Four panels of lines on logarithmic axes, for light and dark pages."""
    import math

    width, height, left, top, gap_x, gap_y = 330, 190, 62, 84, 86, 92
    lines = [
        ("ours", 2, "TESLA, 2 threads"),
        ("ours", 1, "TESLA, 1 thread"),
        ("theirs", 2, f"PyTorch {version}, 2 threads"),
        ("theirs", 1, f"PyTorch {version}, 1 thread"),
    ]
    out = []
    say = lambda x, y, text, how="": out.append(f'<text x="{x:.1f}" y="{y:.1f}" {how}>{text}</text>')
    total = (left + 2 * width + gap_x + 24, top + 2 * height + gap_y + 76)
    say(left, 24, "Milliseconds of a training step (less is better)", 'class="title"')
    for i, (side, threads, text) in enumerate(lines):
        x, y = left + (i // 2) * 300, 44 + (i % 2) * 18
        out.append(f'<line x1="{x}" y1="{y}" x2="{x + 28}" y2="{y}" class="{side} t{threads}"/>')
        say(x + 36, y + 4, text)
    for number, (title, panel) in enumerate(panels.items()):
        x0 = left + (number % 2) * (width + gap_x)
        y0 = top + (number // 2) * (height + gap_y) + 26
        values = [v for times in panel["times"].values() for v in times]
        low, high = math.floor(math.log10(min(values) * 1e3)), math.ceil(math.log10(max(values) * 1e3))
        high = max(high, low + 1)
        place_y = lambda s: y0 + height * (1 - (math.log10(s * 1e3) - low) / (high - low))
        grows = panel["values"]
        step = math.log(grows[-1] / grows[0])
        place_x = lambda v: x0 + width * math.log(v / grows[0]) / step
        say(x0, y0 - 10, title, 'class="panel"')
        for power in range(low, high + 1):
            y = place_y(10.0**power / 1e3)
            out.append(f'<line x1="{x0}" y1="{y:.1f}" x2="{x0 + width}" y2="{y:.1f}" class="grid"/>')
            say(x0 - 8, y + 4, f"{10.0**power:g}", 'text-anchor="end"')
        for value in grows:
            say(place_x(value), y0 + height + 18, value, 'text-anchor="middle"')
        say(x0 + width / 2, y0 + height + 36, panel["what"], 'text-anchor="middle" class="axis"')
        for side, threads, _ in lines:
            points = [(place_x(v), place_y(t)) for v, t in zip(grows, panel["times"][f"{side} {threads}"])]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            out.append(f'<polyline points="{path}" class="{side} t{threads}"/>')
            for x, y in points:
                out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" class="{side}"/>')
    style = """text{font:12px system-ui,sans-serif;fill:#24292f}
.title{font-size:16px;font-weight:600}.panel{font-weight:600}.axis{fill:#57606a}
.grid{stroke:#d0d7de;stroke-width:1}
.ours{stroke:#0969da;fill:none;stroke-width:2}.theirs{stroke:#bc4c00;fill:none;stroke-width:2}
circle.ours{fill:#0969da;stroke:none}circle.theirs{fill:#bc4c00;stroke:none}
.t1{stroke-dasharray:6 4}
.page{fill:#ffffff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{fill:#9198a1}.grid{stroke:#3d444d}.page{fill:#0d1117}
.ours{stroke:#58a6ff}.theirs{stroke:#f0883e}circle.ours{fill:#58a6ff}circle.theirs{fill:#f0883e}}"""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" width="{total[0]}" height="{total[1]}" role="img" aria-label="Time of a training step by batch, width, depth and threads">'
    return "\n".join([head, f"<style>{style}</style>", '<rect class="page" width="100%" height="100%"/>', *out, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tesla")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--svg", help="where to draw them")
    parser.add_argument("--torch", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch:
        return torch_side(json.loads(args.torch[0]), int(args.torch[1]))
    with tempfile.TemporaryDirectory() as folder:
        jobs = [job(value) for _, values, job in PANELS.values() for value in values]
        sizes = {rows_for(batch) for _, _, batch in jobs}
        files = {rows: common.make_images(folder, rows) for rows in sizes}
        jobs = [(files[rows_for(batch)], kind, hidden, batch) for kind, hidden, batch in jobs]
        turns = {}
        for _ in range(args.rounds):
            for threads in THREADS:
                torch = common.call([sys.executable, __file__, "--torch", json.dumps(jobs), threads], threads)
                ours = [tesla_side(args.tesla, job, folder, threads) for job in jobs]
                for side, times in (("ours", ours), ("theirs", torch["times"])):
                    turns.setdefault(f"{side} {threads}", []).append(times)
    medians = {line: list(map(statistics.median, zip(*found))) for line, found in turns.items()}
    panels, at = {}, 0
    for title, (what, values, _) in PANELS.items():
        times = {line: found[at : at + len(values)] for line, found in medians.items()}
        panels[title] = {"what": what, "values": values, "times": times}
        at += len(values)
        print(title)
        for i, value in enumerate(values):
            cells = ", ".join(f"{line} thread{'s' * (line[-1] > '1')} {1e3 * found[i]:.2f} ms" for line, found in times.items())
            print(f"  {value}: {cells}")
    version = torch["version"].split("+")[0]
    common.write(args.json, [], panels=panels, version=version)
    if args.svg:
        with open(args.svg, "w") as file:
            file.write(draw(panels, version))


if __name__ == "__main__":
    main()
