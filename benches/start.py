"""How long a program with a model inside takes from its start to its first prediction, and how large it is.

    cargo build --release -p tesla --no-default-features --features flex
    python3 benches/start.py target/release/tesla MODEL.tesla ROWS.csv [--runs 20]

`tesla bundle` makes the program. `predict` is the whole run of `./app predict ROWS.csv`, `serve` the time until
`./app serve` answers its first request, a prediction over HTTP of the row that it suggests itself. Medians, and the
most memory each ever had.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request


def ended(process):
    """Waits for a process; gives the most memory it had, in MB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024


def predict(app, rows):
    start = time.perf_counter()
    process = subprocess.Popen([app, "predict", rows, "--device", "flex"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    said = process.stdout.read()
    took = time.perf_counter() - start
    memory = ended(process)
    if process.returncode or b"prediction" not in said:
        sys.exit("the program did not predict")
    return 1e3 * took, memory


def serve(app):
    start = time.perf_counter()
    command = [app, "serve", "--addr", "127.0.0.1:0", "--device", "flex"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in process.stdout:
        if found := re.match(r"try +curl (\S+) -d '(.*)'", line):
            break
    else:
        sys.exit("the program did not serve")
    answer = json.load(urllib.request.urlopen(found[1], found[2].encode()))
    took = time.perf_counter() - start
    assert answer["predictions"], answer
    process.terminate()
    return 1e3 * took, ended(process)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tesla")
    parser.add_argument("model")
    parser.add_argument("rows")
    parser.add_argument("--runs", type=int, default=20)
    args = parser.parse_args()
    print(f"load of this machine before: {os.getloadavg()[0]:.1f}, cores: {os.cpu_count()}")
    with tempfile.TemporaryDirectory() as folder:
        app = pathlib.Path(folder) / "app"
        subprocess.run([args.tesla, "bundle", args.model, "-o", app], check=True, capture_output=True)
        size = app.stat().st_size
        print(f"program {size / 1e6:.1f} MB, of which the model {os.path.getsize(args.model) / 1e6:.1f} MB")
        for name, run in (("predict", lambda: predict(app, args.rows)), ("serve", lambda: serve(app))):
            run()
            times, memory = zip(*(run() for _ in range(args.runs)))
            print(f"{name}: {statistics.median(times):.1f} ms ({min(times):.1f} to {max(times):.1f}), {max(memory):.0f} MB at most")


main()
