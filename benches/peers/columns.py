"""How long it takes to fit and apply the preparation of a table, beside scikit-learn.

    pip install scikit-learn pandas
    cargo build --release -p tesla-data --example prepare
    python benches/peers/columns.py target/release/examples/prepare [adult-train.csv] [--json FILE]

Numbers are imputed by their mean and standardised, categories become one 0/1 column per level, a missing one
a level of its own; out come dense 64-bit numbers in memory. Reading is not timed. The tables are adult, if
given, and one of 3 million rows with 10 numbers and 4 categories, made from a seed. Each turn of either is a
process of its own; they take turns, and the median of five counts. TESLA runs with one thread and with one
per core; `ColumnTransformer` with its default, which is one. The sums of what came out must agree.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import common

ADULT = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex "
    "capital_gain capital_loss hours_per_week native_country income"
).split()
TURNS = 5


def made(path, rows):
    rng = np.random.default_rng(4)
    columns = {}
    for i in range(10):
        values = np.round(rng.normal(i, 10.0 ** (i % 4), rows), 4)
        if i % 3 == 0:
            values[rng.random(rows) < 0.02] = np.nan
        columns[f"x{i}"] = values
    for i, levels in enumerate([2, 6, 12, 25]):
        names = np.array([f"level {k} of {i}" for k in range(levels)], dtype=object)
        values = names[np.minimum(rng.geometric(3 / (levels + 3), rows) - 1, levels - 1)]
        if i == 2:
            values[rng.random(rows) < 0.01] = None
        columns[f"c{i}"] = values
    columns["y"] = np.round(rng.normal(0, 1, rows), 4)
    pd.DataFrame(columns).to_csv(path, index=False)


def peer(path, target):
    import time

    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pd.read_csv(path).drop(columns=target)
    numbers = frame.select_dtypes("number").columns
    names = [name for name in frame if name not in set(numbers)]
    start = time.perf_counter()
    transformer = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("names", OneHotEncoder(sparse_output=False), names),
        ]
    )
    matrix = transformer.fit_transform(frame)
    seconds = time.perf_counter() - start
    found = dict(rows=len(matrix), width=matrix.shape[1], seconds=seconds, sum=float(np.abs(matrix).sum()))
    print(json.dumps(found))


def run(command, threads=None):
    env = dict(os.environ, **({"RAYON_NUM_THREADS": str(threads)} if threads else {}))
    return json.loads(subprocess.run(command, check=True, capture_output=True, env=env).stdout)


def compare(name, program, path, target):
    ours = [program, str(path), target]
    theirs = [sys.executable, "-W", "ignore", __file__, "--peer", str(path), target]
    found = {"tesla": [], "tesla, one thread": [], "scikit-learn": []}
    for _ in range(TURNS):
        found["tesla"].append(run(ours))
        found["tesla, one thread"].append(run(ours, 1))
        found["scikit-learn"].append(run(theirs))
    a, b = found["tesla"][0], found["scikit-learn"][0]
    assert (a["rows"], a["width"]) == (b["rows"], b["width"]), (a, b)
    assert abs(a["sum"] - b["sum"]) <= 1e-6 * b["sum"], (a, b)
    median = {who: statistics.median(turn["seconds"] for turn in turns) for who, turns in found.items()}
    print(f"{name}: {a['rows']} rows become {a['width']} numbers each")
    for who, seconds in median.items():
        times = median["scikit-learn"] / seconds
        best = min(turn["seconds"] for turn in found[who])
        print(f"  {who:18} {seconds:8.3f} s (best {best:.3f}), {times:.1f} times as fast as scikit-learn")
    seconds = {who: [turn["seconds"] for turn in turns] for who, turns in found.items()}
    full = f"scikit-learn {importlib.metadata.version('scikit-learn')}"
    return [
        common.row(f"preparing {name}, {a['rows']:,} rows{threads}", full, seconds[f"tesla{threads}"], seconds["scikit-learn"], "s")
        for threads in ("", ", one thread")
    ]


def main():
    if sys.argv[1] == "--peer":
        return peer(*sys.argv[2:])
    parser = argparse.ArgumentParser()
    parser.add_argument("program", help="the built example `prepare`")
    parser.add_argument("adult", nargs="?")
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--cache", help="a folder for the made-up table, used again")
    parser.add_argument("--json", help="where to write the results")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if args.adult:
            path = Path(folder) / "adult.csv"
            frame = pd.read_csv(
                args.adult, header=None, names=ADULT, skipinitialspace=True, na_values="?", keep_default_na=False
            )
            frame.drop(columns="fnlwgt").to_csv(path, index=False)
            rows += compare("adult", args.program, path, "income")
        path = Path(args.cache or folder) / f"columns-{args.rows}.csv"
        if not path.exists():
            made(path.with_suffix(".part"), args.rows)
            path.with_suffix(".part").rename(path)
        rows += compare("a made-up table", args.program, path, "y")
    common.write(args.json, rows)


if __name__ == "__main__":
    main()
