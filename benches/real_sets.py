"""Trains the configurations of `examples/configs` on real data, several seeds each, and prints a table.

    cargo build --release
    python benches/real_sets.py target/release/tesla DATA --seeds 1 2 3 sms-spam clinc150

`DATA` is a folder that holds the data sets as the configurations name them. `DATA/splits/NAME.test_rows.txt`,
where it is there, lists the test rows of a set without an official split. Figures are of test rows; nothing is
chosen by them.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

CONFIGS = pathlib.Path(__file__).parent.parent / "examples" / "configs"
HEADLINES = {"ai4i2020": "roc_auc", "california-housing": "rmse", "cmapss": "rmse"}


def configuration(name, data):
    """The text of a configuration, with paths that start at `data`."""
    text = (CONFIGS / f"{name}.tesla.toml").read_text()
    text = re.sub(r'^((?:source|test|valid) = ")', rf"\g<1>{data}/", text, flags=re.M)
    text = re.sub(r'(after = ")', rf"\g<1>{data}/", text)
    listed = data / "splits" / f"{name}.test_rows.txt"
    if listed.exists():
        text = text.replace("[data]\n", f'[data]\nsplit = {{ test_rows = "{listed}" }}\n', 1)
    return text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tesla")
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--seeds", nargs="+", default=["1", "2", "3"])
    parser.add_argument("--device", default="flex")
    args = parser.parse_args()
    print("| data | model | figure | mean | spread | seconds |\n| --- | --- | --- | --- | --- | --- |")
    for name in args.names:
        figures, seconds, model = [], [], "?"
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / f"{name}.toml"
            config.write_text(configuration(name, args.data.resolve()))
            for seed in args.seeds:
                start = time.monotonic()
                command = [args.tesla, "train", str(config), "--seed", seed, "--device", args.device]
                done = subprocess.run(
                    [*command, "--json", "--out", f"{folder}/run"], capture_output=True, text=True
                )
                if done.returncode != 0:
                    raise SystemExit(f"{name}: {done.stderr.strip()}")
                seconds.append(time.monotonic() - start)
                events = [json.loads(line) for line in done.stdout.splitlines()]
                model = next(e["model"] for e in events if e["event"] == "started")
                metrics = events[-1]["test"]["metrics"]
                headline = HEADLINES.get(name, "accuracy")
                figures.append(metrics[headline])
        spread = max(figures) - min(figures)
        print(
            f"| {name} | {model} | {headline} | {statistics.mean(figures):.4g} | {spread:.2g} | {statistics.mean(seconds):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
