//! Every metric against scikit-learn, on predictions for real data and on awkward rows.
//! `benches/peers/metrics.py` writes the file.

use proptest::prelude::*;
use serde_json::Value;

use super::calibration::{fit_isotonic, fit_platt, fit_temperature};
use super::ranking::{Candidates, RankingSums, ndcg_at};
use super::resample::{Resampling, bootstrap, mcnemar, paired_bootstrap, permutation_test};
use super::threshold::{Costs, best_f_beta, minimum_cost, recall_at_precision};
use super::*;

fn reference() -> Value {
    serde_json::from_str(include_str!("reference.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|v| match v {
            Value::Array(_) => floats(v),
            v => vec![v.as_f64().unwrap()],
        })
        .collect()
}

fn numbers(value: &Value) -> Vec<u32> {
    floats(value).into_iter().map(|v| v as u32).collect()
}

/// Calls `check` with the case's name, the figures, and the weights that they were taken with.
fn each(cases: &Value, check: impl Fn(&str, &Value, &Value, Option<&[f64]>)) {
    for (name, case) in cases.as_object().unwrap() {
        let weights = floats(&case["weights"]);
        check(&format!("{name}, unweighted"), case, &case["unweighted"], None);
        check(&format!("{name}, weighted"), case, &case["weighted"], Some(&weights));
    }
}

fn equal(name: &str, metric: &str, found: f64, expected: &Value) {
    let expected = expected
        .as_f64()
        .unwrap_or_else(|| panic!("{name} {metric}: no reference"));
    let near = (found - expected).abs() <= 1e-9 * expected.abs().max(1.0);
    assert!(near, "{name} {metric}: {found}, scikit-learn {expected}");
}

fn all_equal(name: &str, metric: &str, found: &[f64], expected: &Value) {
    assert_eq!(found.len(), expected.as_array().unwrap().len(), "{name} {metric}");
    for (found, expected) in found.iter().zip(expected.as_array().unwrap()) {
        equal(name, metric, *found, expected);
    }
}

fn option(name: &str, metric: &str, found: Option<f64>, expected: &Value) {
    match found {
        Some(found) => equal(name, metric, found, expected),
        None => assert!(expected.is_null(), "{name} {metric}: none, scikit-learn {expected}"),
    }
}

fn best_classes(probabilities: &[f64], classes: usize) -> Vec<u32> {
    let best =
        |row: &[f64]| (1..classes).fold(0, |b, i| if row[i] > row[b] { i } else { b }) as u32;
    probabilities.chunks_exact(classes).map(best).collect()
}

#[test]
fn classes_equal_scikit_learn() {
    each(&reference()["classes"], |name, case, expected, weights| {
        let classes = case["classes"].as_u64().unwrap() as usize;
        let truth = numbers(&case["truth"]);
        let predicted = best_classes(&floats(&case["probabilities"]), classes);
        let found = Confusion::new(classes, &truth, &predicted, weights).unwrap();
        let cells = floats(&expected["confusion"]);
        assert_eq!(
            cells,
            (0..classes * classes)
                .map(|i| found.cell(i / classes, i % classes))
                .collect::<Vec<_>>()
        );
        equal(name, "accuracy", found.accuracy().unwrap(), &expected["accuracy"]);
        let balanced = found.balanced_accuracy().unwrap();
        equal(name, "balanced accuracy", balanced, &expected["balanced_accuracy"]);
        match found.mcc() {
            Ok(mcc) => equal(name, "mcc", mcc, &expected["mcc"]),
            // Silent in scikit-learn.
            Err(MetricError::Undefined(_)) => assert_eq!(expected["mcc"], 0.0),
            Err(error) => panic!("{error}"),
        }
        for (kind, label) in [
            (KappaWeights::Equal, "equal"),
            (KappaWeights::Linear, "linear"),
            (KappaWeights::Quadratic, "quadratic"),
        ] {
            option(name, label, found.kappa(kind).ok(), &expected["kappa"][label]);
        }
        for class in 0..classes {
            let score = found.class(class, 2.0);
            option(name, "precision", score.precision, &expected["per_class"][0][class]);
            option(name, "recall", score.recall, &expected["per_class"][1][class]);
            option(name, "f2", score.f, &expected["per_class"][2][class]);
            equal(name, "support", score.support, &expected["per_class"][3][class]);
        }
        for (label, expected) in expected["average"].as_object().unwrap() {
            let parts: Vec<&str> = label.split('/').collect();
            let average = serde_json::from_value(parts[0].into()).unwrap();
            let zero = serde_json::from_value(parts[1].into()).unwrap();
            let score = found.average(average, parts[2].parse().unwrap(), zero).unwrap();
            option(name, label, score.precision, &expected[0]);
            option(name, label, score.recall, &expected[1]);
            option(name, label, score.f, &expected[2]);
        }
    });
}

