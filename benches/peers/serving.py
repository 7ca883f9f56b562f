"""Requests a second, latency, memory and cold start of `tesla serve` beside FastAPI with ONNX Runtime and
MLServer, on the same model and the same row.

    tesla export onnx MODEL.tesla --out MODEL.onnx
    python3 benches/peers/serving.py MODEL.tesla MODEL.onnx ROW.json [--seconds 10] [--rounds 3]
    python3 benches/peers/serving.py MODEL.tesla ROW.json --overload 60

`wrk` must be installed (`hey` for `--overload`). ROW.json holds one row as an object, and the graph takes raw columns, each by its
name. Every server is one process, gets the cores of this machine for itself, and has its turn in each
round; printed are medians of the rounds. The peers are installed into `--venvs`, a folder with `fastapi`
and `mlserver`, or made there; one that cannot be installed is left out with a word.

With `--overload`, a server that takes up to `--at-work` requests at a time is asked by as many clients
(its capacity), then for that many seconds by clients that together send twice as much. A request has
`--rows` rows then, so that it is the server that has too much to do, and not the client beside it.
"""

import argparse
import concurrent.futures
import csv
import io
import json
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
# Of an overload: groups of clients, and seconds between their starts.
GROUPS, GAP = 8, 0.005
SESSION = """
import json, os
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
# Faster than more for one row of a small network.
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["ONNX"], options)
kinds = {"tensor(string)": object, "tensor(double)": np.float64, "tensor(float)": np.float32}
inputs = [(i.name, kinds[i.type]) for i in session.get_inputs()]
names = [o.name for o in session.get_outputs()]
empty = {object: "", np.float64: np.nan, np.float32: np.nan}
def tensor(value, kind):
    value = empty[kind] if value is None else str(value) if kind is object else value
    return np.array([[value]], dtype=kind)
"""
FASTAPI = SESSION + """
from fastapi import FastAPI, Request
app = FastAPI()
@app.get("/ready")
async def ready():
    return {}
@app.post("/predict")
async def predict(request: Request):
    row = await request.json()
    found = session.run(None, {name: tensor(row[name], kind) for name, kind in inputs})
    return {name: x.tolist() for name, x in zip(names, found)}
"""
MLSERVER = SESSION + """
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput
class Model(MLModel):
    async def load(self):
        return True
    async def predict(self, payload):
        row = {i.name: i.data[0] for i in payload.inputs}
        found = session.run(None, {name: tensor(row[name], kind) for name, kind in inputs})
        outputs = [ResponseOutput(name=n, shape=list(x.shape), datatype="BYTES" if x.dtype == object else "FP64",
                                  data=x.ravel().tolist()) for n, x in zip(names, found)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
"""
MLSERVER_MODEL = {"name": "m", "implementation": "model.Model"}
MLSERVER_SETTINGS = {"parallel_workers": 0, "http_port": 8191, "grpc_port": 8192, "metrics_port": 8193, "debug": False}
# As in requirements.txt; what mlserver goes with is its own choice.
PACKAGES = {"fastapi": ["fastapi==0.165.0", "uvicorn[standard]==0.54.0", "onnxruntime==1.32.0", "numpy==2.4.6"],
            "mlserver": ["mlserver==1.7.1", "onnxruntime", "numpy"]}


def wait(url, process):
    """Until the address answers with 200."""
    while process.poll() is None:
        try:
            return urllib.request.urlopen(url).read()
        except OSError:
            time.sleep(0.002)
    sys.exit("the server ended: " + url)


