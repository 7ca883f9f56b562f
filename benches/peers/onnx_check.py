"""Holds `tesla export onnx` against `tesla predict`: the same rows, raw, through both.

    python3 -m venv venv && venv/bin/pip install onnxruntime onnx numpy pandas
    venv/bin/python benches/peers/onnx_check.py --program target/release/tesla [--data FOLDER] [--epochs 5]

Trains linear, logistic, mlp and cnn on the data sets of the repository and on made columns with every
preparation that ONNX can express; with `--data`, also on `adult` and `california-housing` in FOLDER as
`examples/configs` has them. Prints one line a model, and ends with 1 where a class differs or a number
is more than 1e-4 (relative, for numbers that are not probabilities) apart.
"""

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    import onnx
    import onnxruntime
    import pandas as pd
except ImportError as error:
    print(f"skipped: {error.name} is not installed")
    sys.exit(0)

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4


def run(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, args))}: {done.stderr}")
    return done.stdout


def made(folder):
    """A table with missing values, strangers and ties, for every preparation."""
    chance = random.Random(7)
    rows = []
    for i in range(1500):
        gone = lambda value, share=0.05: "" if chance.random() < share else value
        x = chance.gauss(3, 2)
        y = chance.expovariate(1)
        z = chance.choice([0, 0, 0, 1, 2, 5, 9])
        colour = chance.choice(["red", "green", "blue", "grün", "rare1", "rare2"][: 4 + (i % 50 == 0) * 2])
        score = x + 2 * y - z + (colour == "red") * 3 + chance.gauss(0, 1)
        rows.append(
            [gone(x), gone(-x), y, gone(y), z, z + 1, x * y, gone(z), x]
            + [gone(colour), colour, gone(colour), colour, colour]
            + ["abc"[min(2, max(0, int(score / 4)))], score]
        )
    names = "std yeo log quant normal minmax robust bins clip one ord freq goal emb label score".split()
    table = pd.DataFrame(rows, columns=names)
    table.to_csv(folder / "made.csv", index=False)
    # Rows to predict: with strangers, and numbers that training never saw.
    numbers = [-1e6, -3.25, -0.5, 0, 1e-9, 3, 1e6]

    def spoilt(at, value):
        match chance.random():
            case r if r < 0.2:
                return ""
            case r if r < 0.35:
                return chance.choice(numbers) if at < 9 else "stranger"
        return value

    new = [[spoilt(*cell) for cell in enumerate(row[:14])] + row[14:] for row in rows]
    pd.DataFrame(new, columns=names).to_csv(folder / "new.csv", index=False)
    return "\n".join(
        f"[columns.{name}]\n{text}\n"
        for name, text in {
            "std": 'indicator = true\ndegree = 2',
            "yeo": 'scale = "yeo_johnson"\nimpute = "median"\ndegree = 2',
            "log": 'scale = "log1p"\ndegree = 2',
            "quant": 'scale = "quantile_uniform"',
            "normal": 'scale = "quantile_normal"',
            "minmax": 'scale = "min_max"',
            "robust": 'scale = "robust"',
            "bins": 'bins = { count = 4, strategy = "quantile" }\nindicator = true',
            "clip": 'clip = { quantiles = [0.05, 0.95] }',
            "one": 'min_count = 30',
            "ord": 'encode = "ordinal"',
            "freq": 'encode = "frequency"',
            "goal": 'encode = "target"',
            "emb": 'encode = "embedding"',
        }.items()
    )


def feed(session, rows):
    """The raw columns as the graph's inputs."""
    inputs = {}
    for wanted in session.get_inputs():
        column = rows[wanted.name]
        match wanted.type:
            case "tensor(double)":
                values = pd.to_numeric(pd.Series(column), errors="coerce").to_numpy(np.float64)
                inputs[wanted.name] = values.reshape(-1, 1)
            case "tensor(string)":
                texts = ["" if v is None or (isinstance(v, float) and math.isnan(v)) else str(v) for v in column]
                inputs[wanted.name] = np.array(texts, dtype=object).reshape(-1, 1)
            case other:
                sys.exit(f"input {wanted.name} has the type {other}")
    return inputs


