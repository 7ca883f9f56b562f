//! Losses, optimisers and schedules, held against PyTorch: `benches/peers/engine.py` printed the numbers.

use serde::Deserialize;
use tesla_core::model::{Activation, MlpConfig};
use tesla_core::{DeviceChoice, ModelConfig, Signature};
use tesla_data::samples::Floats;
use tesla_data::{Target, Task};

use super::*;
use crate::Silent;

#[derive(Deserialize)]
struct Reference {
    /// Rows of three numbers, and what is predicted of them.
    x: Vec<f32>,
    labels: Vec<u32>,
    values: Vec<f64>,
    first: First,
    cases: Vec<Case>,
}

/// The first weights: those of the hidden layer, its biases, those of the last layer, its biases.
#[derive(Deserialize)]
struct First {
    classes: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    train: TrainConfig,
    row_weights: Option<Vec<f64>>,
    /// Whether numbers are predicted, and not classes.
    values: bool,
    /// Before each step.
    losses: Vec<f64>,
    /// After the last.
    weights: Vec<Vec<f32>>,
}

/// The losses and last weights of a case, by the engine: an epoch is one step, so that the order of rows
/// says nothing.
fn train(reference: &Reference, case: &Case) -> (Vec<f64>, Vec<Vec<f32>>) {
    let (target, own, task, first) = match case.values {
        true => (
            FittedTarget::Value {
                name: "y".into(),
                mean: 0.0,
                scale: 1.0,
                log: false,
            },
            Target::Values(reference.values.clone()),
            Task::Regression,
            &reference.first.values,
        ),
        false => (
            FittedTarget::Classes {
                name: "y".into(),
                labels: ["a", "b", "c"].map(String::from).to_vec(),
            },
            Target::Classes(reference.labels.clone()),
            Task::Classification,
            &reference.first.classes,
        ),
    };
    let samples = Samples {
        len: reference.labels.len(),
        inputs: Inputs::Dense(Floats::new(3, reference.x.clone())),
        target: own,
    };
    let class_weights = &case.train.class_weights;
    let weights =
        row_weights(case.row_weights.clone(), class_weights, &target, &samples.target).unwrap();
    let signature = Signature {
        input: vec![3],
        outputs: target.labels().len().max(1),
        task,
        ids: Vec::new(),
        vocabulary: 0,
    };
    let device = Device::open(DeviceChoice::Flex).unwrap();
    let model = ModelConfig::Mlp(MlpConfig {
        hidden: vec![4],
        activation: Activation::Tanh,
        ..Default::default()
    });
    let on_device = |values: &Vec<f32>| Tensor::<1>::from_floats(values.as_slice(), device.burn());
    let network = model.init(&signature, 1, &device).unwrap();
    let network = with_weights(network, first.iter().map(on_device).collect());
    let job = Job {
        config: &case.train,
        stop: None,
        train: &samples,
        valid: None,
        valid_weights: None,
        target: &target,
        weights: weights.as_deref(),
        pairs: None,
        penalty: None,
        augment: None,
        device: &device,
        checkpoints: None,
        run: "",
        place: &|row| row.to_string(),
    };
    let fitted = fit(network, &job, &mut Silent).unwrap();
    let epochs = fitted.history["epochs"].as_array().unwrap();
    let losses = epochs.iter().map(|epoch| epoch["loss"].as_f64().unwrap()).collect();
    let host = |tensor: Tensor<1>| tensor.into_data().try_to_vec::<f32>().unwrap();
    (losses, flat(&fitted.network).into_iter().map(host).collect())
}

#[test]
fn every_loss_rule_and_schedule_is_pytorchs() {
    let text = include_str!("../../../../benches/peers/engine.json");
    let reference: Reference = serde_json::from_str(text).unwrap();
    let mut wrong = Vec::new();
    for case in &reference.cases {
        let (losses, weights) = train(&reference, case);
        assert_eq!(losses.len(), case.losses.len(), "{}", case.name);
        let far = |a: f64, b: f64| (a - b).abs() > 1e-5;
        if let Some(step) = (0..losses.len()).find(|step| far(losses[*step], case.losses[*step])) {
            let (found, expected) = (losses[step], case.losses[step]);
            wrong.push(format!(
                "{}: the loss before step {} is {found}, not {expected}",
                case.name,
                step + 1
            ));
        }
        let (weights, expected) = (weights.concat(), case.weights.concat());
        assert_eq!(weights.len(), expected.len(), "{}", case.name);
        let pairs = std::iter::zip(weights, expected).enumerate();
        for (at, (a, b)) in pairs.filter(|(_, (a, b))| far((*a).into(), (*b).into())).take(1) {
            wrong.push(format!("{}: weight {at} is {a}, not {b}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn steps_take_each_row_once_and_none_alone() {
    for rows in 1..40 {
        let order: Vec<usize> = (0..rows).collect();
        for size in 1..12 {
            let found = batches(&order, size);
            assert_eq!(found.concat(), order);
            assert_eq!(found.len(), steps(rows, size), "{rows} rows by {size}");
            assert!(size == 1 || rows == 1 || found.iter().all(|rows| rows.len() > 1));
        }
    }
}
