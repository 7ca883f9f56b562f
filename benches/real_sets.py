"""Trains the configurations of `examples/configs` on public data, several seeds each, and writes the table of
`docs/results.md`.

    cargo build --release
    python3 benches/real_sets.py target/release/tesla DATA                   # all of them, then the page
    python3 benches/real_sets.py target/release/tesla DATA adult/mlp cmapss  # some of them again, then the page

`DATA` is a folder that holds the data sets as the configurations name them, and for MovieLens `movielens-100k/u.data`.
`DATA/splits/NAME.test_rows.txt`, where it is there, lists the test rows of a set without an official split.
Figures are of test rows; nothing is chosen by them. What was measured is kept in `benches/results.json`, one entry for
each line of the table, so that lines can be measured one by one. Only the standard library is needed.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CONFIGS = HERE.parent / "examples" / "configs"
KEPT = HERE / "results.json"
PAGE = HERE.parent / "docs" / "results.md"

# Name of the line: data, configuration, model (None for that of the configuration), figure, what is asked at least.
LINES = {
    "fashion-mnist": ("Fashion-MNIST", "fashion-mnist", None, "accuracy", 0.925),
    "cifar10": ("CIFAR-10, 5,000 + 1,000 images of it", "cifar10", None, "accuracy", 0.60),
    "flower-photos": ("flower photographs, 600 of them", "flower-photos", None, "accuracy", 0.60),
    "adult/logistic": ("Adult, official test", "adult", 'kind = "logistic"', "accuracy", 0.850),
    "adult/mlp": ("Adult, official test", "adult", None, "accuracy", 0.855),
    "california-housing/linear": (
        "California housing, fixed test rows",
        "california-housing",
        'kind = "linear"',
        "rmse",
        69000,
    ),
    "california-housing/mlp": (
        "California housing, fixed test rows",
        "california-housing",
        None,
        "rmse",
        52000,
    ),
    "clinc150": ("CLINC150, 4,500 test rows", "clinc150", None, "accuracy", 0.915),
    "sms-spam": ("SMS spam, fixed test rows", "sms-spam", None, "accuracy", 0.985),
    "cmapss/conv1d": ("C-MAPSS FD001, last flight of each", "cmapss", None, "rmse", 14.5),
    "cmapss/lstm": (
        "C-MAPSS FD001, last flight of each",
        "cmapss",
        'kind = "lstm"\ndropout = 0.4',
        "rmse",
        14.5,
    ),
    "ai4i2020": ("AI4I 2020, leaking columns left out", "ai4i2020", None, "roc_auc", 0.96),
}
# Those of `recommend.py`: data, its arguments, how its lines begin, model, figure, what is asked at least.
RATINGS = {
    "movielens/mf": ("MovieLens-100K, 5 folds", "movielens", "movielens-100k/u.data", "mf", "rmse", 0.930),
    "movielens/bpr": ("MovieLens-100K, 75/25", "movielens", "movielens-100k/u.data", "bpr", "ndcg@10", 0.40),
    "jester": ("Jester, a fifth held out", "jester", "jester/jester-data-1.zip", "mf", "nmae", 0.168),
}
LESS_IS_BETTER = ("rmse", "nmae")


def configuration(name, data, folder=None, model=None):
    """The text of a configuration, with paths that start at `data`."""
    text = (CONFIGS / f"{name}.tesla.toml").read_text()
    if name == "adult" and folder:
        # Labels of the official test set end in a full stop.
        rows = (data / "adult" / "adult.test").read_text()
        (folder / "adult.test.csv").write_text(re.sub(r"\.$", "", rows, flags=re.M))
        text = text.replace("# test = ", "test = ")
    if model:
        text = re.sub(r"\[model\]\n.*?(?=\n\[|\Z)", f"[model]\n{model}\n", text, flags=re.S)
    text = re.sub(r'^((?:source|test|valid) = ")', rf"\g<1>{data}/", text, flags=re.M)
    text = text.replace(f"{data}/adult/adult.test.csv", f"{folder}/adult.test.csv")
    text = re.sub(r'(after = ")', rf"\g<1>{data}/", text)
    listed = data / "splits" / f"{name}.test_rows.txt"
    if listed.exists():
        text = text.replace("[data]\n", f'[data]\nsplit = {{ test_rows = "{listed}" }}\n', 1)
    return text


def run(command):
    """What a program printed, its seconds, and the most memory it had, in MB."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command))}: {err.read().strip()}")
        return out.read(), time.monotonic() - start, usage.ru_maxrss / 1024


def of_config(args, name):
    _, config, model, figure, _ = LINES[name]
    values, seconds, memory, kind = [], [], 0, "?"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        path = folder / f"{config}.toml"
        path.write_text(configuration(config, args.data.resolve(), folder, model))
        for seed in args.seeds:
            command = [args.tesla, "train", path, "--seed", seed, "--device", args.device, "--json"]
            out, wall, most = run([*map(str, command), "--out", str(folder / "run")])
            events = [json.loads(line) for line in out.splitlines()]
            kind = next(e["model"] for e in events if e["event"] == "started")
            values.append(events[-1]["test"]["metrics"][figure])
            seconds.append(wall)
            memory = max(memory, most)
    return {"model": kind, "values": values, "seconds": statistics.mean(seconds), "memory": memory}


def of_ratings(args, name):
    _, kind, path, model, _, _ = RATINGS[name]
    command = [sys.executable, HERE / "recommend.py", kind, args.data / path, "--tesla", args.tesla]
    command += ["--seeds", str(len(args.seeds)), "--only", model, "--json"]
    out, _, memory = run([*map(str, command)])
    found = json.loads(out.splitlines()[-1])
    return {"model": model, "memory": memory, **found}


def shown(figure, value):
    return f"{value:,.0f}" if value > 1000 else f"{value:.2f}" if value > 1 else f"{value:.4f}"


def page(kept):
    lines = [
        "| Data | Model | Figure | Mean | Spread | Asked | Seconds | Memory |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, (data, *_, figure, asked) in {**LINES, **RATINGS}.items():
        if name not in kept:
            continue
        entry = kept[name]
        values = entry["values"]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        sign = "≤" if figure in LESS_IS_BETTER else "≥"
        lines.append(
            f"| {data} | `{entry['model']}` | {figure} | {shown(figure, statistics.mean(values))} "
            f"| {shown(figure, spread)} | {sign} {shown(figure, asked)} "
            f"| {entry['seconds']:.0f} | {entry['memory']:.0f} MB |"
        )
    table = "\n".join(lines)
    text = PAGE.read_text()
    begin, end = "<!-- table -->\n", "<!-- end of the table -->"
    head, rest = text.split(begin)
    PAGE.write_text(f"{head}{begin}{table}\n{end}{rest.split(end)[1]}")
    print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tesla")
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("names", nargs="*", help="lines of the table, or how their names begin")
    parser.add_argument("--seeds", nargs="+", default=["1", "2", "3"])
    parser.add_argument("--device", default="flex")
    args = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in [*LINES, *RATINGS]:
        if args.names and not any(name.startswith(start) for start in args.names):
            continue
        entry = of_config(args, name) if name in LINES else of_ratings(args, name)
        kept[name] = {**entry, "date": datetime.date.today().isoformat()}
        print(name, entry, file=sys.stderr, flush=True)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    page(kept)


if __name__ == "__main__":
    main()
