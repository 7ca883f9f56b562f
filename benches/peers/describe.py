"""Describe a shipped data set with pandas and print the figures as JSON.

    python benches/peers/describe.py > benches/peers/describe.json

The tests of `tesla-data` compare a profile of the same file with them.
"""

import json
from pathlib import Path

import pandas as pd

DATASETS = Path(__file__).resolve().parents[2] / "datasets"
SHARES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]

frame = pd.read_csv(DATASETS / "diabetes" / "diabetes.csv")
described = frame.describe(percentiles=SHARES)
columns = {
    name: {
        **described[name].to_dict(),
        "distinct": int(frame[name].nunique()),
        "pearson": float(frame[name].corr(frame["progression"])),
    }
    for name in frame
}
print(json.dumps({"pandas": pd.__version__, "columns": columns}, indent=1))
