"""Write the small data sets under `datasets/` from the files that scikit-learn bundles.

    python benches/peers/make_datasets.py

Nothing is downloaded. Running it again writes the same bytes.
"""

import csv
import struct
from pathlib import Path

import numpy as np
from sklearn import datasets

OUT = Path(__file__).resolve().parents[2] / "datasets"


def number(value):
    """The shortest text that reads back as the same double: `3.0` becomes `3`."""
    return repr(float(value)).removesuffix(".0")


def test_rows(labels, strata):
    """A fixed fifth of the rows, sorted; the same share of each class where there are classes."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(labels == c) for c in np.unique(labels)] if strata else [np.arange(len(labels))]
    return sorted(int(row) for group in groups for row in rng.permutation(group)[: round(0.2 * len(group))])


def table(name, bunch, features, target):
    """Write `NAME/NAME.csv` and `NAME/test_rows.txt`."""
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    classes = bunch.get("target_names")
    with open(folder / f"{name}.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*features, target])
        for row, y in zip(bunch.data, bunch.target):
            writer.writerow([*map(number, row), number(y) if classes is None else classes[y]])
    rows = test_rows(bunch.target, strata=classes is not None)
    with open(folder / "test_rows.txt", "w", newline="") as file:
        file.writelines(f"{row}\n" for row in rows)
    print(f"{name}: {len(bunch.target)} rows x {len(features)} features + {target}, {len(rows)} test rows")


def idx(path, array):
    """Write unsigned bytes as an IDX file: magic (type 8, rank), big-endian sizes, data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())
    print(f"{path.parent.name}/{path.name}: {array.shape}")


def main():
    bunch = datasets.load_iris()
    table("iris", bunch, [n.removesuffix(" (cm)").replace(" ", "_") for n in bunch.feature_names], "species")

    bunch = datasets.load_wine()
    table("wine", bunch, [n.replace("/", "_") for n in bunch.feature_names], "cultivar")

    bunch = datasets.load_breast_cancer()
    table("breast-cancer", bunch, [n.replace(" ", "_") for n in bunch.feature_names], "diagnosis")

    bunch = datasets.load_diabetes(scaled=False)
    table("diabetes", bunch, bunch.feature_names, "progression")

    bunch = datasets.load_digits()
    grey = np.rint(bunch.images * 255 / 16)  # 0..16 to 0..255
    idx(OUT / "digits" / "digits-images-idx3-ubyte", grey)
    idx(OUT / "digits" / "digits-labels-idx1-ubyte", bunch.target)


if __name__ == "__main__":
    main()
