"""How long a prediction takes, in the program that asks for it: TESLA, PyTorch and ONNX Runtime, in turns.

    cargo build --release --workspace --bin tesla --example latency
    python infer.py --tesla target/release/tesla [--images train-images-idx3-ubyte]

An mlp and a cnn are trained for one epoch, and 1, 64 and 256 grey images of 28x28 bytes are predicted. `network`
starts with bytes in memory and ends with probabilities, on all sides: TESLA's `Predictor::scores` and
`predictions`, ONNX Runtime's `session.run` of the graph that `tesla export onnx` wrote (2 threads), and in
PyTorch the same layers under `inference_mode`, bytes to floats and softmax included. `predict` is TESLA's whole
way of raw rows: contract, preparation, network; the others have nothing to set beside it and are held against it all the
same. Medians of half a second each, in rounds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
from train_step import MODEL, NAME, torch_model

COUNTS = [1, 64, 256]
SECONDS = 0.5
# The least ratio that is the goal, where there is one.
GOALS = {("mlp", 1, "ONNX Runtime"): 1.0}


def median(call):
    for seconds in (SECONDS / 10, SECONDS):
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def torch_side(kind, images, threads):
    import torch

    torch.set_num_threads(threads)
    model = torch_model(kind).eval()
    pixels = torch.from_numpy(common.read_images(images)[0][: max(COUNTS)].copy())
    found = {"version": torch.__version__}
    with torch.inference_mode():
        for count in COUNTS:
            part = pixels[:count]
            call = lambda: torch.softmax(model((part.float() / 255 - 0.5) / 0.5), 1)
            found[count] = median(call)
    print(json.dumps(found))


def onnx_side(graph, images, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pixels = common.read_images(images)[0][: max(COUNTS)].copy()
    found = {"version": onnxruntime.__version__}
    for count in COUNTS:
        part = {name: pixels[:count]}
        found[count] = median(lambda: session.run(["probability"], part))
    print(json.dumps(found))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tesla", type=Path)
    parser.add_argument("--images", help="an IDX file of 28x28 images, its labels beside it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        side, what = args.side
        return (torch_side if side == "torch" else onnx_side)(what, args.images, args.threads)
    latency = args.tesla.parent / "examples" / "latency"
    own = lambda side, what, images: common.call(
        [sys.executable, __file__, "--side", side, what, "--images", images, "--threads", args.threads], args.threads
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        images = args.images or common.make_images(folder, 2048)
        for kind in MODEL:
            config = f'[data]\nsource = "{images}"\nsplit = {{ by = "random", valid = 0.0, test = 0.0 }}\n'
            config += f'[audit]\nlevel = "off"\n[model]\n{MODEL[kind]}[train]\nepochs = 1\nbatch_size = 256\n'
            model = common.train(args.tesla, config, folder, args.threads)["model"]
            graph = str(Path(folder) / f"{kind}.onnx")
            subprocess.run([args.tesla, "export", "onnx", model, "--out", graph], check=True, capture_output=True)
            ours, torch, onnx = [], [], []
            for _ in range(args.rounds):
                ours.append(common.call([latency, model, images, *COUNTS], args.threads))
                torch.append(own("torch", kind, images))
                onnx.append(own("onnx", graph, images))
            for count in map(str, COUNTS):
                work = f"{NAME[kind]}, {count} row{'s' * (count != '1')}"
                in_us = lambda values: [1e6 * value for value in values]
                network = in_us(run[count]["network"] for run in ours)
                whole = in_us(run[count]["predict"] for run in ours)
                for name, peer in (("PyTorch", torch), ("ONNX Runtime", onnx)):
                    theirs = in_us(run[count] for run in peer)
                    goal = GOALS.get((kind, int(count), name))
                    full = f"{name} {peer[0]['version']}"
                    rows.append(common.row(f"{work}, network", full, network, theirs, "µs", goal))
                    if name == "ONNX Runtime":
                        rows.append(common.row(f"{work}, whole `predict`", full, whole, theirs, "µs"))
                print(
                    f"{work}: network {statistics.median(network):.0f} µs, predict {statistics.median(whole):.0f} µs,"
                    f" PyTorch {statistics.median(in_us(run[count] for run in torch)):.0f} µs,"
                    f" ONNX Runtime {statistics.median(in_us(run[count] for run in onnx)):.0f} µs",
                    flush=True,
                )
            common.write(args.json, rows)


if __name__ == "__main__":
    main()
