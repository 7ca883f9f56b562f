"""Runs every comparison with other programs, and writes docs/benchmarks.md.

    python3 -m venv venv && venv/bin/pip install -r benches/peers/requirements.txt
    cargo build --release --workspace --bin tesla --example read --example prepare --example scores --example latency
    venv/bin/python benches/peers/all.py --tesla target/release/tesla --data DIR          # all, some 18 minutes
    venv/bin/python benches/peers/all.py --tesla target/release/tesla --data DIR infer fit    # some, again

Both sides take turns in each part; a part leaves its figures as JSON in --folder, and the page is made of what lies
there, so that a part can be repeated alone and a run that was stopped goes on with --resume. DIR holds
`fashion-mnist` and `adult` as `tesla datasets get` leaves them or as they were published; what is not there is left out or
replaced by made-up rows, and the page says so. `--page` only writes the page.
"""

import argparse
import gzip
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = "torch scikit-learn onnxruntime pandas polars pyarrow fastapi uvicorn numpy".split()
TITLES = {
    "train_step": "Training steps",
    "epoch": "An epoch with data loading",
    "infer": "Predictions in one's own program",
    "fit": "Linear and logistic regression",
    "scaling": "How the time of a step grows",
    "ingest": "Reading tables",
    "columns": "Preparing tables",
    "metrics": "Metrics",
    "serving": "Serving",
}


def first_of(folder, *patterns):
    return next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None) if folder else None


def images(data, folder):
    """Fashion-MNIST's training images, unpacked, or nothing."""
    found = {}
    for kind in ("images-idx3", "labels-idx1"):
        path = first_of(data, f"fashion-mnist/**/train-{kind}-ubyte", f"fashion-mnist/**/train-{kind}-ubyte.gz")
        if path is None:
            return None
        out = folder / f"train-{kind}-ubyte"
        if not out.exists():
            read = gzip.open if path.suffix == ".gz" else open
            with read(path, "rb") as packed, open(f"{out}.part", "wb") as file:
                shutil.copyfileobj(packed, file)
            os.replace(f"{out}.part", out)
        found[kind] = str(out)
    return found["images-idx3"]


def serving(args, folder):
    """A small mlp, its graph, and a row for it."""
    run = folder / "machines"
    config = ROOT / "datasets/machines/tesla.toml"
    text = config.read_text().split("[evaluate]")[0].replace('"machines.csv"', f'"{config.parent / "machines.csv"}"')
    (folder / "machines.toml").write_text(text)
    quiet = dict(check=True, capture_output=True)
    command = [args.tesla, "train", folder / "machines.toml", "--epochs", "10", "--device", "flex", "--out", run, "-q"]
    subprocess.run(command, **quiet)
    subprocess.run([args.tesla, "export", "onnx", run / "model.tesla", "--out", folder / "machines.onnx"], **quiet)
    names, values = (line.split(",") for line in (config.parent / "machines.csv").read_text().splitlines()[:2])
    number = lambda value: float(value) if value.replace(".", "").isdigit() else value
    row = {name: number(value) for name, value in zip(names, values) if name != "failure"}
    (folder / "row.json").write_text(json.dumps(row))
    return [run / "model.tesla", folder / "machines.onnx", folder / "row.json"]


def command(part, args, folder):
    """What runs a part."""
    data = args.data
    tesla, examples = args.tesla, args.tesla.parent / "examples"
    pictures = images(data, folder)
    shown = ["--images", pictures] if pictures else []
    adult = first_of(data, "adult/**/adult-train.csv", "adult/**/adult.data", "adult/**/adult.csv")
    rounds = ["--rounds", args.rounds]
    match part:
        case "train_step":
            return ["train_step.py", "mlp256", "mlp64", "cnn64", "--tesla", tesla, *rounds]
        case "epoch":
            return ["train_step.py", "epoch", "--tesla", tesla, *shown, *rounds]
        case "infer":
            return ["infer.py", "--tesla", tesla, *shown, *rounds]
        case "fit":
            return ["fit.py", "--tesla", tesla, "--cache", folder, *rounds, *(["--adult", adult] if adult else [])]
        case "scaling":
            return ["scaling.py", "--tesla", tesla, "--svg", ROOT / "docs/performance-scaling.svg", *rounds]
        case "ingest":
            return ["ingest.py", examples / "read", "--runs", args.rounds, "--file", folder / "ingest-3000000.csv"]
        case "columns":
            return ["columns.py", examples / "prepare", *([adult] if adult else []), "--cache", folder]
        case "metrics":
            return ["metrics.py", "time", examples / "scores"]
        case "serving":
            own = serving(args, folder)
            return ["serving.py", *own, "--tesla", tesla, "--seconds", 4, *rounds]


def run(part, args):
    folder = args.folder
    out = folder / f"{part}.json"
    started = time.time()
    script, *rest = map(str, command(part, args, folder))
    # The last argument of `metrics.py time` is where its results go.
    rest += [str(out) + ".new"] if part == "metrics" else ["--json", str(out) + ".new"]
    shown = " ".join([script, *rest[:-1 if part == "metrics" else -2]])
    print(f"\n== {part}: {shown}", flush=True)
    try:
        done = subprocess.run([sys.executable, HERE / script, *rest], timeout=args.limit).returncode == 0
        why = "it failed: see what it printed"
    except subprocess.TimeoutExpired:
        done, why = False, f"it took more than {args.limit} s"
    kept = Path(str(out) + ".new")
    if not done or not kept.exists():
        print(f"== {part} has no result: {why}", flush=True)
        return False
    found = json.loads(kept.read_text())
    found |= {"command": shown, "date": time.strftime("%Y-%m-%d"), "seconds": round(time.time() - started)}
    found |= {"machine": machine(), "tesla": version_of(args.tesla)}
    out.write_text(json.dumps(found, indent=1))
    kept.unlink()
    print(f"== {part}: {found['seconds']} s", flush=True)
    return True


