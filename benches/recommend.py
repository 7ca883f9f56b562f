#!/usr/bin/env python3
"""Measures `tesla` on public rating data: MovieLens-100K and Jester.

    python3 benches/recommend.py movielens u.data [--tesla target/release/tesla] [--seeds 3]
    python3 benches/recommend.py jester jester-data-1.zip

`movielens` takes `u.data`, or the `ml-100k.inter` that the `recbole` wheel on PyPI holds. The licence of
MovieLens forbids to pass it on: it is not part of this repository.

* `mf`: five random folds, the mean of their RMSE.
* `bpr`: a quarter of the ratings held out at random, NDCG@10 of all items but those in the user's
  training rows; each rating counts as a positive.
* Jester: a fifth of the ratings held out at random, NMAE: MAE divided by the range of ratings.

Only the standard library is needed. The settings stand below; `--tune` prints figures of a grid on validation
rows, a tenth of the training rows, and never looks at test rows.
"""

import argparse
import csv
import io
import itertools
import json
import pathlib
import random
import subprocess
import tempfile
import time
import zipfile

INTERACTIONS = """
[data.interactions]
user = "user"
item = "item"
rating = "rating"
"""
MF = {"kind": "mf", "factors": 40, "l2": 0.11, "l2_bias": 0.02}
JESTER = {"kind": "mf", "factors": 8, "l2": 0.05, "l2_bias": 0.02}
BPR = {"kind": "bpr", "factors": 64, "l2": 0.01, "negatives": 4}
BPR_TRAIN = {
    "epochs": 25,
    "batch_size": 2048,
    "learning_rate": 0.005,
    "weight_decay": 0.0,
    "early_stop": {"patience": 0},
}


def ratings(kind, path):
    """Users, items and ratings as texts, in the order of the file."""
    if kind == "movielens":
        with open(path, encoding="utf-8") as f:
            rows = [line.rstrip("\n").split("\t")[:3] for line in f]
        return [row for row in rows if row[0].isdigit()]
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.lower().endswith(".csv"))
        text = io.TextIOWrapper(archive.open(name), encoding="utf-8")
        table = list(csv.reader(text))
    rows = []
    for user, row in enumerate(table):
        for joke, rating in enumerate(row[1:]):
            if float(rating) != 99:
                rows.append([f"u{user}", f"j{joke + 1}", rating])
    return rows


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def table(name, values):
    return f"[{name}]\n" + "".join(f"{k} = {toml(v)}\n" for k, v in values.items())


def run(tesla, folder, rows, test, model, train, seed, valid=0.0):
    """Trains on all rows but `test`; the report of the run and its seconds."""
    folder = pathlib.Path(folder)
    data = folder / "ratings.csv"
    if not data.exists():
        with data.open("w", newline="") as f:
            writer = csv.writer(f)
            writer.writerow(["user", "item", "rating"])
            writer.writerows(rows)
    (folder / "test_rows.txt").write_text("".join(f"{row}\n" for row in sorted(test)))
    (folder / "tesla.toml").write_text(
        '[data]\nsource = "ratings.csv"\n'
        f'split = {{ by = "rows", test_rows = "test_rows.txt", valid = {valid} }}\n'
        + INTERACTIONS
        + table("model", model)
        + table("train", {"device": "flex", "seed": seed, **train})
    )
    start = time.time()
    done = subprocess.run(
        [tesla, "train", str(folder / "tesla.toml"), "--out", str(folder / "run"), "--json"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1]), time.time() - start


def spread(name, values, seconds):
    mean = sum(values) / len(values)
    each = " ".join(f"{v:.4f}" for v in values)
    print(f"{name:<34} {mean:.4f}   each {each}   {seconds / len(values):.1f} s a run", flush=True)


def measure(args, rows, folder):
    values, times = [], []
    for seed in range(args.seeds):
        order = list(range(len(rows)))
        random.Random(seed).shuffle(order)
        if args.kind == "jester":
            report, seconds = run(
                args.tesla, folder, rows, order[: len(order) // 5], JESTER, {}, seed
            )
            values.append(report["test"]["interactions"]["nmae"])
            times.append(seconds)
            spread(f"jester NMAE, seed {seed}", values[-1:], seconds)
            continue
        if args.only != "bpr":
            found, total = [], 0.0
            for fold in range(5):
                report, seconds = run(args.tesla, folder, rows, order[fold::5], MF, {}, seed)
                found.append(report["test"]["metrics"]["rmse"])
                total += seconds
            values.append(sum(found) / 5)
            times.append(total / 5)
            spread(f"movielens mf RMSE, seed {seed}", found, total)
        if args.only != "mf":
            report, seconds = run(
                args.tesla, folder, rows, order[: len(order) // 4], BPR, BPR_TRAIN, seed
            )
            test = report["test"]
            values.append(test["metrics"]["ndcg"])
            times.append(seconds)
            spread(f"movielens bpr NDCG@10, seed {seed}", values[-1:], seconds)
            print("   ", test["metrics"], "baselines", test["baselines"])
    if args.json:
        print(json.dumps({"values": values, "seconds": sum(times) / len(times)}))


def tune(args, rows, folder):
    """Validation figures of a grid: a tenth of the training rows of the first split."""
    order = list(range(len(rows)))
    random.Random(0).shuffle(order)
    test = order[: len(order) // 5]
    if args.kind == "jester" or args.tune == "mf":
        for factors, l2, bias in itertools.product([8, 20, 40], [0.05, 0.08, 0.11, 0.15], [0.02]):
            model = {"kind": "mf", "factors": factors, "l2": l2, "l2_bias": bias}
            report, seconds = run(args.tesla, folder, rows, test, model, {}, 0, valid=0.1)
            valid = report["valid"]
            spread(str((factors, l2, bias, round(valid["metrics"]["rmse"], 4))),
                   [valid["interactions"]["nmae"]], seconds)
    else:
        for factors, l2, negatives in itertools.product([64, 128], [0.007, 0.01, 0.015], [4]):
            model = {"kind": "bpr", "factors": factors, "l2": l2, "negatives": negatives}
            report, seconds = run(args.tesla, folder, rows, test, model, BPR_TRAIN, 0, valid=0.1)
            history = report["valid"]["metrics"]["ndcg"]
            spread(str((factors, l2, negatives)), [history], seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["movielens", "jester"])
    parser.add_argument("path")
    parser.add_argument("--tesla", default="target/release/tesla")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", choices=["mf", "bpr"])
    parser.add_argument("--only", choices=["mf", "bpr"], help="one of the models of `movielens`")
    parser.add_argument("--json", action="store_true", help="end with a line for `real_sets.py`")
    args = parser.parse_args()
    rows = ratings(args.kind, args.path)
    with tempfile.TemporaryDirectory() as folder:
        print(f"{len(rows)} ratings", flush=True)
        (tune if args.tune else measure)(args, rows, folder)


if __name__ == "__main__":
    main()
