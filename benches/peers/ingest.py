"""How long it takes to read a CSV file, and the same table as Parquet, into memory, beside pandas,
pyarrow and polars.

    pip install pandas pyarrow polars
    cargo build --release -p tesla-data --example read
    python benches/peers/ingest.py target/release/examples/read

Without the program only the others are timed. The file has 10 columns of numbers and 4 of text and is made from a seed. Each reader runs in a
process of its own, with its defaults; the reading is timed, not the start. The file is warm in the
page cache. Readers take turns, so that a change of the machine's load meets all of them. Wall time
is given as best and worst: where they lie far apart, the machine was busy and only the processor
time compares, which is that of the whole process, imports included.

What is compared is not quite the same work: polars settles types on the first 100 rows, pyarrow on
the first block; TESLA looks at all rows first. pandas reads in threads since 3.1. The Parquet file is
what pyarrow makes of the CSV file with its defaults (snappy, row groups of about a million rows).
TESLA makes 64-bit floats of all numbers and decodes in one thread; pyarrow and
polars decode columns in several.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

import common

READERS = {
    "csv": {
        "pandas": "import pandas; f = lambda p: pandas.read_csv(p)",
        "pandas (pyarrow engine)": "import pandas; f = lambda p: pandas.read_csv(p, engine='pyarrow')",
        "pyarrow": "from pyarrow import csv; f = lambda p: csv.read_csv(p)",
        "polars": "import polars; f = lambda p: polars.read_csv(p)",
    },
    "parquet": {
        "pandas": "import pandas; f = lambda p: pandas.read_parquet(p)",
        "pyarrow": "from pyarrow import parquet; f = lambda p: parquet.read_table(p)",
        "polars": "import polars; f = lambda p: polars.read_parquet(p)",
    },
}
TIMER = (
    "\nimport sys, time, json\nt = time.perf_counter(); d = f(sys.argv[1]); s = time.perf_counter() - t"
    "\nprint(json.dumps({'rows': len(d), 'seconds': s}))"
)


def make(path, rows, seed):
    """10 numbers (whole, decimal, signed, some missing) and 4 texts (few and many values)."""
    draw = random.Random(seed)
    cities = ["Wien", "Graz", "Linz", "Salzburg", "Innsbruck", "Villach", "Wels", "Steyr"]
    words = "the quick brown fox jumps over a lazy dog while it rains, \"again\"".split(" ")
    # A block of rows is drawn once and numbered anew: the readers cannot know.
    block = []
    for _ in range(20_000):
        numbers = [
            str(draw.randrange(100)),
            str(draw.randrange(10**6)),
            f"{draw.random():.6f}",
            f"{draw.gauss(0, 1):.12f}",
            f"{draw.gauss(1000, 300):.2f}",
            repr(draw.random()),
            "" if draw.random() < 0.05 else f"{draw.random():.4f}",
            f"{draw.expovariate(1e-4):.1f}",
            f"{draw.random():.5e}",
        ]
        text = " ".join(draw.choices(words, k=6)).replace('"', '""')
        texts = [draw.choice(cities), f"id{draw.randrange(10**8):08d}", f'"{text}"', draw.choice("AB")]
        block.append(",".join(numbers + texts))
    with open(path, "w") as file:
        file.write(",".join([f"x{i}" for i in range(10)] + [f"t{i}" for i in range(4)]) + "\n")
        for row in range(rows):
            file.write(f"{row},{block[row % len(block)]}\n")


def to_parquet(path):
    from pyarrow import csv, parquet

    made = path.with_suffix(".parquet")
    if not made.exists():
        parquet.write_table(csv.read_csv(path), made)
    return made


def measure(path, readers, args):
    commands = {name: [sys.executable, "-c", code + TIMER] for name, code in readers.items()}
    if args.tesla:
        commands["tesla"] = [args.tesla]
    wall, processor = {}, {}
    for _ in range(args.runs):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run([*command, str(path)], capture_output=True, text=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if done.returncode != 0:
                print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                continue
            found = json.loads(done.stdout)
            assert found["rows"] == args.rows, (name, found)
            wall.setdefault(name, []).append(found["seconds"])
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            processor.setdefault(name, []).append(used)
    print(f"\n{path.suffix[1:]}, {path.stat().st_size / 1e6:.0f} MB")
    for name, times in sorted(wall.items(), key=lambda item: min(item[1])):
        best = min(times)
        ratio = f"{best / min(wall['tesla']):.2f}x tesla's" if "tesla" in wall else ""
        print(
            f"{name:<24} wall {best:6.2f} to {max(times):6.2f} s   "
            f"processor {min(processor[name]):6.2f} s   {ratio}"
        )
    what = f"{path.suffix[1:].replace('csv', 'CSV').replace('parquet', 'Parquet')}, {args.rows:,} rows"
    version = lambda name: name.replace(name.split()[0], f"{name.split()[0]} {importlib.metadata.version(name.split()[0])}")
    return [
        common.row(f"reading {what}", version(name), wall["tesla"], times, "s")
        for name, times in wall.items()
        if name != "tesla" and "tesla" in wall
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tesla", nargs="?", help="the built example `read`")
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--file", type=pathlib.Path, help="the CSV file, kept and used again")
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--format", choices=[*READERS, "both"], default="both")
    args = parser.parse_args()
    path = args.file or pathlib.Path(tempfile.gettempdir()) / f"tesla-ingest-{args.rows}.csv"
    if not path.exists():
        make(path.with_suffix(".part"), args.rows, seed=1)
        path.with_suffix(".part").rename(path)
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("pandas", "pyarrow", "polars"))
    print(f"{args.rows} rows, {args.runs} runs, {os.cpu_count()} cores, {versions}")
    rows = []
    if args.format != "parquet":
        rows += measure(path, READERS["csv"], args)
    if args.format != "csv":
        rows += measure(to_parquet(path), READERS["parquet"], args)
    common.write(args.json, rows)
    print(f"\nload of the machine at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
