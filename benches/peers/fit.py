"""How long linear and logistic regression take, beside scikit-learn, on the same rows with the same penalty.

    python fit.py --tesla target/release/tesla [--adult adult-train.csv] [--rows 1000000]

The tables are adult, where it is given (numbers imputed and standardised, categories one-hot), and made-up rows of 50
numbers in a Parquet file. Both sides standardise. `fit` is the search alone: from prepared rows in memory to
weights, as `tesla train --json` reports them and as scikit-learn's `fit` takes. `whole` is the program: reading,
preparing, fitting, and in TESLA writing the model and its report. Logistic regression has the same penalty (C = 1)
on both sides, and both stop where no entry of the gradient of the mean loss exceeds 1e-8. The loss that each
reached is printed and must agree: of TESLA that of `tesla predict`, penalty included. Rounds in turns.
"""

import argparse
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import common

WIDTH = 50
# The least ratio that is the goal.
GOALS = {"logistic, 1,000,000 x 50": 1.0}


def make(path, rows):
    """Numbers of different scales that depend on each other a little; classes and values from a linear model."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, WIDTH))
    x[:, 1:] += 0.3 * x[:, :-1]
    score = x @ (rng.normal(size=WIDTH) / 5)
    frame = pd.DataFrame(x * 10.0 ** rng.integers(-1, 3, WIDTH), columns=[f"x{i}" for i in range(WIDTH)])
    frame["label"] = np.where(rng.random(rows) < 1 / (1 + np.exp(-score)), "yes", "no")
    frame["value"] = score + rng.normal(size=rows)
    frame.to_parquet(path)


def prepared(path, target, drop):
    """What both sides make of the columns."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    read = pd.read_parquet if path.endswith(".parquet") else pd.read_csv
    frame = read(path)
    y = frame[target].to_numpy()
    frame = frame.drop(columns=[target, *drop])
    numbers = frame.select_dtypes("number").columns
    names = [name for name in frame if name not in set(numbers)]
    if not names:
        return StandardScaler().fit_transform(frame.to_numpy()), y
    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        ("names", OneHotEncoder(sparse_output=False), names),
    ])  # fmt: skip
    return columns.fit_transform(frame), y


def peer(kind, path, target, drop):
    import numpy as np
    import sklearn
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.metrics import log_loss

    start = time.perf_counter()
    x, y = prepared(path, target, drop)
    if kind == "linear":
        y = y.astype(float)
    model = LinearRegression() if kind == "linear" else LogisticRegression(C=1.0, tol=1e-8, max_iter=2000)
    ready = time.perf_counter()
    model.fit(x, y)
    end = time.perf_counter()
    if kind == "linear":
        loss = float(np.mean((model.predict(x) - y) ** 2))
    else:
        loss = log_loss(y, model.predict_proba(x)) + float((model.coef_**2).sum()) / 2 / len(y)
    # Starting Python and importing count for nothing here.
    print(json.dumps({"fit": end - ready, "whole": end - start, "loss": loss, "version": sklearn.__version__}))


def loss_of(tesla, run, kind, path, target, folder):
    """The loss that TESLA reached, from its predictions and weights."""
    import numpy as np
    import pandas as pd

    out = str(Path(folder) / "predictions.parquet")
    done = subprocess.run(
        [tesla, "predict", run["model"], path, "--device", "flex", "--out", out], capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"tesla predict failed: {done.stderr}")
    found = pd.read_parquet(out)
    if kind == "linear":
        return float(np.mean((found["prediction"] - found[target].astype(float)) ** 2))
    probability = np.select(
        [found[target].astype(str) == name[12:] for name in found if name.startswith("probability_")],
        [found[name] for name in found if name.startswith("probability_")],
    )
    with zipfile.ZipFile(run["model"]) as bundle:
        weights = bundle.read("weights.safetensors")
    size = struct.unpack("<Q", weights[:8])[0]
    tensors = json.loads(weights[8 : 8 + size])
    at = next(t for name, t in tensors.items() if name.endswith("weight"))["data_offsets"]
    weight = np.frombuffer(weights[8 + size + at[0] : 8 + size + at[1]], np.float32)
    return float(-np.log(probability).mean() + (weight.astype(float) ** 2).sum() / 2 / len(found))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tesla")
    parser.add_argument("--adult", help="adult.data as it was published")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cache", help="a folder for the made-up rows, used again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--peer", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        kind, path, target, *drop = args.peer
        return peer(kind, path, target, drop)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        made = str(Path(args.cache or folder) / f"rows-{args.rows}.parquet")
        if not Path(made).exists():
            make(made + ".part", args.rows)
            Path(made + ".part").rename(made)
        shape = f"{args.rows:,} x {WIDTH}"
        works = [("logistic", shape, made, "label", ["value"]), ("linear", shape, made, "value", ["label"])]
        if args.adult:
            import pandas as pd

            from columns import ADULT

            adult = str(Path(folder) / "adult.csv")
            frame = pd.read_csv(
                args.adult, header=None, names=ADULT, skipinitialspace=True, na_values="?", keep_default_na=False
            )
            frame.drop(columns="fnlwgt").to_csv(adult, index=False)
            works += [
                ("logistic", "adult", adult, "income", []),
                ("linear", "adult", adult, "hours_per_week", []),
            ]
        for kind, name, path, target, drop in works:
            config = f'[data]\nsource = "{path}"\ntarget = "{target}"\ndrop = {json.dumps(drop)}\n'
            config += f'task = "{"regression" if kind == "linear" else "classification"}"\n'
            config += 'split = { by = "random", valid = 0.0, test = 0.0 }\n'
            config += f'[audit]\nlevel = "off"\n[model]\nkind = "{kind}"\n'
            ours, theirs = [], []
            for _ in range(args.rounds):
                run = common.train(args.tesla, config, folder, args.threads)
                solved = common.when(run, "solved")
                ours.append({"fit": solved["at"] - common.when(run, "started")["at"], "whole": run["wall"]})
                command = [sys.executable, "-W", "ignore", __file__, "--peer", kind, path, target, *drop]
                theirs.append(common.call(command, args.threads))
            loss = [loss_of(args.tesla, run, kind, path, target, folder), theirs[0]["loss"]]
            assert abs(loss[0] - loss[1]) <= 1e-5 * abs(loss[1]), f"{kind}, {name}: losses {loss}"
            for what in ("fit", "whole"):
                work = f"{kind}, {name}"
                values = [[run[what] for run in side] for side in (ours, theirs)]
                said = f"loss {loss[0]:.9f} against {loss[1]:.9f}" if what == "fit" else ""
                goal = GOALS.get(work) if what == "fit" else None
                full = f"scikit-learn {theirs[0]['version']}"
                rows.append(common.row(f"{work}, {what}", full, *values, "s", goal, said))
                middle = [statistics.median(side) for side in values]
                print(f"{work}, {what}: {middle[0]:.3f} s against {middle[1]:.3f} s, {said}", flush=True)
            common.write(args.json, rows)


if __name__ == "__main__":
    main()
