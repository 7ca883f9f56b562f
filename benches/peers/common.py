"""What the scripts that measure share: images, a run of `tesla train` with its times, and their results."""

import json
import os
import random
import struct
import subprocess
import sys
import threading
import time

THREADS = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment(threads):
    return {**os.environ, **{name: str(threads) for name in THREADS}}


def make_images(folder, rows, side=28):
    """An IDX file of random grey images, its labels beside it."""
    chance = random.Random(7)
    path = os.path.join(folder, f"made-{rows}x{side}-images-idx3-ubyte")
    with open(path, "wb") as file:
        file.write(struct.pack(">IIII", 0x803, rows, side, side))
        for _ in range(rows):
            file.write(chance.randbytes(side * side))
    with open(path.replace("images-idx3", "labels-idx1"), "wb") as file:
        file.write(struct.pack(">II", 0x801, rows) + bytes(chance.randrange(10) for _ in range(rows)))
    return path


def read_images(path):
    import numpy

    images = open(path, "rb").read()
    rows, height, width = struct.unpack(">III", images[4:16])
    labels = open(path.replace("images-idx3", "labels-idx1"), "rb").read()
    x = numpy.frombuffer(images, numpy.uint8, offset=16).reshape(rows, 1, height, width)
    return x, numpy.frombuffer(labels, numpy.uint8, offset=8)


def processor_time(pid):
    """Seconds that a running process has used so far."""
    try:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def train(tesla, config, folder, threads=2, device="flex"):
    """Runs `tesla train` and returns its events, each with `at` and `cpu` in seconds since the start, and
    `wall`, `memory` (most MB in use) and `model` of the whole."""
    path, out = os.path.join(folder, "run.toml"), os.path.join(folder, "run")
    with open(path, "w") as file:
        file.write(config)
    command = [str(tesla), "train", path, "--device", device, "--out", out, "--json"]
    start = time.perf_counter()
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(threads), text=True
    )
    said = []
    listener = threading.Thread(target=lambda: said.append(child.stderr.read()))
    listener.start()
    events = []
    for line in child.stdout:
        at, cpu = time.perf_counter() - start, processor_time(child.pid)
        events.append({**json.loads(line), "at": at, "cpu": cpu})
    listener.join()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    if status != 0:
        sys.exit(f"{' '.join(command)} failed: {said[0]}")
    wall = time.perf_counter() - start
    return {
        "events": events,
        "wall": wall,
        "memory": usage.ru_maxrss / 1024,
        "model": os.path.join(out, "model.tesla"),
    }


def when(run, name, last=False):
    """The first (or last) event of a name."""
    found = [event for event in run["events"] if event["event"] == name]
    if not found:
        sys.exit(f"`tesla train --json` said nothing of `{name}`")
    return found[-1 if last else 0]


def call(command, threads=2):
    """What a program printed, as JSON."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment(threads)
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def row(work, peer, ours, theirs, unit, goal=None, note=""):
    """One line of the results: what each side measured, in turns. `unit` says whether more is better: it is
    where it ends with `/s`."""
    return {"work": work, "peer": peer, "ours": ours, "theirs": theirs, "unit": unit, "goal": goal, "note": note}


def write(path, rows, **more):
    """Keeps results for `all.py`, where it asked for them."""
    if path:
        with open(path + ".part", "w") as file:
            json.dump({"rows": rows, **more}, file, indent=1)
        os.replace(path + ".part", path)
