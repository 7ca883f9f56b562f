"""Reference values of every metric from scikit-learn, and its time over ten million scores.

    python benches/peers/metrics.py > crates/tesla-train/src/metrics/reference.json
    python benches/peers/metrics.py time target/release/examples/scores [RESULTS.json]

Predictions are those of simple models on data that ships with scikit-learn, rounded to six digits.
"""

import json
import os
import resource
import sys
import tempfile
import time
import warnings

import numpy as np
import sklearn
from scipy import optimize, special, stats
from sklearn import datasets, metrics
from sklearn.calibration import _sigmoid_calibration, _TemperatureScaling, calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

import common

warnings.simplefilter("ignore")
WEIGHTS = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 0.0])


def weights(rows, seed):
    return np.random.default_rng(seed).choice(WEIGHTS, rows)


def plain(value):
    """NaN is what the metric does not define."""
    if isinstance(value, (np.ndarray, list, tuple)):
        return [plain(v) for v in value]
    value = float(value)
    return value if np.isfinite(value) else None


def classes_of(truth, predicted, classes, w):
    labels = np.arange(classes)
    prf = {}
    for average in ["micro", "macro", "weighted"]:
        for name, zero in [("zero", 0.0), ("one", 1.0), ("skip", np.nan)]:
            for beta in [0.5, 1.0, 2.0]:
                prf[f"{average}/{name}/{beta}"] = plain(
                    metrics.precision_recall_fscore_support(
                        truth, predicted, average=average, beta=beta, zero_division=zero, sample_weight=w
                    )[:3]
                )
    per_class = metrics.precision_recall_fscore_support(
        truth, predicted, labels=labels, average=None, beta=2.0, zero_division=np.nan, sample_weight=w
    )
    return {
        "confusion": plain(metrics.confusion_matrix(truth, predicted, labels=labels, sample_weight=w)),
        "accuracy": plain(metrics.accuracy_score(truth, predicted, sample_weight=w)),
        "balanced_accuracy": plain(metrics.balanced_accuracy_score(truth, predicted, sample_weight=w)),
        "average": prf,
        "per_class": plain(per_class),
        "mcc": plain(metrics.matthews_corrcoef(truth, predicted, sample_weight=w)),
        "kappa": {
            name: plain(metrics.cohen_kappa_score(truth, predicted, labels=labels, weights=kind, sample_weight=w))
            for name, kind in [("equal", None), ("linear", "linear"), ("quadratic", "quadratic")]
        },
    }


def calibration_error(came_true, p, bins, w):
    """As defined, bin by bin: scikit-learn has none."""
    w = np.ones(len(p)) if w is None else w
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p)
    error = 0.0
    for b in range(bins):
        rows = place == b
        if w[rows].sum() > 0:
            error += abs((w * (came_true - p))[rows].sum())
    return error / w.sum()


def scores_of(truth, scores, w):
    roc = metrics.roc_curve(truth, scores, sample_weight=w)
    full = metrics.roc_curve(truth, scores, sample_weight=w, drop_intermediate=False)
    curve = metrics.precision_recall_curve(truth, scores, sample_weight=w)
    return {
        "roc_auc": plain(metrics.roc_auc_score(truth, scores, sample_weight=w)),
        "average_precision": plain(metrics.average_precision_score(truth, scores, sample_weight=w)),
        "roc_curve": plain(roc),
        "roc_points": len(full[0]),
        "roc_sums": plain([full[0].sum(), full[1].sum()]),
        "pr_points": len(curve[0]),
        "pr_sums": plain([c.sum() for c in curve]),
    }


def binary_of(truth, p, w):
    curves = {}
    if w is None:
        for strategy in ["uniform", "quantile"]:
            curves[strategy] = plain(calibration_curve(truth, p, n_bins=7, strategy=strategy))
    return scores_of(truth, p, w) | {
        "log_loss": plain(metrics.log_loss(truth, p, sample_weight=w, labels=[0, 1])),
        "brier": plain(metrics.brier_score_loss(truth, p, sample_weight=w, pos_label=1)),
        "calibration_error": plain(calibration_error(truth, p, 15, w)),
        "calibration_curve": curves,
    }