fn check_scores(name: &str, expected: &Value, truth: &[u32], scores: &[f64], w: Option<&[f64]>) {
    equal(name, "auc", roc_auc(truth, scores, w).unwrap(), &expected["roc_auc"]);
    let ap = average_precision(truth, scores, w).unwrap();
    equal(name, "average precision", ap, &expected["average_precision"]);
    let roc = roc_curve(truth, scores, w).unwrap();
    all_equal(name, "fpr", &roc.false_positive_rate, &expected["roc_curve"][0]);
    all_equal(name, "tpr", &roc.true_positive_rate, &expected["roc_curve"][1]);
    assert_eq!(roc.thresholds[0], f64::INFINITY);
    assert_eq!(
        roc.thresholds[1..],
        floats(&expected["roc_curve"][2].as_array().unwrap()[1..].into())
    );
    let full = Scores::of(truth, scores, w)
        .unwrap()
        .finish()
        .roc_curve(false)
        .unwrap();
    assert_eq!(full.thresholds.len(), expected["roc_points"], "{name}");
    let sums = [&full.false_positive_rate, &full.true_positive_rate].map(|c| c.iter().sum::<f64>());
    all_equal(name, "roc curve", &sums, &expected["roc_sums"]);
    let pr = precision_recall_curve(truth, scores, w).unwrap();
    assert_eq!(pr.precision.len(), expected["pr_points"], "{name}");
    let sums = [&pr.precision, &pr.recall, &pr.thresholds].map(|c| c.iter().sum::<f64>());
    all_equal(name, "pr curve", &sums, &expected["pr_sums"]);
}

#[test]
fn scores_equal_scikit_learn() {
    let scores = reference()["scores"].clone();
    each(&serde_json::json!({ "any scores": scores }), |name, case, expected, weights| {
        let (truth, scores) = (numbers(&case["truth"]), floats(&case["scores"]));
        check_scores(name, expected, &truth, &scores, weights);
    });
}

#[test]
fn probabilities_equal_scikit_learn() {
    each(&reference()["classes"], |name, case, expected, weights| {
        let classes = case["classes"].as_u64().unwrap() as usize;
        let (truth, p) = (numbers(&case["truth"]), floats(&case["probabilities"]));
        let mut all = Probabilities::new(classes);
        all.update(&truth, &p, weights).unwrap();
        let found = all.finish().unwrap();
        if expected["log_loss"].is_null() {
            return;
        }
        equal(name, "log loss", found.log_loss, &expected["log_loss"]);
        equal(name, "brier", found.brier, &expected["brier"]);
        if !expected["calibration_error"].is_null() {
            equal(
                name,
                "calibration error",
                found.calibration_error,
                &expected["calibration_error"],
            );
            let same = calibration_error(classes, &truth, &p, weights, 15).unwrap();
            assert_eq!(same, found.calibration_error);
        }
        if classes == 2 {
            let p: Vec<f64> = p.chunks_exact(2).map(|p| p[1]).collect();
            check_scores(name, expected, &truth, &p, weights);
            for (label, bins) in [("uniform", Bins::Uniform(7)), ("quantile", Bins::Quantile(7))] {
                let expected = &expected["calibration_curve"][label];
                if expected.is_null() {
                    continue;
                }
                let bins = calibration_curve(&truth, &p, weights, bins).unwrap();
                let observed: Vec<f64> = bins.iter().map(|b| b.observed).collect();
                let predicted: Vec<f64> = bins.iter().map(|b| b.predicted).collect();
                all_equal(name, label, &observed, &expected[0]);
                all_equal(name, label, &predicted, &expected[1]);
            }
        }
        for (k, expected) in expected["top_k"].as_object().into_iter().flatten() {
            let k = k.parse().unwrap();
            equal(name, "top k", found.top_k_accuracy(k).unwrap(), expected);
            equal(
                name,
                "top k",
                top_k_accuracy(classes, k, &truth, &p, weights).unwrap(),
                expected,
            );
        }
        for (label, kind, average) in [
            ("ovr/macro", MultiClass::OneVsRest, Average::Macro),
            ("ovr/weighted", MultiClass::OneVsRest, Average::Weighted),
            ("ovo/macro", MultiClass::OneVsOne, Average::Macro),
            ("ovo/weighted", MultiClass::OneVsOne, Average::Weighted),
        ] {
            if !expected[label].is_null() {
                let auc = roc_auc_multiclass(classes, &truth, &p, weights, kind, average).unwrap();
                equal(name, label, auc, &expected[label]);
            }
        }
    });
}

