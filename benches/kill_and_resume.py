"""Kills training runs at random moments and resumes them: each must end with the same model file.

    cargo build --release
    python benches/kill_and_resume.py target/release/tesla datasets/digits/tesla.toml --kills 50

Every run saves a checkpoint at each step, so that many a kill meets one that is being written. A run is
killed (SIGKILL) and resumed until it ends by itself.
"""

import argparse
import hashlib
import pathlib
import random
import subprocess
import sys
import tempfile
import time


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tesla")
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", default="3")
    parser.add_argument("--device", default="flex")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tesla-kill-"))
    config = folder / "tesla.toml"
    text = args.config.read_text()
    text = text.replace('source = "', f'source = "{args.config.parent.resolve()}/')
    if "[train]" not in text:
        text += "\n[train]\n"
    config.write_text(text.replace("[train]", "[train]\ncheckpoint = { every_steps = 1 }"))

    def start(run, resume):
        command = [args.tesla, "train", "-q"]
        if resume:
            command += ["--resume", str(run)]
        else:
            command += [str(config), "--out", str(run), "--device", args.device, "--epochs", args.epochs]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def sha(run):
        return hashlib.sha256((run / "model.tesla").read_bytes()).hexdigest()[:12]

    began = time.monotonic()
    whole = folder / "whole"
    _, errors = start(whole, False).communicate()
    if not (whole / "model.tesla").exists():
        sys.exit(errors)
    seconds, expected = time.monotonic() - began, sha(whole)
    print(f"not interrupted: {seconds:.1f} s, {expected}")

    kills = resumed = anew = runs = 0
    while kills < args.kills:
        run = folder / f"run-{runs}"
        runs += 1
        resume = False
        while True:
            process = start(run, resume)
            try:
                _, errors = process.communicate(timeout=draw.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                resume = (run / "checkpoints" / "checkpoint.safetensors").exists()
                resumed, anew = resumed + resume, anew + (not resume)
                continue
            if process.returncode != 0:
                sys.exit(f"run {runs} ended with {process.returncode}: {errors}")
            break
        if sha(run) != expected:
            sys.exit(f"run {runs} ended with {sha(run)}, not {expected}")
    print(f"{kills} kills in {runs} runs, {resumed} resumed from a checkpoint, {anew} before the first: every run ended with {expected}")


if __name__ == "__main__":
    main()