def multiclass_of(truth, p, classes, w):
    labels = np.arange(classes)
    found = {
        "log_loss": plain(metrics.log_loss(truth, p, sample_weight=w, labels=labels)),
        "brier": plain(metrics.brier_score_loss(truth, p, sample_weight=w, labels=labels)),
        "calibration_error": plain(
            calibration_error((p.argmax(1) == truth).astype(float), p.max(1), 15, w)
        ),
        "top_k": {
            k: plain(metrics.top_k_accuracy_score(truth, p, k=k, sample_weight=w, labels=labels))
            for k in range(1, classes)
        },
    }
    for kind in ["ovr", "ovo"]:
        if kind == "ovo" and w is not None:
            continue
        for average in ["macro", "weighted"]:
            found[f"{kind}/{average}"] = plain(
                metrics.roc_auc_score(truth, p, multi_class=kind, average=average, sample_weight=w, labels=labels)
            )
    return found


def regression_of(truth, predicted, w):
    d = predicted - truth
    score = np.where(d < 0, np.exp(-d / 13) - 1, np.exp(d / 10) - 1)
    return {
        "mae": plain(metrics.mean_absolute_error(truth, predicted, sample_weight=w)),
        "mse": plain(metrics.mean_squared_error(truth, predicted, sample_weight=w)),
        "rmse": plain(metrics.root_mean_squared_error(truth, predicted, sample_weight=w)),
        "rmsle": plain(metrics.root_mean_squared_log_error(truth, predicted, sample_weight=w))
        if min(truth.min(), predicted.min()) > -1
        else None,
        "mape": plain(metrics.mean_absolute_percentage_error(truth, predicted, sample_weight=w))
        if (truth != 0).all()
        else None,
        "median_absolute_error": plain(metrics.median_absolute_error(truth, predicted, sample_weight=w)),
        "r2": plain(metrics.r2_score(truth, predicted, sample_weight=w)),
        "explained_variance": plain(metrics.explained_variance_score(truth, predicted, sample_weight=w)),
        "max_error": plain(metrics.max_error(truth, predicted)) if w is None else None,
        "pinball": {
            a: plain(metrics.mean_pinball_loss(truth, predicted, alpha=a, sample_weight=w)) for a in [0.1, 0.5, 0.9]
        },
        "d2_absolute_error": plain(metrics.d2_absolute_error_score(truth, predicted, sample_weight=w)),
        "cmapss": plain((score * (1 if w is None else w)).sum()),
    }


def both(figures, rows, seed):
    """Unweighted and weighted figures, with the weights."""
    w = weights(rows, seed)
    return {"weights": plain(w), "unweighted": figures(None), "weighted": figures(w)}


def probabilities(p):
    """Six digits, the last class taking what is left."""
    p = np.round(p, 6)
    p[:, -1] = np.round(1 - p[:, :-1].sum(1), 6)
    return np.clip(p, 0, 1)


def real_classes(name, data, model, rows, seed):
    x, y = data(return_X_y=True)
    if name == "breast_cancer":
        y = 1 - y
    train, test, y_train, y_test = train_test_split(x, y, test_size=0.5, random_state=seed, stratify=y)
    test, y_test = test[:rows], y_test[:rows]
    scaler = StandardScaler().fit(train)
    p = probabilities(model.fit(scaler.transform(train), y_train).predict_proba(scaler.transform(test)))
    classes = p.shape[1]
    predicted = p.argmax(1)

    def figures(w):
        found = classes_of(y_test, predicted, classes, w)
        if classes == 2:
            return found | binary_of(y_test, p[:, 1], w)
        return found | multiclass_of(y_test, p, classes, w)

    return {"classes": classes, "truth": y_test.tolist(), "probabilities": plain(p.ravel())} | both(
        figures, len(y_test), seed
    )