#[test]
fn numbers_equal_scikit_learn() {
    each(&reference()["numbers"], |name, case, expected, weights| {
        let (truth, predicted) = (floats(&case["truth"]), floats(&case["predicted"]));
        let found = RegressionSums::of(&truth, &predicted, weights)
            .unwrap()
            .finish()
            .unwrap();
        equal(name, "mae", found.mae, &expected["mae"]);
        equal(name, "mse", found.mse, &expected["mse"]);
        equal(name, "rmse", found.rmse, &expected["rmse"]);
        option(name, "r2", found.r2, &expected["r2"]);
        let explained = found.explained_variance;
        equal(name, "explained variance", explained, &expected["explained_variance"]);
        option(name, "cmapss", found.cmapss, &expected["cmapss"]);
        if weights.is_none() {
            equal(name, "max error", found.max_error, &expected["max_error"]);
            option(name, "rmsle", found.rmsle, &expected["rmsle"]);
            option(name, "mape", found.mape, &expected["mape"]);
        }
        // A row of weight 0 cannot rule a figure out here; it does in scikit-learn.
        if !expected["rmsle"].is_null() {
            option(name, "rmsle", found.rmsle, &expected["rmsle"]);
        }
        if !expected["mape"].is_null() {
            option(name, "mape", found.mape, &expected["mape"]);
        }
        let median = median_absolute_error(&truth, &predicted, weights).unwrap();
        equal(name, "median error", median, &expected["median_absolute_error"]);
        let d2 = d2_absolute_error(&truth, &predicted, weights).unwrap();
        equal(name, "d2", d2, &expected["d2_absolute_error"]);
        for (alpha, expected) in expected["pinball"].as_object().unwrap() {
            let loss = pinball_loss(&truth, &predicted, weights, alpha.parse().unwrap()).unwrap();
            equal(name, "pinball", loss, expected);
        }
    });
}

