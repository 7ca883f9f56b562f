"""Requests a second, latency, memory and cold start of `tesla serve` beside FastAPI with ONNX Runtime.

    python3 benches/peers/serving.py MODEL.tesla MODEL.onnx ROW.json [--seconds 10] [--connections 8]

`hey` must be installed, and FastAPI, uvicorn and onnxruntime in this Python. ROW.json holds one row as an object. FastAPI gets the same row, and hands its
values as one 32-bit row to the network's first input (or, when the graph takes raw columns, each by its
name). Both run in turns, with one process each, on the cores this machine has.
"""

import argparse
import importlib.metadata
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import common

ROOT = pathlib.Path(__file__).resolve().parents[2]
APP = """
import json, os
import numpy as np, onnxruntime
from fastapi import FastAPI, Request
app = FastAPI()
session = onnxruntime.InferenceSession(os.environ["ONNX"])
inputs = session.get_inputs()
def tensors(row):
    if len(inputs) == 1:
        return {inputs[0].name: np.array([list(row.values())], dtype=np.float32)}
    kind = lambda i: object if "string" in i.type else np.float64 if "double" in i.type else np.float32
    return {i.name: np.array([[row[i.name]]], dtype=kind(i)) for i in inputs}
@app.post("/predict")
async def predict(request: Request):
    found = session.run(None, tensors(await request.json()))
    return {"predictions": [np.asarray(x).tolist() for x in found]}
"""


def wait(url, process):
    while process.poll() is None:
        try:
            return urllib.request.urlopen(url).read()
        except OSError:
            time.sleep(0.002)
    sys.exit("the server ended: " + url)


def memory(pid):
    """Megabytes of a process and its children."""
    pids = [pid] + [int(p) for p in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()]
    lines = "".join(pathlib.Path(f"/proc/{p}/status").read_text() for p in pids)
    return sum(map(int, re.findall(r"VmRSS:\s+(\d+)", lines))) / 1024


def load(url, row, args):
    """What `hey` says after a warm-up: requests a second, p50 and p99 in milliseconds, statuses."""
    hey = ["hey", "-m", "POST", "-T", "application/json", "-D", row, "-c", str(args.connections)]
    subprocess.run([*hey, "-z", "1s", url], capture_output=True)
    said = subprocess.run([*hey, "-z", f"{args.seconds}s", url], capture_output=True, text=True).stdout
    if "Requests/sec" not in said:
        sys.exit(f"`hey` says nothing of requests: {said[:500]}")
    number = lambda pattern: float(re.search(pattern, said)[1])
    statuses = dict(re.findall(r"\[(\d+)\]\s+(\d+) responses", said))
    return number(r"Requests/sec:\s+([\d.]+)"), 1e3 * number(r"50%+ in ([\d.]+)"), 1e3 * number(r"99%+ in ([\d.]+)"), statuses


def measure(name, command, ready, url, args, env=None):
    started = time.time()
    process = subprocess.Popen(command, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(ready, process)
        cold = time.time() - started
        rate, p50, p99, statuses = load(url, args.row, args)
        used = memory(process.pid)
        print(f"| {name} | {rate:,.0f} | {p50:.2f} | {p99:.2f} | {used:.0f} | {cold:.3f} | {statuses} |", flush=True)
        if set(statuses) != {"200"}:
            sys.exit(f"{name} did not answer every request with 200: {statuses}")
        return {"rate": rate, "p50": p50, "p99": p99, "memory": used, "cold": cold}
    finally:
        process.terminate()
        process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("onnx", nargs="?")
    parser.add_argument("row")
    parser.add_argument("--tesla", default=ROOT / "target/release/tesla")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", help="where to write the results")
    args = parser.parse_args()
    if not shutil.which("hey"):
        sys.exit("skipped: `hey` is not installed")
    print("| server | req/s | p50 ms | p99 ms | RSS MB | cold start s | statuses |\n|---|---|---|---|---|---|---|")
    serve = [args.tesla, "serve", args.model, "--name", "m", "--device", "flex", "--addr", "127.0.0.1:8189"]
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "app.py").write_text(APP)
        command = [sys.executable, "-m", "uvicorn", "--app-dir", folder, "app:app", "--port", "8190", "--no-access-log"]
        for _ in range(args.rounds):
            base = "http://127.0.0.1:8189"
            ours.append(measure("tesla serve", serve, base + "/v2/health/ready", base + "/v1/models/m/predict", args))
            if args.onnx:
                base = "http://127.0.0.1:8190"
                env = {"ONNX": str(pathlib.Path(args.onnx).resolve())}
                theirs.append(measure("FastAPI + ONNX Runtime", command, base + "/docs", base + "/predict", args, env))
    if theirs:
        version = importlib.metadata.version
        peer = f"FastAPI {version('fastapi')} + ONNX Runtime {version('onnxruntime')}"
        lines = [("requests", "rate", "requests/s"), ("p50", "p50", "ms"), ("p99", "p99", "ms"), ("cold start", "cold", "s")]
        rows = [
            common.row(f"serving an mlp to {args.connections} connections, {what}", peer, [r[key] for r in ours], [r[key] for r in theirs], unit)
            for what, key, unit in lines
        ]
        note = statistics.median(r["memory"] for r in ours), statistics.median(r["memory"] for r in theirs)
        rows[0]["note"] = f"memory {note[0]:.0f} MB against {note[1]:.0f} MB"
        common.write(args.json, rows)


if __name__ == "__main__":
    main()