def awkward_classes():
    rng = np.random.default_rng(7)
    cases = {}

    def add(name, truth, p):
        truth, p = np.array(truth), np.array(p, dtype=float)
        classes = p.shape[1]

        def figures(w):
            found = classes_of(truth, p.argmax(1), classes, w)
            # Where a class is absent, scikit-learn's AUC is NaN or fails; ours is an error.
            if classes == 2 and len(set(truth)) == 2:
                return found | binary_of(truth, p[:, 1], w)
            if classes > 2:
                labels = np.arange(classes)
                found["log_loss"] = plain(metrics.log_loss(truth, p, sample_weight=w, labels=labels))
                found["brier"] = plain(metrics.brier_score_loss(truth, p, sample_weight=w, labels=labels))
            return found

        # No weight of 0: a class with such rows only is absent here and present in scikit-learn.
        w = rng.choice(WEIGHTS[:-1], len(truth))
        cases[name] = {
            "classes": classes,
            "truth": truth.tolist(),
            "probabilities": plain(p.ravel()),
            "weights": plain(w),
            "unweighted": figures(None),
            "weighted": figures(w),
        }

    p = rng.dirichlet([1, 1, 1, 1], 24)
    truth = rng.integers(0, 3, 24)
    add("class_absent_from_truth", truth, probabilities(p))
    add("class_never_predicted", rng.integers(0, 4, 24), probabilities(p * [1, 1, 1, 0.0] / (p[:, :3].sum(1)[:, None])))
    add("constant_scores", rng.integers(0, 2, 12), np.full((12, 2), 0.5))
    add("one_class_never_predicted", rng.integers(0, 2, 12), np.tile([0.75, 0.25], (12, 1)))
    tied = np.round(rng.random(60), 1)
    add("ties", rng.integers(0, 2, 60), np.round(np.column_stack([1 - tied, tied]), 1))
    sure = rng.integers(0, 2, 20)
    add("certain_and_wrong", rng.integers(0, 2, 20), np.column_stack([1 - sure, sure]))
    return cases


def any_scores():
    rng = np.random.default_rng(11)
    scores = np.round(rng.normal(size=80) * 3, 1)
    truth = (scores + rng.normal(size=80) * 3 > 0).astype(int)
    return {"truth": truth.tolist(), "scores": plain(scores)} | both(lambda w: scores_of(truth, scores, w), 80, 3)


def real_numbers():
    x, y = datasets.load_diabetes(return_X_y=True)
    train, test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=1)
    predicted = np.round(LinearRegression().fit(train, y_train).predict(test), 6)
    return y_test, predicted


def numbers():
    rng = np.random.default_rng(5)
    cases = {}

    def add(name, truth, predicted):
        truth, predicted = np.array(truth, dtype=float), np.array(predicted, dtype=float)
        cases[name] = {"truth": plain(truth), "predicted": plain(predicted)} | both(
            lambda w: regression_of(truth, predicted, w), len(truth), len(truth)
        )

    add("diabetes", *real_numbers())
    small = np.round(rng.normal(size=31), 3)
    add("negative", small, np.round(small + rng.normal(size=31), 3))
    add("zero_truth", np.arange(8), np.arange(8) + 0.5)
    add("constant_truth", np.full(9, 3.0), np.round(rng.normal(size=9), 2))
    add("constant_met", np.full(6, 2.0), np.full(6, 2.0))
    add("far_from_zero", 1e6 + np.arange(20), 1e6 + np.arange(20) + np.round(rng.normal(size=20), 2))
    add("even_count_with_ties", [1, 1, 2, 2, 3, 3, 4, 4], [1, 2, 2, 4, 3, 6, 4, 8])
    return cases


def ndcg():
    rng = np.random.default_rng(2)
    cases = []
    for items in [3, 8, 20]:
        for decimals in [0, 3]:
            grades = rng.integers(0, 4, items).astype(float)
            grades[0] = 1
            scores = np.round(rng.normal(size=items), decimals)
            cases.append(
                {
                    "grades": plain(grades),
                    "scores": plain(scores),
                    "at": {k: plain(metrics.ndcg_score([grades], [scores], k=k)) for k in [1, 3, 10]},
                }
            )
    return cases


