"""Fit the shipped data sets with scikit-learn and print the numbers as JSON.

    python benches/peers/reference.py > benches/peers/reference.json

Every model is fitted on the rows that are not listed in `test_rows.txt` and measured on those that are.
"""

import json
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
import sklearn
from sklearn import metrics
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

DATASETS = Path(__file__).resolve().parents[2] / "datasets"


def load(name):
    """Features, target, and the row numbers of the train and test parts. The target is the last column."""
    frame = pd.read_csv(DATASETS / name / f"{name}.csv")
    test = np.loadtxt(DATASETS / name / "test_rows.txt", dtype=int)
    train = np.setdiff1d(np.arange(len(frame)), test)
    return frame.iloc[:, :-1].astype(float), frame.iloc[:, -1], train, test


def named(names, values):
    return dict(zip(names, np.asarray(values, dtype=float).tolist()))


def regression_scores(truth, predicted):
    return {
        "mae": float(metrics.mean_absolute_error(truth, predicted)),
        "mse": float(metrics.mean_squared_error(truth, predicted)),
        "rmse": float(metrics.root_mean_squared_error(truth, predicted)),
        "r2": float(metrics.r2_score(truth, predicted)),
    }


def class_scores(truth, predicted, classes):
    """Accuracy, confusion matrix (rows truth, columns predicted), precision, recall, F1."""

    def prf(average):
        p, r, f, _ = metrics.precision_recall_fscore_support(
            truth, predicted, labels=classes, average=average, zero_division=0
        )
        return {k: np.asarray(v).tolist() for k, v in (("precision", p), ("recall", r), ("f1", f))}

    return {
        "accuracy": float(metrics.accuracy_score(truth, predicted)),
        "confusion_matrix": metrics.confusion_matrix(truth, predicted, labels=classes).tolist(),
        "per_class": prf(None),
        "macro": prf("macro"),
        "weighted": prf("weighted"),
    }


def sparse(model, x, y, train, test):
    """On standardised features and a standardised target, as `linear` with `l1` has it."""
    scaler, mean, scale = StandardScaler().fit(x.iloc[train]), y[train].mean(), y[train].std(ddof=0)
    model.fit(scaler.transform(x.iloc[train]), (y[train] - mean) / scale)
    predicted = model.predict(scaler.transform(x.iloc[test])) * scale + mean
    return {
        "features": "standardised",
        "target": "standardised",
        **{k: v for k, v in model.get_params().items() if k in ("alpha", "l1_ratio")},
        "coefficients": named(x.columns, model.coef_ * scale),
        "test": regression_scores(y[test], predicted),
    }


def regression(name):
    x, y, train, test = load(name)
    linear = LinearRegression().fit(x.iloc[train], y[train])
    scaler = StandardScaler().fit(x.iloc[train])
    ridge = Ridge(alpha=1.0).fit(scaler.transform(x.iloc[train]), y[train])
    return {
        "target": y.name,
        "rows": {"train": len(train), "test": len(test)},
        "linear": {
            "features": "raw",
            "coefficients": named(x.columns, linear.coef_),
            "intercept": float(linear.intercept_),
            "test": regression_scores(y[test], linear.predict(x.iloc[test])),
        },
        "ridge": {
            "features": "standardised",
            "alpha": 1.0,
            "scaler_mean": named(x.columns, scaler.mean_),
            "scaler_std": named(x.columns, scaler.scale_),
            "coefficients": named(x.columns, ridge.coef_),
            "intercept": float(ridge.intercept_),
            "test": regression_scores(y[test], ridge.predict(scaler.transform(x.iloc[test]))),
        },
        "lasso": sparse(Lasso(alpha=0.05, tol=1e-12, max_iter=100000), x, y, train, test),
        "elastic_net": sparse(
            ElasticNet(alpha=0.1, l1_ratio=0.5, tol=1e-12, max_iter=100000), x, y, train, test
        ),
    }