def read(path):
    """Rows of JSON lines as they are, without a guess at types."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {name: [line.get(name) for line in lines] for name in lines[0]}


def pixels(path):
    raw = path.read_bytes()
    count, height, width = (int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(3))
    return np.frombuffer(raw[16:], np.uint8).reshape(count, 1, height, width)


def compare(name, session, inputs, predicted):
    outputs = [out.name for out in session.get_outputs()]
    found = dict(zip(outputs, session.run(None, inputs)))
    rows = len(predicted["prediction"])
    if "probability" in found:
        labels = [key.removeprefix("probability_") for key in predicted if key.startswith("probability_")]
        ours = np.array([predicted[f"probability_{label}"] for label in labels], float).T
        apart = float(np.abs(ours - found["probability"]).max())
        differ = sum(str(a) != str(b) for a, b in zip(predicted["prediction"], found["prediction"]))
    else:
        ours = np.array(predicted["prediction"], float)
        apart = float((np.abs(ours - found["prediction"]) / np.maximum(1, np.abs(ours))).max())
        differ = 0
    good = apart <= TOLERANCE and differ == 0 and not math.isnan(apart)
    print(f"{'ok   ' if good else 'WRONG'} {name:<34} {rows:>6} rows  {apart:.1e} apart  {differ} classes differ")
    return good


def check(args, folder, name, config, rows):
    """Trains as `config` says, exports, and predicts `rows` both ways."""
    (folder / "t.toml").write_text(config)
    model, graph, out = (folder / f for f in ["run/model.tesla", "model.onnx", "out.jsonl"])
    device = ["--device", "flex"]
    run(args.program, "train", folder / "t.toml", "--out", folder / "run", "-q", *device)
    run(args.program, "export", "onnx", model, "--out", graph)
    onnx.checker.check_model(str(graph), full_check=True)
    run(args.program, "predict", model, rows, "--out", out, *device)
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    predicted = read(out)
    first = session.get_inputs()[0]
    if first.type == "tensor(uint8)":
        inputs = {first.name: pixels(Path(rows))}
    else:
        inputs = feed(session, predicted)
    return compare(name, session, inputs, predicted)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="target/release/tesla")
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    sets = ROOT / "datasets"
    good = True
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        mlp = f'kind = "mlp"\nhidden = [32, 16]\n[train]\nepochs = {args.epochs}'
        norm = mlp.replace("[train]", 'batch_norm = true\nactivation = "gelu"\n[train]')
        for name, target, models in [
            ("iris", "species", ['kind = "logistic"', mlp]),
            ("wine", "cultivar", ['kind = "logistic"', norm]),
            ("diabetes", "progression", ['kind = "linear"', norm.replace("gelu", "tanh")]),
        ]:
            path = sets / name / f"{name}.csv"
            for model in models:
                config = f'[data]\nsource = "{path}"\ntarget = "{target}"\n[model]\n{model}\n'
                kind = model.split('"')[1]
                good &= check(args, folder, f"{name} {kind}", config, path)
        columns = made(folder)
        for target, other, model in [("label", "score", mlp), ("score", "label", norm)]:
            config = (
                f'[data]\nsource = "{folder}/made.csv"\ntarget = "{target}"\ndrop = ["{other}"]\n'
                f"[audit]\nlevel = \"off\"\n[model]\n{model}\n{columns}"
            )
            good &= check(args, folder, f"every preparation, {target}", config, folder / "new.csv")
        digits = sets / "digits" / "digits-images-idx3-ubyte"
        small = f"[train]\nepochs = {args.epochs}"
        for name, model in {
            "digits logistic": 'kind = "logistic"\n[train]\nepochs = 2',
            "digits mlp": mlp,
            "digits cnn": f'kind = "cnn"\nblocks = [{{ filters = 8, pool = 1 }}, {{ filters = 16 }}]\n{small}',
            "digits cnn, residual, averaged": 'kind = "cnn"\npooling = "average"\nblocks = [{ filters = 8,'
            ' residual = true, batch_norm = true }, { filters = 8, kernel = 2, residual = true },'
            f' {{ filters = 12, padding = "valid", kernel = 2, pool = 1 }}]\n{small}',
        }.items():
            config = f'[data]\nsource = "{digits}"\n[model]\n{model}\n'
            good &= check(args, folder, name, config, digits)
        for name in ["adult", "california-housing"] if args.data else []:
            text = (ROOT / "examples" / "configs" / f"{name}.tesla.toml").read_text()
            path = next(line for line in text.splitlines() if line.startswith("source"))
            inside = path.split('"')[1]
            path = Path(args.data) / inside
            if not path.exists():
                path = path.with_name("adult-train.csv")
            config = "\n".join(
                f"epochs = {args.epochs}" if line.startswith("epochs") else line
                for line in text.splitlines()
                if not line.startswith(("early_stop", "schedule"))
            )
            config = config.replace(f'source = "{inside}"', f'source = "{path}"')
            kinds = {"mlp": config}
            head, _, rest = config.partition("[model]")
            plain = "logistic" if name == "adult" else "linear"
            kinds[plain] = f'{head}[model]\nkind = "{plain}"\n'
            for kind, text in kinds.items():
                good &= check(args, folder, f"{name} {kind}", text, path)
    sys.exit(0 if good else 1)


main()
