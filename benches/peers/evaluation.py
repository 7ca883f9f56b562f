"""Every figure of `tesla evaluate` against scikit-learn, on the predictions of a model.

    tesla predict model.tesla test.csv -o predictions.csv
    tesla evaluate model.tesla test.csv --json > report.json
    python benches/peers/evaluation.py report.json predictions.csv income [weight column]

Both see the same probabilities: `tesla predict` writes 64-bit floats in full. Prints a table of figure,
TESLA's value, scikit-learn's, and their difference (relative where the value is above 1).
"""

import json
import sys
import warnings

import numpy as np
import pandas as pd
from sklearn import metrics

warnings.simplefilter("ignore")


def classes(table, target, w):
    labels = sorted(c.removeprefix("probability_") for c in table.columns if c.startswith("probability_"))
    index = {label: i for i, label in enumerate(labels)}
    truth = table[target].astype(str).str.strip().map(index).to_numpy()
    predicted = table["prediction"].astype(str).map(index).to_numpy()
    p = table[[f"probability_{label}" for label in labels]].to_numpy()
    all_labels = np.arange(len(labels))
    kw = {"sample_weight": w}
    found = {
        "accuracy": metrics.accuracy_score(truth, predicted, **kw),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted, **kw),
        "log_loss": metrics.log_loss(truth, p, labels=all_labels, **kw),
        "mcc": metrics.matthews_corrcoef(truth, predicted, **kw),
        "kappa": metrics.cohen_kappa_score(truth, predicted, **kw),
    }
    for average, at in [("macro", None), ("micro", "micro"), ("weighted", "weighted")]:
        prf = metrics.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0, **kw)
        for name, value in zip(["precision", "recall", "f1"], prf):
            found[name if at is None else f"{at}.{name}"] = value
    per = metrics.precision_recall_fscore_support(truth, predicted, labels=all_labels, zero_division=0, **kw)
    for i, name in enumerate(["precision", "recall", "f1", "support"]):
        for c in range(len(labels)):
            found[f"classes.{c}.{name}"] = per[i][c]
    cells = metrics.confusion_matrix(truth, predicted, labels=all_labels, **kw)
    for t in range(len(labels)):
        for c in range(len(labels)):
            found[f"confusion.{t}.{c}"] = cells[t, c]
    present = sorted(set(truth))
    if len(labels) == 2:
        found["brier"] = metrics.brier_score_loss(truth, p[:, 1], pos_label=1, **kw)
        if len(present) == 2:
            found["roc_auc"] = metrics.roc_auc_score(truth, p[:, 1], **kw)
        found["average_precision"] = metrics.average_precision_score(truth, p[:, 1], **kw)
    else:
        found["brier"] = metrics.brier_score_loss(truth, p, labels=all_labels, **kw)
        if len(present) == len(labels):
            found["roc_auc"] = metrics.roc_auc_score(truth, p, multi_class="ovr", average="macro", labels=all_labels, **kw)
            if w is None and len(labels) <= 50:
                found["roc_auc_ovo"] = metrics.roc_auc_score(truth, p, multi_class="ovo", labels=all_labels)
        each = {c: metrics.average_precision_score(truth == c, p[:, c], **kw) for c in present}
        found["average_precision"] = np.mean(list(each.values()))
        for c in present:
            found[f"classes.{c}.average_precision"] = each[c]
            found[f"classes.{c}.roc_auc"] = metrics.roc_auc_score(truth == c, p[:, c], **kw)
        for k in [2, 3, 5]:
            if k < len(labels):
                found[f"top_k.{k}"] = metrics.top_k_accuracy_score(truth, p, k=k, labels=all_labels, **kw)
    return found


def numbers(table, target, w):
    truth, predicted = table[target].to_numpy(float), table["prediction"].to_numpy(float)
    kw = {"sample_weight": w}
    found = {
        "mae": metrics.mean_absolute_error(truth, predicted, **kw),
        "mse": metrics.mean_squared_error(truth, predicted, **kw),
        "rmse": metrics.root_mean_squared_error(truth, predicted, **kw),
        "r2": metrics.r2_score(truth, predicted, **kw),
        "explained_variance": metrics.explained_variance_score(truth, predicted, **kw),
        "median_absolute_error": metrics.median_absolute_error(truth, predicted, **kw),
        "max_error": metrics.max_error(truth, predicted),
        "d2_absolute_error": metrics.d2_absolute_error_score(truth, predicted, **kw),
    }
    if (truth != 0).all():
        found["mape"] = metrics.mean_absolute_percentage_error(truth, predicted, **kw)
    if min(truth.min(), predicted.min()) > -1:
        found["rmsle"] = metrics.root_mean_squared_log_error(truth, predicted, **kw)
    for i, alpha in enumerate([0.1, 0.5, 0.9]):
        found[f"pinball.{i}"] = metrics.mean_pinball_loss(truth, predicted, alpha=alpha, **kw)
    return found


def look(value, path):
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def main(report, predictions, target, weight=None):
    report = json.load(open(report))
    table = pd.read_csv(predictions, keep_default_na=False, na_values=[""], float_precision="round_trip", dtype={target: str, "prediction": str})
    w = None if weight is None else table[weight].to_numpy(float)
    is_class = any(c.startswith("probability_") for c in table.columns)
    expected = (classes if is_class else numbers)(table, target, w)
    largest, many = 0.0, {}
    for name, value in expected.items():
        found = look(report["metrics"], name)
        difference = abs(found - value) / max(abs(value), 1.0)
        largest = max(largest, difference)
        if name.startswith(("classes.", "confusion.")):
            group = name.split(".")[0] + ("." + name.split(".")[2] if name.startswith("classes") else "")
            count, worst = many.get(group, (0, 0.0))
            many[group] = (count + 1, max(worst, difference))
        else:
            print(f"{name:<24} {found:<24} {value:<24} {difference:.1e}")
    for group, (count, worst) in many.items():
        print(f"{group:<24} {count} values{'':<35} {worst:.1e}")
    print(f"{len(expected)} figures of {len(table)} rows, the largest difference is {largest:.1e}")
    if not largest < 1e-9:
        sys.exit("they are not equal")


main(*sys.argv[1:])