/// What reports name, made batch by batch.
#[test]
fn reports_equal_scikit_learn() {
    each(&reference()["classes"], |name, case, expected, weights| {
        let classes = case["classes"].as_u64().unwrap() as usize;
        let (truth, p) = (numbers(&case["truth"]), floats(&case["probabilities"]));
        let predicted = best_classes(&p, classes);
        let labels: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        let mut all = ClassGather::new(classes);
        for start in (0..truth.len()).step_by(7) {
            let rows = start..truth.len().min(start + 7);
            let part = &p[rows.start * classes..rows.end * classes];
            let weights = weights.map(|w| &w[rows.clone()]);
            all.update(&truth[rows.clone()], &predicted[rows], part, weights)
                .unwrap();
        }
        let ClassesFound {
            figures, undefined, ..
        } = all.finish(&labels, 3).unwrap();
        equal(name, "accuracy", figures.accuracy, &expected["accuracy"]);
        let average = &expected["average"];
        for (at, (own, label)) in [
            (Some([figures.precision, figures.recall, figures.f1]), "macro/zero/1.0"),
            (figures.micro.map(|a| [a.precision, a.recall, a.f1]), "micro/zero/1.0"),
            (figures.weighted.map(|a| [a.precision, a.recall, a.f1]), "weighted/zero/1.0"),
        ]
        .into_iter()
        .enumerate()
        {
            all_equal(name, &format!("average {at}"), &own.unwrap(), &average[label]);
        }
        // Where a figure is `None`, the reason is given; scikit-learn says 0, NaN, or fails.
        for (metric, found, expected) in [
            ("balanced_accuracy", figures.balanced_accuracy, &expected["balanced_accuracy"]),
            ("mcc", figures.mcc, &expected["mcc"]),
            ("kappa", figures.kappa, &expected["kappa"]["equal"]),
            ("brier", figures.brier, &expected["brier"]),
            ("calibration_error", figures.calibration_error, &expected["calibration_error"]),
            (
                "roc_auc",
                figures.roc_auc,
                &expected[if classes == 2 { "roc_auc" } else { "ovr/macro" }],
            ),
            ("roc_auc_ovo", figures.roc_auc_ovo, &expected["ovo/macro"]),
            ("average_precision", figures.average_precision, &expected["average_precision"]),
        ] {
            match found {
                Some(found) if !expected.is_null() => equal(name, metric, found, expected),
                Some(_) => {}
                None if metric == "roc_auc_ovo" && classes == 2 => {}
                None => assert!(undefined.contains_key(metric), "{name} {metric}"),
            }
        }
        for (k, value) in &figures.top_k {
            let expected = &expected["top_k"][k.as_str()];
            if !expected.is_null() {
                equal(name, "top k", *value, expected);
            }
        }
    });
    each(&reference()["numbers"], |name, case, expected, weights| {
        let (truth, predicted) = (floats(&case["truth"]), floats(&case["predicted"]));
        let (found, undefined) = regression_of(&truth, &predicted, weights, false).unwrap();
        for (metric, found) in [
            ("mae", Some(found.mae)),
            ("mse", Some(found.mse)),
            ("rmse", Some(found.rmse)),
            ("r2", Some(found.r2)),
            ("explained_variance", found.explained_variance),
            ("median_absolute_error", found.median_absolute_error),
            ("d2_absolute_error", found.d2_absolute_error),
            ("rmsle", found.rmsle),
            ("mape", found.mape),
        ] {
            match found {
                // A row of weight 0 cannot rule a figure out here; it does in scikit-learn.
                Some(_) if expected[metric].is_null() => {}
                Some(found) => equal(name, metric, found, &expected[metric]),
                None => assert!(undefined.contains_key(metric), "{name} {metric}"),
            }
        }
    });
}

#[test]
fn ranked_lists_equal_scikit_learn() {
    for case in reference()["ndcg"].as_array().unwrap() {
        let (grades, scores) = (floats(&case["grades"]), floats(&case["scores"]));
        for (k, expected) in case["at"].as_object().unwrap() {
            let k = k.parse().unwrap();
            equal("ndcg", "", ndcg_at(k, &grades, &scores).unwrap(), expected);
            // Without ties, the list itself says the same.
            let mut order: Vec<u32> = (0..scores.len() as u32).collect();
            order.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
            if order
                .windows(2)
                .all(|w| scores[w[0] as usize] != scores[w[1] as usize])
            {
                let graded: Vec<(u32, f64)> = (0..).zip(grades.iter().copied()).collect();
                let mut sums = RankingSums::new(k, scores.len(), Candidates::AllUnseen).unwrap();
                sums.update_graded(&order, &graded, None).unwrap();
                equal("ndcg", "of a list", sums.finish().unwrap().ndcg, expected);
            }
        }
    }
}

