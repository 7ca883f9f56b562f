"""Writes the fixtures of these tests. The files are checked in; run this to write them again:

    python -m venv v1 && v1/bin/pip install 'numpy<2' pandas==1.5.3 scikit-learn && v1/bin/python make.py pandas1
    python -m venv v3 && v3/bin/pip install numpy==2.4.6 pandas==3.1.1 && v3/bin/python make.py pandas3
    v3/bin/pip install pyarrow==26.0.1 && v3/bin/python make.py arrow
"""

import collections
import copyreg
import datetime
import decimal
import pathlib
import pickle
import sys
import warnings

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
FOLDER = pathlib.Path(__file__).parent / "fixtures"
WRITER = sys.argv[1]


def dump(name, value, protocols=(0, 2, 4, 5)):
    for protocol in protocols:
        path = FOLDER / f"{WRITER}-{name}.p{protocol}.pkl"
        path.write_bytes(pickle.dumps(value, protocol))


class OldArrowPickler(pickle.Pickler):
    """Writes columns of texts in chunks, as pandas did before 2.1."""

    def reducer_override(self, value):
        if type(value).__name__ != "ArrowStringArray":
            return NotImplemented
        texts = value._pa_array.cast(pa.string())
        state = {"_dtype": value.dtype, "_data": pa.chunked_array([texts[:2], texts[2:].combine_chunks()])}
        return copyreg.__newobj__, (type(value),), state


def arrow():
    values = ["ab", None, "", "é☃"]
    texts = pd.DataFrame(
        {
            "text": pd.array(values, dtype="str"),
            "n": [1, 2, 3, 4],
            "string": pd.array(values, dtype="string[pyarrow]"),
            "none": pd.array([None] * 4, dtype="str"),
            "level": pd.Categorical(["low", "high", None, "low"], categories=["low", "high"]),
            "full": pd.array(["w", "x", "y", "z"], dtype="str"),
        },
        index=pd.Index(["a", "b", "c", "d"], name="key"),
    )
    dump("texts", texts)
    dump("sliced", texts[["text", "full"]].iloc[1:3].reset_index(drop=True), (2, 5))
    dump("empty", texts[["text"]].iloc[:0].reset_index(drop=True), (4,))
    dump("numbers", pd.Series([1, None], dtype="int64[pyarrow]"), (2, 4))
    dump("array", {"a": pa.array([1, 2])}, (4,))
    with open(FOLDER / "arrow-chunks.p4.pkl", "wb") as file:
        OldArrowPickler(file, 4).dump(texts[["text", "n"]].reset_index(drop=True))


if WRITER == "arrow":
    import pyarrow as pa

    arrow()
    sys.exit()

kinds = pd.DataFrame(
    {
        "whole": pd.array([1, None, 3], dtype="Int64"),
        "truth": pd.array([True, None, False], dtype="boolean"),
        "real": pd.array([1.5, None, -2.0], dtype="Float64"),
        "string": pd.array(["a", None, "é☃"], dtype="string"),
        "text": ["x", None, "z"],
        "when": pd.to_datetime(["2020-02-29 12:00", None, "1912-04-10 00:00"]),
        "zoned": pd.to_datetime(["2020-01-01", "2020-01-02", None]).tz_localize("Europe/Vienna"),
        "lasts": pd.to_timedelta([1.5, None, 3], unit="s"),
        "level": pd.Categorical(["low", None, "high"], categories=["low", "high"]),
        "number_level": pd.Categorical([30, 10, 30]),
        "single": np.array([1, 2, np.nan], dtype="f4"),
        "small": np.array([1, 2, 3], dtype="u1"),
        "mixed": [1, "two", 3.5],
        7: [1, 2, 3],
    },
)
# No pyarrow here: with it, texts are arrays of its own, see `arrow`.
dump("kinds", kinds)
dump("named_index", pd.DataFrame({"v": [1, 2]}, index=pd.Index(["a", "b"], name="key")))
dump("date_index", pd.DataFrame({"v": [1, 2]}, index=pd.date_range("2020-01-01", periods=2)), (4,))
dump("filtered", kinds[["small"]][kinds["small"] > 1], (4,))
dump("reordered", kinds[["text", "small", "whole"]].iloc[::-1], (2, 5))
two = pd.DataFrame({("a", "x"): [1], ("a", "y"): [2]})
dump("two_level_columns", two, (4,))
dump("frame_and_series", (kinds[["small", 7]], pd.Series([0, 1, 0], name="target")), (4,))
dump("unnamed_series", pd.Series([1.5, 2.5]), (4,))
dump("period", pd.Series(pd.period_range("2020", periods=2, freq="Y")), (4,))
try:
    from sklearn.datasets import load_wine

    wine = load_wine()
    wine.data, wine.target = wine.data[:3], wine.target[:3]
    wine["data"], wine["target"], wine["DESCR"] = wine.data, wine.target, "…"
    dump("bunch", wine, (2, 4))