def classification(name):
    x, y, train, test = load(name)
    scaler = StandardScaler().fit(x.iloc[train])
    # The default solver, lbfgs, stops some 1e-6 short of the same optimum; Newton's method reaches it.
    model = LogisticRegression(C=1, tol=1e-8, max_iter=10000, solver="newton-cholesky")
    model.fit(scaler.transform(x.iloc[train]), y[train])
    classes = model.classes_.tolist()
    predicted = model.predict(scaler.transform(x.iloc[test]))
    probabilities = model.predict_proba(scaler.transform(x.iloc[test]))
    # With two classes there is one row of coefficients, and it speaks for the second class.
    rows = classes if len(classes) > 2 else classes[1:]
    return {
        "target": y.name,
        "rows": {"train": len(train), "test": len(test)},
        "classes": classes,
        "objective": "sum of log losses over the train rows + 0.5 * sum of squared coefficients",
        "scaler_mean": named(x.columns, scaler.mean_),
        "scaler_std": named(x.columns, scaler.scale_),
        "coefficients": {c: named(x.columns, w) for c, w in zip(rows, model.coef_)},
        "intercepts": named(rows, model.intercept_),
        "test": {
            **class_scores(y[test], predicted, classes),
            "log_loss": float(metrics.log_loss(y[test], probabilities, labels=classes)),
        },
        "predictions": [
            {"row": int(row), "actual": y[row], "predicted": p, "probabilities": q.tolist()}
            for row, p, q in zip(test, predicted, probabilities)
        ],
    }


def metric_cases():
    """Small arrays and their scores, for unit tests. A score that divides by zero counts as 0."""
    truth = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 0]
    predicted = [0, 0, 1, 2, 1, 1, 0, 2, 2, 2, 1, 2, 2]
    probabilities = [
        [0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.3, 0.5, 0.2], [0.25, 0.25, 0.5],
        [0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0.5, 0.3, 0.2], [0.05, 0.05, 0.9],
        [0.1, 0.3, 0.6], [0.2, 0.2, 0.6], [0.1, 0.55, 0.35], [0.3, 0.1, 0.6],
        [0.3, 0.2, 0.5],
    ]  # fmt: skip
    never = [0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 1, 0, 0]  # class 2 is never predicted
    binary = [0, 0, 0, 1, 0, 1, 1, 0, 0, 1]
    scores = [0.1, 0.35, 0.4, 0.4, 0.4, 0.65, 0.8, 0.8, 0.8, 0.9]  # with ties across the classes
    ruled = [int(s >= 0.5) for s in scores]
    y = [3.0, -0.5, 2.0, 7.0, 4.25, 0.0]
    near = [2.5, 0.0, 2.0, 8.0, 4.5, -0.75]
    far = [-3.0, 5.0, 9.5, 0.0, -2.0, 6.0]  # worse than the mean: R2 below zero
    return {
        "three_classes": {
            "classes": [0, 1, 2],
            "y_true": truth,
            "y_pred": predicted,
            "probabilities": probabilities,
            **class_scores(truth, predicted, [0, 1, 2]),
            "log_loss": float(metrics.log_loss(truth, probabilities)),
        },
        "class_never_predicted": {
            "classes": [0, 1, 2],
            "y_true": truth,
            "y_pred": never,
            **class_scores(truth, never, [0, 1, 2]),
        },
        "binary": {
            "classes": [0, 1],
            "positive": 1,
            "threshold": 0.5,
            "y_true": binary,
            "scores": scores,
            "y_pred": ruled,
            **class_scores(binary, ruled, [0, 1]),
            "log_loss": float(metrics.log_loss(binary, scores)),
            "roc_auc": float(metrics.roc_auc_score(binary, scores)),
        },
        "regression": {"y_true": y, "y_pred": near, **regression_scores(y, near)},
        "regression_worse_than_mean": {"y_true": y, "y_pred": far, **regression_scores(y, far)},
    }


def compact(value, pad=""):
    """JSON text, with flat lists and short values on one line. Floats keep every digit."""
    line = json.dumps(value, allow_nan=False)
    flat = isinstance(value, list) and not any(isinstance(v, (list, dict)) for v in value)
    if flat or len(line) <= 160 - len(pad):
        return line
    inner = pad + "  "
    if isinstance(value, dict):
        items, (left, right) = [f"{json.dumps(k)}: {compact(v, inner)}" for k, v in value.items()], "{}"
    else:
        items, (left, right) = [compact(v, inner) for v in value], "[]"
    return f"{left}\n{inner}" + f",\n{inner}".join(items) + f"\n{pad}{right}"


def main():
    report = {
        "versions": {
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "pandas": pd.__version__,
        },
        "diabetes": regression("diabetes"),
        "breast-cancer": classification("breast-cancer"),
        "iris": classification("iris"),
        "wine": classification("wine"),
        "metrics": metric_cases(),
    }
    print(compact(report))


if __name__ == "__main__":
    main()