def calibrated():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    y = 1 - y
    train, test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=3, stratify=y)
    scaler = StandardScaler().fit(train)
    model = GaussianNB().fit(scaler.transform(train)[:, :4], y_train)
    p = np.clip(model.predict_proba(scaler.transform(test)[:, :4])[:, 1], 1e-6, 1 - 1e-6)
    f = np.round(special.logit(p), 3)
    w = weights(len(f), 9)
    at = np.round(np.linspace(-20, 20, 41), 3)

    def fitted(w):
        n0 = (y_test == 0).sum() if w is None else w[y_test == 0].sum()
        n1 = (y_test == 1).sum() if w is None else w[y_test == 1].sum()
        t = np.where(y_test == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
        ones = np.ones(len(f)) if w is None else w

        # The same loss as scikit-learn's, to its optimum: L-BFGS stops at a gradient of 1e-6.
        def gradient(ab):
            g = ones * (t - special.expit(-(ab[0] * f + ab[1])))
            return [g @ f, g.sum()]

        rough = _sigmoid_calibration(f, y_test, sample_weight=w)
        exact = optimize.root(gradient, rough, tol=1e-15).x
        isotonic = IsotonicRegression(out_of_bounds="clip").fit(f, y_test, sample_weight=w)
        logits = np.column_stack([-f, f])
        beta = _TemperatureScaling().fit(logits, y_test.astype(float), sample_weight=w).beta_
        return {
            "platt": plain(exact),
            "platt_scikit_learn": plain(rough),
            "temperature": plain(1 / beta),
            "isotonic_scores": plain(isotonic.X_thresholds_),
            "isotonic_values": plain(isotonic.y_thresholds_),
            "isotonic_at": plain(isotonic.predict(at)),
        }

    return {
        "truth": y_test.tolist(),
        "scores": plain(f),
        "weights": plain(w),
        "at": plain(at),
        "unweighted": fitted(None),
        "weighted": fitted(w),
    }


def reference():
    return {
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "classes": {
            "iris": real_classes("iris", datasets.load_iris, GaussianNB(), 75, 0),
            "breast_cancer": real_classes(
                "breast_cancer", datasets.load_breast_cancer, LogisticRegression(max_iter=1000), 140, 1
            ),
            "digits": real_classes("digits", datasets.load_digits, LogisticRegression(C=0.001, max_iter=1000), 150, 2),
        }
        | awkward_classes(),
        "scores": any_scores(),
        "numbers": numbers(),
        "ndcg": ndcg(),
        "calibration": calibrated(),
        "mcnemar": [
            [b, c, float(stats.binomtest(min(b, c), b + c).pvalue) if b + c else 1.0]
            for b, c in [(0, 0), (1, 0), (3, 12), (40, 60), (700, 801), (5, 5)]
        ],
    }


def measure(binary, rows=10_000_000, rounds=5):
    """AUC, log loss and confusion matrix of the scores of `rows` rows, in turns: scikit-learn of arrays
    in memory, `binary` (the example `scores`) of files, read batch by batch."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, rows).astype(np.uint8)
    p = special.expit(rng.normal(size=rows) + truth - 0.5)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ["truth.u8", "scores.f64"]]
        truth.tofile(files[0])
        p.tofile(files[1])
        for _ in range(rounds):
            start = time.perf_counter()
            values = [metrics.roc_auc_score(truth, p), metrics.log_loss(truth, p)]
            values.append(metrics.confusion_matrix(truth, p > 0.5))
            theirs.append(time.perf_counter() - start)
            found = common.call([binary, *files])
            ours.append(found["seconds"])
            assert abs(found["roc_auc"] - values[0]) < 1e-9 and abs(found["log_loss"] - values[1]) < 1e-9
            assert found["confusion"] == values[2].ravel().tolist()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"scikit-learn: {np.median(theirs):.2f} s, at most {peak} MB")
    print(f"tesla: {np.median(ours):.2f} s, at most {found['peak_mb']} MB")
    print(f"ratio: {np.median(theirs) / np.median(ours):.1f}")
    what = f"AUC, log loss and confusion matrix of {rows:,} rows"
    note = f"peak memory {found['peak_mb']} MB against {peak} MB"
    return [common.row(what, f"scikit-learn {sklearn.__version__}", ours, theirs, "s", None, note)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["time"]:
        rows = measure(sys.argv[2])
        common.write(sys.argv[3] if len(sys.argv) > 3 else None, rows)
    else:
        print(json.dumps(reference(), separators=(",", ":")))
