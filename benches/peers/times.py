"""Turn times into numbers with pandas and scikit-learn and print what comes out as JSON.

    python benches/peers/times.py > benches/peers/times.json

The parts of each time in the order of TESLA: elapsed and year standardised, the others as sine and cosine;
then all of them standardised, without circles.
"""

import json
import sys

import numpy as np
import pandas as pd
import sklearn
from sklearn.preprocessing import StandardScaler


def main():
    rng = np.random.default_rng(11)
    seconds = rng.integers(-3_000_000_000, 4_000_000_000, 24)
    seconds[:3] = [1_709_209_815, 0, -1]
    times = pd.to_datetime(seconds, unit="s", utc=True)
    parts = {
        "elapsed": (seconds - seconds.min(), None),
        "year": (times.year, None),
        "month": (times.month, (1, 12)),
        "day": (times.day, (1, 31)),
        "weekday": (times.day_of_week, (0, 7)),
        "hour": (times.hour, (0, 24)),
        "minute": (times.minute, (0, 60)),
    }
    scaled = {n: StandardScaler().fit_transform(np.array(v, float)[:, None])[:, 0] for n, (v, _) in parts.items()}
    cyclic = []
    for name, (values, period) in parts.items():
        if period is None:
            cyclic.append(scaled[name])
        else:
            angle = 2 * np.pi * (np.array(values, float) - period[0]) / period[1]
            cyclic += [np.sin(angle), np.cos(angle)]
    flat = lambda columns: [float(f"{v:.13g}") for v in np.column_stack(columns).ravel()]
    found = {
        "versions": {m.__name__: m.__version__ for m in (sklearn, pd, np)},
        "times": [t.strftime("%Y-%m-%dT%H:%M:%SZ") for t in times],
        "cyclic": flat(cyclic),
        "plain": flat(list(scaled.values())),
    }
    json.dump(found, sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
