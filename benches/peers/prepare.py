"""Prepare columns with scikit-learn and print what comes out as JSON.

    python benches/peers/prepare.py > benches/peers/prepare.json

A case fits `columns` of a table, each with its `[columns.NAME]` settings, and holds the prepared numbers
of some rows. Tables are those in `datasets/`, and `made`, whose rows are in the file.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction import FeatureHasher
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

DATASETS = Path(__file__).resolve().parents[2] / "datasets"
FOLDS = 5
# Texts with gaps are objects, so that scikit-learn sees a gap as `None`.
pd.set_option("future.infer_string", False)


def made():
    """A number and a category with gaps, a skewed number, and targets of each kind."""
    rng = np.random.default_rng(4)
    n = 120
    gaps = np.round(rng.normal(10, 3, n), 2)
    gaps[rng.random(n) < 0.15] = np.nan
    gaps[::17] = 9.5
    skewed = np.round(rng.exponential(5, n) - 1, 3)
    city = rng.choice(["Aa", "b", "Ça", "d e", "x"], n, p=[0.4, 0.3, 0.15, 0.1, 0.05]).astype(object)
    effect = {"Aa": 3.0, "b": -1.0, "Ça": 0.5, "d e": 7.0, "x": 2.0}
    number = np.round(1e3 + np.array([effect[c] for c in city]) + rng.normal(0, 2, n), 3)
    city[rng.random(n) < 0.1] = None
    yes = np.where(number > 1002 + rng.normal(0, 1, n), "yes", "no")
    grade = np.array(["high", "low", "mid"])[np.digitize(number, [1001, 1004])]
    columns = dict(gaps=gaps, skewed=skewed, city=city, number=number, yes=yes, grade=grade)
    return pd.DataFrame(columns)


def steps():
    """Settings of a number, and scikit-learn's words for them."""
    scale = lambda name: {"scale": name}
    yield scale("standard"), StandardScaler()
    yield scale("min_max"), MinMaxScaler()
    yield scale("max_abs"), MaxAbsScaler()
    yield scale("robust"), RobustScaler()
    yield scale("quantile_uniform"), QuantileTransformer(subsample=None)
    yield scale("quantile_normal"), QuantileTransformer(output_distribution="normal", subsample=None)
    yield scale("yeo_johnson"), PowerTransformer()
    yield scale("log1p"), make_pipeline(FunctionTransformer(np.log1p), StandardScaler())
    yield scale("none"), FunctionTransformer()
    for strategy in ["quantile", "uniform"]:
        bins = KBinsDiscretizer(5, encode="onehot-dense", strategy=strategy)
        yield {"bins": {"count": 5, "strategy": strategy}}, bins


def clips(x):
    low, high = np.quantile(x, [0.25, 0.75])
    far = 1.5 * (high - low)
    yield {"iqr": 1.5}, low - far, high + far
    yield {"z": 2.0}, np.mean(x) - 2 * np.std(x), np.mean(x) + 2 * np.std(x)
    yield {"quantiles": [0.05, 0.9]}, *np.quantile(x, [0.05, 0.9])


def case(table, target, columns, matrix, rows, **more):
    matrix = np.asarray(matrix.todense() if scipy.sparse.issparse(matrix) else matrix, dtype=float)
    flat = [float(f"{v:.13g}") for v in matrix[rows].ravel()]
    return dict(table=table, target=target, columns=columns, rows=list(map(int, rows)), matrix=flat, **more)