def memory(pid):
    """Megabytes of a process and its children."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    lines = "".join(pathlib.Path(f"/proc/{p}/status").read_text() for p in [pid, *children])
    return sum(map(int, re.findall(r"VmRSS:\s+(\d+)", lines))) / 1024


def hey(url, body, connections, seconds, *more):
    command = ["hey", "-m", "POST", "-T", "application/json", "-d", body, "-c", str(connections),
               "-z", f"{seconds}s", *more, url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def milliseconds(text):
    """Of `1.20ms`, `950.00us` or `1.02s`."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def wrk(url, body, connections, seconds):
    """Requests/s, p50 and p99 in ms as `wrk` says: of one thread, since the server shares the cores."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = 'POST'\nwrk.body = [==[{body}]==]\nwrk.headers['Content-Type'] = 'application/json'\n")
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script.name, url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"not every request was answered well: {said}")
    of = lambda pattern: re.search(pattern, said, re.M)[1]
    return float(of(r"Requests/sec:\s+([\d.]+)")), milliseconds(of(r"^ +50%\s+(\S+)")), milliseconds(of(r"^ +99%\s+(\S+)"))


class Server:
    def __init__(self, name, command, ready, url, body, env=None, cwd=None):
        self.name, self.command, self.ready, self.url, self.body = name, command, ready, url, body
        self.env, self.cwd, self.rounds = env or {}, cwd, []

    def __enter__(self):
        started = time.time()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        env = {**os.environ, **self.env}
        self.process = subprocess.Popen(self.command, env=env, cwd=self.cwd, **quiet)
        wait(self.ready, self.process)
        self.cold = time.time() - started
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def round(self, args):
        with self:
            wrk(self.url, self.body, args.connections, 2)
            found = wrk(self.url, self.body, args.connections, args.seconds)
            self.rounds.append((*found, memory(self.process.pid), self.cold))

    def medians(self):
        return [statistics.median(values) for values in zip(*self.rounds)]


def installed(name, venvs):
    """The `bin` folder of an environment with a peer's packages; None where they do not install."""
    venv = venvs / name
    if not (venv / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        done = subprocess.run([venv / "bin/pip", "install", "-q", *PACKAGES[name]], capture_output=True, text=True)
        if done.returncode:
            print(f"skipped: {name} does not install: {done.stderr.strip().splitlines()[-1:]}")
            shutil.rmtree(venv)
            return None
    return (venv / "bin").resolve()


def tensors(row):
    """The row as the Open Inference Protocol has it."""
    kind = lambda value: "BYTES" if isinstance(value, str) else "FP64"
    return json.dumps({"inputs": [{"name": name, "shape": [1, 1], "datatype": kind(value), "data": [value]}
                                  for name, value in row.items()]})


def servers(args, row, folder):
    base = "http://127.0.0.1:8189"
    serve = [args.tesla, "serve", args.model, "--name", "m", "--device", "flex", "--addr", "127.0.0.1:8189"]
    ready = base + "/v2/health/ready"
    yield Server("tesla serve, JSON row", serve, ready, base + "/v1/models/m/predict", json.dumps(row))
    yield Server("tesla serve, tensors", serve, ready, base + "/v2/models/m/infer", tensors(row))
    if not args.onnx:
        return
    env = {"ONNX": str(pathlib.Path(args.onnx).resolve())}
    venvs = args.venvs or folder
    if at := installed("fastapi", venvs):
        (folder / "app.py").write_text(FASTAPI)
        command = [at / "uvicorn", "--app-dir", folder, "app:app", "--port", "8190", "--no-access-log"]
        base = "http://127.0.0.1:8190"
        yield Server("FastAPI + ONNX Runtime", command, base + "/ready", base + "/predict", json.dumps(row), env)
    if at := installed("mlserver", venvs):
        (folder / "model.py").write_text(MLSERVER)
        (folder / "settings.json").write_text(json.dumps(MLSERVER_SETTINGS))
        (folder / "model-settings.json").write_text(json.dumps(MLSERVER_MODEL))
        base = "http://127.0.0.1:8191/v2"
        yield Server("MLServer + ONNX Runtime", [at / "mlserver", "start", folder], base + "/models/m/ready",
                     base + "/models/m/infer", tensors(row), env, folder)


def compare(args, row, folder):
    all_servers = list(servers(args, row, folder))
    for _ in range(args.rounds):
        for server in all_servers:
            server.round(args)
    print("| server | requests/s | p50 ms | p99 ms | memory MB | cold start s |\n|---|---|---|---|---|---|")
    for server in all_servers:
        rate, p50, p99, held, cold = server.medians()
        print(f"| {server.name} | {rate:,.0f} | {p50:.2f} | {p99:.2f} | {held:.0f} | {cold:.3f} |")
    ours, rows = all_servers[0].medians(), []
    for server in all_servers[2:]:
        own = server.medians()
        print(f"beside {server.name}: {ours[0] / own[0]:.1f}x the requests/s, {ours[2] / own[2]:.2f} of p99, "
              f"{ours[3] / own[3]:.2f} of the memory")
        measured = [("requests", "requests/s"), ("p50", "ms"), ("p99", "ms"), ("memory", "MB"), ("cold start", "s")]
        rows += [
            common.row(f"serving one row to {args.connections} connections, {what}", server.name, ours, theirs, unit)
            for (what, unit), ours, theirs in zip(measured, zip(*all_servers[0].rounds), zip(*server.rounds))
        ]
    common.write(args.json, rows)


def requests(said):
    """Milliseconds by status of what `hey -o csv` says."""
    found = {}
    for line in csv.DictReader(io.StringIO(said)):
        found.setdefault(line["status-code"], []).append(1e3 * float(line["response-time"]))
    return {status: sorted(times) for status, times in found.items()}


def overload(args, row, folder):
    server = next(servers(args, row, folder))
    server.body = json.dumps({"rows": [row] * args.rows})
    server.command += ["--max-requests", str(args.at_work)]
    percent = lambda times, share: times[int(share * (len(times) - 1))]

    def load(seconds, *more, groups=1):
        """What the server says to so many groups of clients, and its memory meanwhile. All clients of one `hey`
        ask in the same moment, so that groups, one after the other, make a stream of requests."""
        ask = lambda _: hey(server.url, server.body, args.at_work, seconds, "-o", "csv", *more)
        with concurrent.futures.ThreadPoolExecutor(groups) as pool:
            asked = []
            for group in range(groups):
                asked.append(pool.submit(ask, group))
                time.sleep(GAP)
            held = []
            while not all(one.done() for one in asked):
                held.append(memory(server.process.pid))
                time.sleep(0.5)
        found = {}
        for status, times in (one for group in asked for one in requests(group.result()).items()):
            found.setdefault(status, []).extend(times)
        thirds = [max(held[len(held) * k // 3 : len(held) * (k + 1) // 3], default=0) for k in range(3)]
        most = ", ".join(f"{most:.0f}" for most in thirds)
        return {status: sorted(times) for status, times in found.items()}, f"{most} MB at most in each third"

    with server:
        hey(server.url, server.body, args.at_work, 2)
        calm, held = load(10)
        rate, p99 = sum(map(len, calm.values())) / 10, percent(calm["200"], 0.99)
        print(f"capacity: {rate:,.0f} requests/s, p99 {p99:.2f} ms, {args.at_work} clients, memory {held}")
        clients = GROUPS * args.at_work
        found, held = load(args.overload, "-q", f"{2 * rate / clients:.2f}", groups=GROUPS)
        sent = sum(map(len, found.values()))
        print(f"overload: {sent / args.overload:,.0f} requests/s sent by {clients} clients in {args.overload} s")
        for status, times in sorted(found.items()):
            print(f"  {status}: {len(times):,}, p50 {percent(times, 0.5):.2f} ms, p99 {percent(times, 0.99):.2f} ms")
        print(f"  p99 of what was accepted: {percent(found['200'], 0.99) / p99:.2f}x that at capacity")
        print(f"  memory {held}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("onnx", nargs="?")
    parser.add_argument("row")
    parser.add_argument("--tesla", default=ROOT / "target/release/tesla")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--venvs", type=pathlib.Path)
    parser.add_argument("--overload", type=int, default=0, metavar="SECONDS")
    parser.add_argument("--at-work", type=int, default=16)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--rows", type=int, default=50)
    args = parser.parse_args()
    client = "hey" if args.overload else "wrk"
    if not shutil.which(client):
        sys.exit(f"skipped: `{client}` is not installed")
    row = json.loads(pathlib.Path(args.row).read_text())
    print(f"load of this machine before: {os.getloadavg()[0]:.1f}, cores: {os.cpu_count()}")
    with tempfile.TemporaryDirectory() as folder:
        (overload if args.overload else compare)(args, row, pathlib.Path(folder))


main()