def machine():
    """The processor, its cores and the memory."""
    name = platform.processor() or platform.machine()
    memory = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
        kilobytes = int(Path("/proc/meminfo").read_text().split()[1])
        memory = f", {kilobytes / 2**20:.0f} GiB"
    return f"{name}, {os.cpu_count()} cores{memory}, {platform.system()}, Python {platform.python_version()}"


def version_of(tesla):
    return subprocess.run([tesla, "--version"], capture_output=True, text=True).stdout.strip()


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def cell(values):
    """The median, and the smallest and largest of all turns."""
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def ratio(row):
    """How many times as fast as the other; below 1 it is slower."""
    ours, theirs = statistics.median(row["ours"]), statistics.median(row["theirs"])
    return ours / theirs if row["unit"].endswith("/s") else theirs / ours


def table(rows):
    lines = ["| Work | Unit | TESLA | Other | Times as fast | Goal |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for row in rows:
        work = row["work"] + (f"; {row['note']}" if row["note"] else "")
        if not row["theirs"]:
            lines.append(f"| {work} | {row['unit']} | {cell(row['ours'])} | not measured | | |")
            continue
        goal = ""
        if row["goal"]:
            goal = f"{row['goal']:g}, {'met' if ratio(row) >= row['goal'] else 'missed'}"
        theirs = f"{row['peer']}: {cell(row['theirs'])}"
        lines.append(f"| {work} | {row['unit']} | {cell(row['ours'])} | {theirs} | {ratio(row):.2f} | {goal} |")
    return "\n".join(lines)


def versions():
    found = []
    for name in PEERS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    return ", ".join(found)


def page(folder):
    parts = {name: json.loads((folder / f"{name}.json").read_text()) for name in TITLES if (folder / f"{name}.json").exists()}
    if not parts:
        sys.exit(f"no part has been measured yet: `{folder}` holds no results")
    some = next(iter(parts.values()))
    out = [
        "# Benchmarks beside other tools",
        "",
        "Written by `benches/peers/all.py`; do not edit. Both sides did the same work in turns on one machine, with two",
        "threads where a thread count can be said: the median of all turns, and the smallest and largest. *Times as fast* is above 1",
        "where TESLA is faster. What is compared, and where the two differ, is at the top of each script.",
        "",
        "```console",
        "$ cargo build --release --workspace --bin tesla --example read --example prepare --example scores --example latency",
        "$ python benches/peers/all.py --tesla target/release/tesla --data DIR",
        "```",
        "",
        f"- Machine: {some['machine']}",
        f"- TESLA: {some['tesla']}",
        f"- Others: {versions()}",
    ]
    for name, part in parts.items():
        shown = part["command"].replace(str(ROOT) + "/", "").replace(str(folder), "FOLDER")
        for word in shown.split():
            # Where files lay on that machine helps nobody.
            if word.startswith("/"):
                shown = shown.replace(word, Path(word).name)
        out += ["", f"## {TITLES[name]}", ""]
        if name == "scaling":
            out += ["![Time of a training step by batch, width, depth and threads](performance-scaling.svg)", ""]
        if part["rows"]:
            out += [table(part["rows"]), ""]
        out += [f"`{shown}`, {part['date']}, {part['seconds']} s"]
    missing = [title for name, title in TITLES.items() if name not in parts]
    if missing:
        out += ["", f"Not measured on this machine: {', '.join(missing).lower()}."]
    path = ROOT / "docs/benchmarks.md"
    path.write_text("\n".join(out) + "\n")
    print(f"{path} is written")


def gpu_page(found, device):
    """The page of `benches/gpu.sh`."""
    rows = json.loads(Path(found).read_text())["rows"]
    beside = "" if rows[0]["theirs"] else " PyTorch with CUDA was not there to be measured beside it."
    out = [
        "# Speed on a GPU",
        "",
        f"Written by `benches/gpu.sh` on {time.strftime('%Y-%m-%d')}: {device}, through `wgpu`. Rows per second of whole epochs",
        f"after the first, which tunes the kernels.{beside}",
        "",
        table(rows),
    ]
    (ROOT / "docs/gpu.md").write_text("\n".join(out) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(TITLES))
    parser.add_argument("--tesla", type=Path, default=ROOT / "target/release/tesla")
    parser.add_argument("--data", type=Path, help="a folder with `fashion-mnist` and `adult`")
    parser.add_argument("--folder", type=Path, default=ROOT / "target/peers", help="where results and made-up tables are kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=600, help="seconds that a part may take")
    parser.add_argument("--resume", action="store_true", help="leave out parts that have results")
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("--gpu-page", help=argparse.SUPPRESS)
    parser.add_argument("--device", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.gpu_page:
        return gpu_page(args.gpu_page, args.device)
    args.tesla, args.folder = args.tesla.resolve(), args.folder.resolve()
    unknown = [part for part in args.parts if part not in TITLES]
    if unknown:
        parser.error(f"`{unknown[0]}` is no part: expected {', '.join(TITLES)}")
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.page:
        return page(args.folder)
    if not args.tesla.exists():
        sys.exit(f"`{args.tesla}` is not there: run `cargo build --release` first")
    done = [
        args.resume and (args.folder / f"{part}.json").exists() or run(part, args) for part in args.parts or TITLES
    ]
    page(args.folder)
    sys.exit(not all(done))


if __name__ == "__main__":
    main()