#[test]
fn ranked_lists_by_hand() {
    let mut sums = RankingSums::new(3, 10, Candidates::AllUnseen).unwrap();
    // Relevant at places 2 and 3 of four; three are relevant.
    sums.update(&[4, 1, 2, 3], &[1, 2, 9], None).unwrap();
    // Nothing found, in a list shorter than k.
    sums.update(&[5], &[6], None).unwrap();
    // Nothing relevant: counted, in no mean, but its item is covered.
    let mut other = RankingSums::new(3, 10, Candidates::AllUnseen).unwrap();
    other.update(&[7], &[], None).unwrap();
    sums.merge(other).unwrap();
    let found = sums.finish().unwrap();
    assert_eq!((found.users, found.users_without_relevant), (3, 1));
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
    near(found.precision, (2.0 / 3.0) / 2.0);
    near(found.recall, (2.0 / 3.0) / 2.0);
    near(found.hit_rate, 0.5);
    near(found.map, ((1.0 / 2.0 + 2.0 / 3.0) / 3.0) / 2.0);
    near(found.mrr, 0.25);
    near(found.coverage, 0.5);
    let sampled = Candidates::Sampled {
        negatives: 99,
        seed: 0,
    };
    let mut sums = RankingSums::new(3, 10, Candidates::AllUnseen).unwrap();
    assert!(sums.merge(RankingSums::new(3, 10, sampled).unwrap()).is_err());
    assert!(
        sums.update(&[1, 1], &[1], None)
            .unwrap_err()
            .to_string()
            .contains("twice")
    );
    assert!(
        sums.update(&[10], &[1], None)
            .unwrap_err()
            .to_string()
            .contains("catalogue")
    );
    assert!(matches!(sums.finish(), Err(MetricError::Undefined(_))));
}