except ImportError:
    pass

if WRITER != "pandas3":
    sys.exit()


class OldPickler(pickle.Pickler):
    """Writes block managers as pandas did before 1.3."""

    def reducer_override(self, value):
        if type(value).__name__ != "BlockManager":
            return NotImplemented
        axes = list(value.axes)
        blocks = [{"values": b.values, "mgr_locs": b.mgr_locs.indexer} for b in value.blocks]
        state = (axes, [], [], {"0.14.1": {"axes": axes, "blocks": blocks}})
        return copyreg.__newobj__, (type(value),), state


old = kinds[["whole", "small", "single", "text"]]
with open(FOLDER / "pandas0-layout.p4.pkl", "wb") as file:
    OldPickler(file, 4).dump(old)

objects = np.asfortranarray(np.array([["a", 1], ["b", 2], ["c", 3]], dtype=object))
dump("fortran_objects", objects)
dump(
    "rows",
    [
        collections.OrderedDict(
            a=1,
            b="x",
            when=datetime.datetime(2020, 2, 29, 12, 30, 1, 5),
            day=datetime.date(1999, 12, 31),
            at=datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
            lasts=datetime.timedelta(days=1, seconds=2),
            price=decimal.Decimal("1.25"),
            stamp=pd.Timestamp("2021-01-01 00:00:01"),
            big=2**70,
        ),
        {"a": None, "b": "naïve\n☃", "extra": True, "big": -3},
    ],
)
dump("lists", [[1, 2.5, "a"], (3, 4, None)], (0, 4))
dump("counter", collections.Counter({"x": 3}), (2,))
defaults = collections.defaultdict(list)
defaults["a"] += [1, 2]
defaults["b"] += [3.0, 4.0]
dump("defaultdict", defaults)
dump("list_pair", ([[1, 2], [3, 4], [5, 6]], ["u", "v", "u"]), (4,))
dump("train_and_test", ((np.zeros((2, 2)), [0, 1]), (np.zeros((1, 2)), [0])), (4,))
cifar = np.arange(2 * 768, dtype="u1").reshape(2, 768)
batch = {b"data": cifar, b"labels": [3, 5], b"filenames": [b"a.png", b"b.png"], b"batch_label": b"x"}
dump("cifar", batch, (2, 4))
dump("halves", np.array([1, -2.5, np.nan], dtype=">f2"), (4,))
dump("days", np.array(["2020-02-29", "NaT"], dtype="M8[D]"), (4,))
dump("months", np.array(["2020-02", "1969-12"], dtype="M8[M]"), (4,))
dump("complex", np.array([1j]), (4,))
dump("record", np.rec.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), (4,))
png = b"\x89PNG\r\n\x1a\n-not-really"
dump("png_bytes", {"image": [png, png], "label": ["a", "b"]}, (4,))
dump("function", {"f": np.sum}, (0, 4))
dump("float_images", np.zeros((2, 4, 4, 3), dtype="f4"), (4,))
planar = np.arange(2 * 3 * 4 * 5, dtype="u1").reshape(2, 3, 4, 5)
dump("planar_images", (planar, np.array([1, 0])), (5,))

np.save(FOLDER / "structured.npy", np.array([(1, "é", b"x")], dtype=[("a", "<i4"), ("b", "<U3"), ("c", "S2")]))
np.save(FOLDER / "padded.npy", np.array([(1, 2.5)], dtype=np.dtype("u1,f8", align=True)))
np.save(FOLDER / "objects.npy", np.array(["a", 1.5, None], dtype=object))
np.save(FOLDER / "big_endian.npy", np.array([[1, 2], [3, 4]], dtype=">i2"))
np.save(FOLDER / "scalar.npy", np.float64(1))
with open(FOLDER / "version3.npy", "wb") as f:
    np.lib.format.write_array(f, np.array([(1,)], dtype=[("☃", "<i4")]), version=(3, 0))
x = np.arange(6, dtype="f4").reshape(3, 2)
np.savez(FOLDER / "pair.npz", X=x, y=np.array([0, 1, 0]))
np.savez_compressed(FOLDER / "columns.npz", a=x[:, 0], b=np.array(["u", "v", "w"]), c=x)
np.savez(FOLDER / "split.npz", x_train=x, y_train=[0, 1, 0], x_test=x, y_test=[0, 1, 0])
np.savez(FOLDER / "train.npz", x_train=x, y_train=[0, 1, 0])
np.savez(FOLDER / "uneven.npz", a=[1, 2], b=[1, 2, 3])
np.savez(FOLDER / "objects.npz", a=np.array(["u", None], dtype=object), b=[1, 2])