def numeric_cases(tables):
    for table, target, names in [
        ("wine", "cultivar", ["proline", "magnesium"]),
        ("breast-cancer", "diagnosis", ["area_error"]),
        ("diabetes", "progression", ["bmi", "s4"]),
    ]:
        frame = tables[table]
        rows = np.arange(0, len(frame), len(frame) // 12)
        for name in names:
            for config, step in steps():
                if config.get("scale") == "log1p" and frame[name].min() <= -1:
                    continue
                yield case(table, target, {name: config}, step.fit_transform(frame[[name]]), rows)
            for clip, low, high in clips(frame[name]):
                step = make_pipeline(FunctionTransformer(lambda x: np.clip(x, low, high)), StandardScaler())
                yield case(table, target, {name: {"clip": clip}}, step.fit_transform(frame[[name]]), rows)
    frame = tables["wine"]
    rows = np.arange(0, len(frame), 20)
    for degree in [2, 3]:
        names = ["alcohol", "hue", "proline"]
        step = make_pipeline(StandardScaler(), PolynomialFeatures(degree, include_bias=False))
        columns = {name: {"degree": degree} for name in names}
        yield case("wine", "cultivar", columns, step.fit_transform(frame[names]), rows)


def gap_cases(frame):
    rows = np.arange(0, len(frame), 4)
    impute = [
        ("mean", SimpleImputer(strategy="mean")),
        ("median", SimpleImputer(strategy="median")),
        ("mode", SimpleImputer(strategy="most_frequent")),
        ({"constant": -2.5}, SimpleImputer(strategy="constant", fill_value=-2.5)),
    ]
    x = frame[["gaps"]]
    for name, imputer in impute:
        for config, step in steps():
            if config.get("scale") == "log1p" and name == {"constant": -2.5}:
                continue
            columns = {"gaps": {"impute": name, "indicator": True, **config}}
            both = FeatureUnion([("x", make_pipeline(imputer, step)), ("m", MissingIndicator())])
            yield case("made", "number", columns, both.fit_transform(x), rows)
    filled = StandardScaler().fit_transform(x.ffill())
    yield case("made", "number", {"gaps": {"impute": "forward_fill"}}, filled, np.arange(len(frame)))


def category_cases(frame):
    x = frame[["city"]]
    new = pd.DataFrame({"city": np.array(["b", "x", None, "never", ""], dtype=object)})
    rows = np.arange(0, len(frame), 3)

    def both(config, target, step, **more):
        fitted = step.fit(x, frame[target])
        columns = {"city": config}
        yield case("made", target, columns, fitted.transform(x), rows, **more)
        yield case("made", target, columns, fitted.transform(new), range(len(new)), new=new["city"].tolist())

    ignore = dict(handle_unknown="ignore")
    yield from both({}, "yes", OneHotEncoder(**ignore))
    mode = SimpleImputer(strategy="most_frequent", missing_values=None)
    yield from both({"impute": "mode"}, "yes", make_pipeline(mode, OneHotEncoder(**ignore)))
    constant = SimpleImputer(strategy="constant", fill_value="b", missing_values=None)
    yield from both({"impute": {"constant": "b"}}, "yes", make_pipeline(constant, OneHotEncoder(**ignore)))
    unknown = dict(handle_unknown="use_encoded_value", unknown_value=-1)
    levels = x["city"].nunique()
    yield from both({"encode": "ordinal"}, "yes", OrdinalEncoder(encoded_missing_value=levels, **unknown))
    hasher = FeatureHasher(8, input_type="string")
    words = FunctionTransformer(lambda x: [[c for c in row if c is not None] for row in x.to_numpy()])
    yield from both({"encode": "hash", "hash_size": 8}, "yes", make_pipeline(words, hasher))
    shares = x["city"].value_counts(normalize=False, dropna=False) / len(x)
    frequency = lambda x: x["city"].map(lambda c: shares.get(c, 0.0)).to_numpy()[:, None]
    yield from both({"encode": "frequency"}, "yes", FunctionTransformer(frequency))

    # Missing values are filled here: they have a place of their own, however few they are.
    least = {"min_count": 12, "impute": {"constant": "Aa"}}
    filled = x.fillna("Aa")
    rare = OneHotEncoder(min_frequency=12, handle_unknown="infrequent_if_exist").fit(filled)
    yield case("made", "yes", {"city": least}, rare.transform(filled), rows)

    for target in ["yes", "grade", "number"]:
        y = frame[target]
        unit = (y.mean(), y.std(ddof=0)) if target == "number" else (0.0, 1.0)
        scaled = lambda m: (m - unit[0]) / unit[1]
        config = {"city": {"encode": "target"}}
        encoder = TargetEncoder(random_state=0).fit(x, y)
        yield case("made", target, config, scaled(encoder.transform(x)), rows)
        yield case("made", target, config, scaled(encoder.transform(new)), range(5), new=new["city"].tolist())
        own = np.zeros((len(x), encoder.transform(x).shape[1]))
        part = np.arange(len(x)) % FOLDS
        for fold in range(FOLDS):
            others = TargetEncoder(random_state=0).fit(x[part != fold], y[part != fold])
            own[part == fold] = others.transform(x[part == fold])
        yield case("made", target, config, scaled(own), rows, train=True)


def main():
    names = ["wine", "breast-cancer", "diabetes"]
    tables = {name: pd.read_csv(DATASETS / name / f"{name}.csv") for name in names}
    frame = made()
    cases = [*numeric_cases(tables), *gap_cases(frame), *category_cases(frame)]
    found = {
        "versions": {m.__name__: m.__version__ for m in (sklearn, scipy, np, pd)},
        "made": json.loads(frame.to_json(orient="records")),
        "cases": cases,
    }
    json.dump(found, sys.stdout, ensure_ascii=False, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