#[test]
fn calibration_equals_scikit_learn() {
    let r = reference();
    each(&serde_json::json!({ "fit": r["calibration"] }), |name, case, expected, weights| {
        let (truth, scores) = (numbers(&case["truth"]), floats(&case["scores"]));
        let platt = fit_platt(&truth, &scores, weights).unwrap();
        all_equal(name, "platt", &[platt.slope, platt.intercept], &expected["platt"]);
        let rough = floats(&expected["platt_scikit_learn"]);
        assert!((platt.slope - rough[0]).abs() < 1e-4 && (platt.intercept - rough[1]).abs() < 1e-4);
        let logits: Vec<f64> = scores.iter().flat_map(|s| [-s, *s]).collect();
        let found = fit_temperature(2, &truth, &logits, weights).unwrap().temperature;
        // Where a minimum is searched by its values, half of the digits are lost.
        assert!((found / expected["temperature"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{found}");
        let isotonic = fit_isotonic(&truth, &scores, weights).unwrap();
        all_equal(name, "isotonic", &isotonic.scores, &expected["isotonic_scores"]);
        all_equal(name, "isotonic", &isotonic.values, &expected["isotonic_values"]);
        let at: Vec<f64> = floats(&case["at"]).iter().map(|s| isotonic.apply(*s)).collect();
        all_equal(name, "isotonic", &at, &expected["isotonic_at"]);
    });
    for case in r["mcnemar"].as_array().unwrap() {
        let (b, c) = (case[0].as_u64().unwrap() as usize, case[1].as_u64().unwrap() as usize);
        let first = [vec![true; b], vec![false; c], vec![true; 3]].concat();
        let second = [vec![false; b], vec![true; c], vec![true; 3]].concat();
        equal("mcnemar", "p", mcnemar(&first, &second).unwrap().p_value, &case[2]);
    }
}

#[test]
fn calibration_of_awkward_rows() {
    // Told apart perfectly, all alike, one class only.
    let sure = fit_temperature(2, &[0, 1], &[1.0, -1.0, -1.0, 1.0], None).unwrap();
    assert!(sure.temperature < 0.01);
    let alike = fit_temperature(2, &[0, 1], &[3.0; 4], None).unwrap();
    assert_eq!(alike.temperature, 1.0);
    assert!(sure.apply(&[0.0, 1.0]).iter().all(|p| p.is_finite()));
    for (truth, scores) in
        [([0, 1, 1], [2.0; 3]), ([1, 1, 1], [1.0, 2.0, 3.0]), ([0, 0, 1], [1e9, -1e9, 0.0])]
    {
        let platt = fit_platt(&truth, &scores, None).unwrap();
        assert!((0.0..=1.0).contains(&platt.apply(scores[0])), "{platt:?}");
        let isotonic = fit_isotonic(&truth, &scores, None).unwrap();
        assert!((0.0..=1.0).contains(&isotonic.apply(scores[0])), "{isotonic:?}");
    }
    let none = Some(&[0.0, 0.0][..]);
    assert!(matches!(fit_platt(&[0, 1], &[0.0, 1.0], none), Err(MetricError::Undefined(_))));
    assert!(matches!(fit_isotonic(&[0, 1], &[0.0, 1.0], none), Err(MetricError::Undefined(_))));
    let logits = [0.0, 1.0, 1.0, 0.0];
    assert!(matches!(fit_temperature(2, &[0, 1], &logits, none), Err(MetricError::Undefined(_))));
}

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn what_rows_do_not_define_is_said() {
    let zero = Some(&[0.0, 0.0][..]);
    assert_eq!(
        message(roc_auc(&[1, 1], &[0.1, 0.2], None)),
        "the area under the ROC curve is undefined: there is no row of class 0"
    );
    assert_eq!(
        message(roc_auc::<f64>(&[], &[], None)),
        "the area under the ROC curve is undefined: there is no row of class 0 or 1"
    );
    assert_eq!(
        message(roc_auc(&[0, 1], &[0.1, f64::NAN], None)),
        "the score of row 1 is NaN: give a finite number"
    );
    assert_eq!(
        message(roc_auc(&[0, 2], &[0.1, 0.2], None)),
        "the truth of row 1 is class 2: the classes are 0 to 1"
    );
    assert_eq!(
        message(roc_auc(&[0, 1], &[0.1, 0.2], Some(&[1.0, -1.0]))),
        "the weight of row 1 is -1: give a finite number that is not negative"
    );
    assert_eq!(
        message(average_precision(&[0, 0], &[0.1, 0.2], None)),
        "average precision is undefined: there is no row of class 1"
    );
    assert_eq!(
        message(log_loss(2, &[0, 1], &[0.5, 0.5], zero)),
        "log loss is undefined: there is no row with a weight above 0"
    );
    assert_eq!(
        message(log_loss(3, &[0], &[0.5, 0.3, 0.1], None)),
        "the probabilities of row 0 sum to 0.9: they must sum to 1"
    );
    assert_eq!(
        message(brier(2, &[0, 1], &[0.5, 1.5], None)),
        "a probability of row 1 is 1.5: give numbers from 0 to 1"
    );
    let absent = [0.2, 0.3, 0.5, 0.2, 0.3, 0.5];
    assert_eq!(
        message(roc_auc_multiclass(
            3,
            &[0, 1],
            &absent,
            None,
            MultiClass::OneVsRest,
            Average::Macro
        )),
        "the one-vs-rest AUC is undefined: there is no row of class 2"
    );
    let pairs = roc_auc_multiclass(3, &[0, 1], &absent, None, MultiClass::OneVsOne, Average::Macro);
    assert_eq!(pairs, Ok(0.5));
    let empty = Confusion::new(3, &[], &[], None).unwrap();
    assert!(matches!(empty.accuracy(), Err(MetricError::Undefined(_))));
    assert!(matches!(empty.balanced_accuracy(), Err(MetricError::Undefined(_))));
    assert!(matches!(empty.mcc(), Err(MetricError::Undefined(_))));
    assert!(matches!(empty.kappa(KappaWeights::Linear), Err(MetricError::Undefined(_))));
    assert!(empty.average(Average::Macro, 1.0, ZeroDivision::Zero).is_err());
    assert!(matches!(RegressionSums::new().finish(), Err(MetricError::Undefined(_))));
    assert_eq!(
        message(RegressionSums::of(&[1.0, 2.0], &[1.0, f64::INFINITY], None).map(|_| ())),
        "the prediction of row 1 is inf: give a finite number"
    );
    assert!(
        RegressionSums::of(&[1e200], &[-1e200], None)
            .unwrap()
            .finish()
            .is_err()
    );
    assert!(median_absolute_error(&[], &[], None).is_err());
    let one = RegressionSums::of(&[1.0], &[2.0], None).unwrap().finish().unwrap();
    assert_eq!(one.r2, None);
    // The row of a later batch is counted from the first.
    let mut sums = Probabilities::new(2);
    sums.update(&[0, 1], &[0.1, 0.9], None).unwrap();
    let wrong = message(sums.update(&[0, 1], &[0.1, f64::NAN], None));
    assert_eq!(wrong, "a probability of row 3 is NaN: give numbers from 0 to 1");
    assert!(message(ndcg_at(2, &[0.0, 0.0], &[1.0, 2.0])).contains("no grade"));
}

#[test]
fn thresholds_by_hand() {
    let ranked = Scores::of(&[0, 1, 0, 1, 1], &[0.1, 0.3, 0.5, 0.7, 0.9], None)
        .unwrap()
        .finish();
    let f = best_f_beta(&ranked, 1.0).unwrap();
    assert_eq!((f.threshold, f.value), (0.3, 6.0 / 7.0));
    assert_eq!(best_f_beta(&ranked, 0.1).unwrap().threshold, 0.7);
    let costs = Costs {
        true_negative: 0.0,
        false_positive: 5.0,
        false_negative: 1.0,
        true_positive: 0.0,
    };
    let cost = minimum_cost(&ranked, &costs).unwrap();
    assert_eq!((cost.threshold, cost.value), (0.7, 0.2));
    let never = minimum_cost(
        &ranked,
        &Costs {
            true_positive: 9.0,
            ..costs
        },
    )
    .unwrap();
    assert!(never.threshold > 0.9 && never.value == 0.6);
    let recall = recall_at_precision(&ranked, 0.75).unwrap();
    assert_eq!((recall.threshold, recall.value), (0.3, 1.0));
    assert_eq!(recall_at_precision(&ranked, 1.0).unwrap().threshold, 0.7);
    let all_wrong = Scores::of(&[0, 1], &[0.9, 0.1], None).unwrap().finish();
    let none = recall_at_precision(&all_wrong, 0.8);
    assert_eq!(message(none), "no threshold has a precision of 0.8: the highest is 0.5");
}

#[test]
fn resampling_is_the_same_on_any_number_of_threads() {
    let values: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 101)).collect();
    let mean =
        |rows: &[usize]| Ok(rows.iter().map(|r| values[*r]).sum::<f64>() / rows.len() as f64);
    let options = Resampling::default();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bootstrap(values.len(), &options, mean).unwrap())
    };
    let found = run(1);
    assert_eq!(found, run(3));
    // The standard error of a mean, to the noise of 1000 resamples.
    let variance = values.iter().map(|v| (v - found.estimate).powi(2)).sum::<f64>() / 200.0;
    let error = (variance / 200.0).sqrt();
    assert!((found.spread / error - 1.0).abs() < 0.1, "{found:?} {error}");
    assert!(((found.high - found.low) / (2.0 * 1.96 * error) - 1.0).abs() < 0.1);
    // A model that is better by 1 on every row, and one that is the same.
    let better = |rows: &[usize]| Ok(mean(rows)? + 1.0);
    let difference = paired_bootstrap(values.len(), &options, better, mean).unwrap();
    assert!(difference.p_value < 0.003 && difference.interval.low > 0.99);
    assert_eq!(paired_bootstrap(values.len(), &options, mean, mean).unwrap().p_value, 1.0);
    let test = |shift: f64| {
        permutation_test(values.len(), &options, |swap| {
            Ok(swap.iter().map(|s| if *s { -shift } else { shift }).sum())
        })
    };
    assert_eq!(test(1.0).unwrap(), 1.0 / 1001.0);
    assert_eq!(test(0.0).unwrap(), 1.0);
    // Undefined resamples are counted, not hidden.
    let truth = [0, 0, 0, 1];
    let auc = bootstrap(4, &options, |rows| {
        let truth: Vec<u32> = rows.iter().map(|r| truth[*r]).collect();
        let scores: Vec<f64> = rows.iter().map(|r| *r as f64).collect();
        roc_auc(&truth, &scores, None)
    });
    let undefined = auc.unwrap().undefined;
    assert!((250..400).contains(&undefined), "{undefined}");
    assert!(bootstrap(0, &options, mean).is_err());
}

