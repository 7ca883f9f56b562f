"""Writes a CSV file of about the given size: 10 numbers, a category and a target that is their
weighted sum plus noise. A block made from a seed is repeated until the size is reached.

    python benches/peers/big_csv.py big.csv --gigabytes 4.2
"""

import argparse
import random

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("path")
parser.add_argument("--gigabytes", type=float, default=4.2)
args = parser.parse_args()

rng = random.Random(1)
lines = []
for _ in range(300_000):
    x = [rng.gauss(0, 1) for _ in range(10)]
    y = sum((k + 1) * v for k, v in enumerate(x)) + rng.gauss(0, 1)
    lines.append(",".join(f"{v:.6f}" for v in x) + f",{rng.choice('abcd')},{y:.6f}\n")
block = "".join(lines).encode()

with open(args.path, "wb") as file:
    file.write(b"x1,x2,x3,x4,x5,x6,x7,x8,x9,x10,c,y\n")
    for _ in range(int(args.gigabytes * 1e9 / len(block)) + 1):
        file.write(block)
