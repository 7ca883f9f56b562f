"""Prepare the columns of real tables with scikit-learn and print what comes out as JSON.

    python benches/peers/prepare_real.py FOLDER > benches/peers/prepare_real.json

FOLDER holds adult, california-housing and ai4i2020 as the tests with `TESLA_TEST_DATA` expect them; the
tables themselves may not be shipped. Of each case some rows are kept, and two sums over all of them: the
numbers, and the numbers weighted by where they stand.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
import sklearn
from prepare import FOLDS, clips, steps
from sklearn.feature_extraction import FeatureHasher
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    StandardScaler,
    TargetEncoder,
)

ADULT = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex "
    "capital_gain capital_loss hours_per_week native_country income"
).split()


def tables(folder):
    path = folder / "adult/adult-train.csv"
    adult = pd.read_csv(path, header=None, names=ADULT, skipinitialspace=True, na_values="?", keep_default_na=False)
    yield "adult", "income", adult.drop(columns="fnlwgt")
    yield "california-housing", "median_house_value", pd.read_csv(folder / "california-housing/housing.csv")
    ai4i = pd.read_csv(folder / "ai4i2020/ai4i2020.csv", encoding="utf-8-sig")
    yield "ai4i2020", "Machine failure", ai4i.drop(columns=["UDI", "Product ID", "TWF", "HDF", "PWF", "OSF", "RNF"])


def case(table, columns, matrix, **more):
    matrix = np.asarray(matrix.todense() if scipy.sparse.issparse(matrix) else matrix, dtype=float)
    n, width = matrix.shape
    rows = np.linspace(0, n - 1, max(1, min(6, 24 // width)), dtype=int)
    weights = (np.arange(n) % 97 + 1)[:, None] * (np.arange(width) % 89 + 1)[None, :]
    short = lambda values: [float(f"{v:.11g}") for v in values]
    sums = short([np.abs(matrix).sum(), (np.abs(matrix) * weights).sum()])
    values = short(matrix[rows].ravel())
    return dict(table=table, columns=columns, width=width, rows=list(map(int, rows)), values=values, sums=sums, **more)


def hardly_bends(x):
    """Whether the likeliest curve leaves so few digits of values far from 0 that rounding shows."""
    bent = PowerTransformer(standardize=False).fit_transform(x)
    return bent.std() < 1e-6 * abs(bent.mean())


def numeric_cases(table, frame, names):
    for name in names:
        x = frame[[name]]
        for config, step in steps():
            if config.get("scale") == "log1p" and x[name].min() <= -1:
                continue
            if x[name].isna().any():
                config = {"impute": "median", "indicator": True, **config}
                imputed = make_pipeline(SimpleImputer(strategy="median"), step)
                step = FeatureUnion([("x", imputed), ("m", MissingIndicator())])
            if config.get("scale") == "yeo_johnson" and hardly_bends(x.fillna(x.median())):
                continue
            yield case(table, {name: config}, step.fit_transform(x))
        for clip, low, high in clips(x[name].dropna()):
            clipped = np.clip(x, low, high)
            config = {"clip": clip, "impute": "median"}
            yield case(table, {name: config}, StandardScaler().fit_transform(clipped.fillna(clipped.median())))
    whole = [name for name in names if not frame[name].isna().any()][:4]
    step = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False))
    yield case(table, {name: {"degree": 2} for name in whole}, step.fit_transform(frame[whole]))


def category_cases(table, target, frame, names):
    y = frame[target]
    number = pd.api.types.is_float_dtype(y)
    kind = dict(random_state=0, target_type="continuous" if number else "auto")
    unit = (y.mean(), y.std(ddof=0)) if number else (0.0, 1.0)
    for name in names:
        x = frame[[name]].astype(object)
        x = x.where(x.notna(), None)
        yield case(table, {name: {}}, OneHotEncoder().fit_transform(x))
        mode = SimpleImputer(strategy="most_frequent", missing_values=None)
        step = make_pipeline(mode, OneHotEncoder())
        yield case(table, {name: {"impute": "mode"}}, step.fit_transform(x))
        step = OrdinalEncoder(encoded_missing_value=x[name].nunique())
        yield case(table, {name: {"encode": "ordinal"}}, step.fit_transform(x))
        shares = x[name].value_counts(dropna=False) / len(x)
        yield case(table, {name: {"encode": "frequency"}}, x[name].map(shares).to_numpy()[:, None])
        words = FunctionTransformer(lambda x: [[c for c in row if c is not None] for row in x.to_numpy()])
        step = make_pipeline(words, FeatureHasher(16, input_type="string"))
        yield case(table, {name: {"encode": "hash", "hash_size": 16}}, step.fit_transform(x))
        step = make_pipeline(mode, OneHotEncoder(min_frequency=500, handle_unknown="infrequent_if_exist"))
        yield case(table, {name: {"min_count": 500, "impute": "mode"}}, step.fit_transform(x))
        config = {name: {"encode": "target"}}
        encoded = TargetEncoder(**kind).fit(x, y).transform(x)
        yield case(table, config, (encoded - unit[0]) / unit[1])
        own = np.zeros(encoded.shape)
        part = np.arange(len(x)) % FOLDS
        for fold in range(FOLDS):
            others = TargetEncoder(**kind).fit(x[part != fold], y[part != fold])
            own[part == fold] = others.transform(x[part == fold])
        yield case(table, config, (own - unit[0]) / unit[1], train=True)


def main():
    cases = []
    for table, target, frame in tables(Path(sys.argv[1])):
        features = frame.drop(columns=target)
        numbers = features.select_dtypes("number").columns.tolist()
        names = [name for name in features if name not in numbers]
        cases += [*numeric_cases(table, frame, numbers), *category_cases(table, target, frame, names)]
    versions = {m.__name__: m.__version__ for m in (sklearn, scipy, np, pd)}
    json.dump({"versions": versions, "cases": cases}, sys.stdout, ensure_ascii=False, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