/// Rows with ties, of two classes, some with weights.
fn rows() -> impl Strategy<Value = Vec<(u32, f64, f64)>> {
    prop::collection::vec((0u32..2, 0u32..=20, 0u32..4), 2..60).prop_map(|rows| {
        let row = |(t, p, w): (u32, u32, u32)| (t, f64::from(p) / 20.0, f64::from(w) * 0.7);
        rows.into_iter().map(row).collect()
    })
}

proptest! {
    #[test]
    fn figures_do_not_depend_on_batches(rows in rows(), cut in 0usize..60, weighted: bool) {
        let truth: Vec<u32> = rows.iter().map(|r| r.0).collect();
        let p: Vec<f64> = rows.iter().map(|r| r.1).collect();
        let w: Vec<f64> = rows.iter().map(|r| r.2).collect();
        let cut = cut.min(rows.len());
        let weights = |range: std::ops::Range<usize>| weighted.then(|| &w[range]);
        let part = |range: std::ops::Range<usize>| {
            let mut sums = Probabilities::new(2);
            sums.update(&truth[range.clone()], &p[range.clone()], weights(range.clone())).unwrap();
            let numbers = RegressionSums::of(&p[range.clone()], &w[range.clone()], weights(range));
            (sums, numbers.unwrap())
        };
        let (all, numbers) = part(0..rows.len());
        let (mut last, mut last_numbers) = part(cut..rows.len());
        let (first, first_numbers) = part(0..cut);
        last.merge(first);
        last_numbers.merge(first_numbers);
        let (Ok(all), Ok(merged)) = (all.finish(), last.finish()) else { return Ok(()) };
        prop_assert_eq!(numbers.finish(), last_numbers.finish());
        prop_assert_eq!(all.log_loss, merged.log_loss);
        prop_assert_eq!(all.brier, merged.brier);
        prop_assert_eq!(all.calibration_error, merged.calibration_error);
        prop_assert_eq!(&all.confusion, &merged.confusion);
        let (all, merged) = (all.scores.unwrap().finish(), merged.scores.unwrap().finish());
        prop_assert_eq!(all.roc_auc(), merged.roc_auc());
        prop_assert_eq!(all.average_precision(), merged.average_precision());
        prop_assert_eq!(all.roc_curve(true), merged.roc_curve(true));
    }

    #[test]
    fn a_weight_counts_as_repetition(rows in rows()) {
        let (mut truth, mut p, mut w) = (vec![], vec![], vec![]);
        let (mut truths, mut ps) = (vec![], vec![]);
        for (t, score, weight) in rows {
            let weight = (weight / 0.7).round();
            truth.push(t);
            p.push(score);
            w.push(weight);
            truths.extend(vec![t; weight as usize]);
            ps.extend(vec![score; weight as usize]);
        }
        let near = |a: Result<f64>, b: Result<f64>| match (a, b) {
            (Ok(a), Ok(b)) => (a - b).abs() < 1e-12,
            (a, b) => a.is_err() && b.is_err(),
        };
        prop_assert!(near(roc_auc(&truth, &p, Some(&w)), roc_auc(&truths, &ps, None)));
        prop_assert!(near(average_precision(&truth, &p, Some(&w)), average_precision(&truths, &ps, None)));
        prop_assert!(near(log_loss(2, &truth, &p, Some(&w)), log_loss(2, &truths, &ps, None)));
        prop_assert!(near(brier(2, &truth, &p, Some(&w)), brier(2, &truths, &ps, None)));
        prop_assert!(near(
            calibration_error(2, &truth, &p, Some(&w), 7),
            calibration_error(2, &truths, &ps, None, 7)
        ));
        // 32-bit scores rank alike.
        let short: Vec<f32> = p.iter().map(|p| *p as f32).collect();
        prop_assert_eq!(roc_auc(&truth, &p, Some(&w)), roc_auc(&truth, &short, Some(&w)));
        // The area counts pairs.
        if let Ok(auc) = roc_auc(&truth, &p, None) {
            let (mut pairs, mut won) = (0.0, 0.0);
            for (a, x) in truth.iter().zip(&p) {
                for (b, y) in truth.iter().zip(&p) {
                    if (*a, *b) == (1, 0) {
                        pairs += 1.0;
                        won += if x > y { 1.0 } else if x == y { 0.5 } else { 0.0 };
                    }
                }
            }
            prop_assert_eq!(auc, won / pairs);
        }
    }
}
