use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tesla_core::{
    Bundle, Device, ModelConfig, Network, Predictor, Probe, Provenance, Seen, Signature,
};
use tesla_data::audit::{self, Finding, Severity};
use tesla_data::augment::{Augment, AugmentConfig};
use tesla_data::config::{AuditLevel, ColumnConfigs, Encode};
use tesla_data::interactions::INTERACTION;
use tesla_data::prepare::{TextEncoding, without_outliers};
use tesla_data::{
    BadRow, ColumnKind, Contract, Dataset, FittedInteractions, FittedPipeline, Frame, Inputs,
    InteractionsConfig, Pipeline, Samples, Selection, Split, Task,
};

use crate::engine::{Checkpoints, Pairs};
use crate::evaluate::{Options, evaluate_with, linear, seen_in};
use crate::{
    Config, Error, Event, Observer, Optimizer, Report, Result, TrainConfig, decide, engine, solve,
};

/// What a training run produced.
#[derive(Debug)]
pub struct Trained {
    /// The sealed model.
    pub bundle: Bundle,
    /// Figures on the test rows, when there are any.
    pub test: Option<Report>,
    /// Figures on the validation rows, when there are any.
    pub valid: Option<Report>,
    /// The rows that were set apart, source by source.
    pub bad: Vec<BadRow>,
    /// The rows that were kept without a value, source by source (`on_bad = "null"`).
    pub nulled: Vec<BadRow>,
    /// How the rows were divided.
    pub split: Split,
    /// The loss of the very first step; `None` for a model that is solved exactly.
    pub first_loss: Option<f64>,
}

/// Trains a model: the whole way of a row, in order.
///
/// # Errors
/// When the data, the configuration or the model do not fit each other; see the variants of
/// [`crate::Error`].
pub fn train(
    config: &Config,
    data: &Dataset,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Trained> {
    train_with(config, data, device, observer, None)
}

/// Like [`train`], with checkpoints, from which the same call goes on.
///
/// # Errors
/// As [`train`], and when a checkpoint is of another run.
pub fn train_with(
    config: &Config,
    data: &Dataset,
    device: &Device,
    observer: &mut dyn Observer,
    checkpoints: Option<&Checkpoints>,
) -> Result<Trained> {
    config.train.check()?;
    config.evaluate.check()?;
    if let Some(checkpoints) = checkpoints.filter(|checkpoints| !checkpoints.resume) {
        // Of a run that is begun anew, or was of another.
        checkpoints.clear();
    }
    let interactions = config.data.interactions.as_ref();
    let chosen = config.model.clone().or_else(|| interactions.map(default_recommender));
    check_interactions(chosen.as_ref(), interactions)?;
    let seed = config.train.seed;
    // A program may bring rows that nobody has prepared.
    let lacks = |i: &&InteractionsConfig| {
        i.rating.is_none() && data.frame.schema().index_of(INTERACTION).is_err()
    };
    let made = interactions
        .filter(lacks)
        .map(|i| data.with_interaction(i))
        .transpose()?;
    let data = made.as_ref().unwrap_or(data);
    // What every column is.
    let contract = Contract::infer(&data.frame, &config.data, &config.columns)?;
    for (column, reason) in contract.notes() {
        observer.event(Event::ColumnUnused {
            column: column.into(),
            reason: reason.into(),
        });
    }

    // Which rows keep it.
    let data = data.settle(&contract, &config.data.bad_policy())?;
    for frame in data.frames() {
        observer.event(Event::Rows {
            source: frame.name().into(),
            read: frame.len() + frame.bad().len(),
            kept: frame.len(),
            quarantined: frame.bad().len(),
            nulled: frame.nulled().len(),
        });
    }
    let mut bad: Vec<BadRow> = data.frames().flat_map(Frame::bad).cloned().collect();
    let nulled: Vec<BadRow> = data.frames().flat_map(Frame::nulled).cloned().collect();
    let frame = &data.frame;

    // Which rows teach, which tune, which judge.
    let classes = frame.class_ids(&contract)?;
    let split = data.split(&config.data, classes.as_deref(), seed)?;
    let train = frame.select(&split.train);
    let valid = part(&data.valid, frame, &split.valid);
    let test = part(&data.test, frame, &split.test);

    // Whether what is asked of the validation rows can be had.
    let labels = contract.target().map_or(0, |target| target.categories.len());
    decide::check(
        &config.evaluate,
        contract.task,
        labels,
        valid.as_ref().map_or(0, Selection::len),
    )?;
    let ranks = matches!(chosen, Some(ModelConfig::Bpr(_)));
    config.train.check_task(contract.task)?;
    if ranks && config.data.weight.is_some() {
        return Err(Error::Config(
            "`data.weight` has no meaning with the model `bpr`, which learns from pairs of items: remove it".into(),
        ));
    }
    let stop = config.train.early_stop.metric.figure(contract.task, ranks)?;

    // Whether the parts are apart.
    look_for_leaks(config, &data, &contract, &split, observer)?;

    // Which training rows are too unusual to teach.
    let (train, outliers) = without_outliers(&train, &contract, &config.columns)?;
    if !outliers.is_empty() {
        observer.event(Event::Outliers {
            removed: outliers.len(),
            kept: train.len(),
        });
        bad.extend(outliers);
    }

    // What preparation learns from the training rows, and what it makes of them.
    let prepared = prepare(config, &contract, chosen.as_ref(), &train, valid.as_ref())?;
    let Prepared {
        pipeline,
        train: train_samples,
        valid: valid_samples,
        kept,
        pairs,
        weights,
        valid_weights,
    } = prepared;

    // The network.
    let signature = Signature {
        input: train_samples.inputs.row_shape(),
        outputs: pipeline.target.labels().len().max(1),
        task: contract.task,
        ids: pipeline.embeddings(),
        vocabulary: match &train_samples.inputs {
            Inputs::Tokens(tokens) if tokens.weights.is_none() => tokens.vocabulary,
            _ => 0,
        },
    };
    let model = chosen.unwrap_or_else(|| default_model(&signature, &train_samples.inputs));
    check_network(config, &model, train_samples.len)?;
    let network = model.init(&signature, seed, device)?;
    let rows =
        [Some(&train), valid.as_ref(), test.as_ref()].map(|part| part.map_or(0, Selection::len));

    // Hashed before the search begins, whose time is told.
    let provenance = provenance(config, &model, &data, rows, bad.len(), device)?;

    // Its weights.
    let exact = solve::is_exact(&model);
    observer.event(Event::Started {
        model: model.kind().into(),
        parameters: network.parameters(),
        rows,
        device: device.name().into(),
        steps: match (exact, config.train.optimizer) {
            (true, _) => 0,
            (false, Optimizer::Lbfgs) => 1,
            (false, _) => engine::steps(train_samples.len, config.train.batch_size),
        },
        epochs: if exact { 0 } else { config.train.epochs },
        input: signature.input.clone(),
        outputs: signature.outputs,
    });
    if observer.should_stop() {
        return Err(Error::Interrupted {
            epoch: 1,
            step: 0,
            saved: false,
        });
    }
    let fitted: Fitted = match exact {
        true => {
            let rows = solve::Rows {
                selection: &train,
                samples: &train_samples,
                weights: weights.as_deref(),
            };
            solve::solve(&model, network, &pipeline, &rows, device, observer)?
        }
        false => {
            let run = engine::run_id(&provenance);
            let augment = augment(&config.augment, &train_samples.inputs)?;
            let job = engine::Job {
                augment: augment.as_ref(),
                config: &config.train,
                stop,
                train: &train_samples,
                valid: valid_samples.as_ref(),
                valid_weights: valid_weights.as_deref(),
                target: &pipeline.target,
                weights: weights.as_deref(),
                pairs,
                penalty: model.penalty(),
                device,
                checkpoints,
                run: &run,
                place: &|row| {
                    let row = kept.as_ref().map_or(row, |kept| kept[row]);
                    train.place(train_samples.inputs.source_row(row))
                },
            };
            engine::fit(network, &job, observer)?
        }
    };

    // The sealed model, and its figures through the one door every prediction takes.
    let mut bundle =
        Bundle::new(signature, contract, pipeline, model, &fitted.network, provenance)?;
    if let Some(valid) = &valid {
        bundle.decision = decide::decide(
            &config.evaluate,
            config.data.weight.as_deref(),
            &bundle,
            valid,
            device,
        )?;
    }
    let predictor = bundle.clone().predictor(device)?;
    let parts = [valid.as_ref(), test.as_ref()];
    let taught = (&train_samples, weights.as_deref());
    let [valid, test] = judge(config, &predictor, &train, taught, parts, device)?;
    let kept = |report: &Option<Report>| report.as_ref().map(Report::without_rows);
    bundle.report =
        json!({ "valid": kept(&valid), "test": kept(&test), "training": fitted.history });
    bundle.probe = Some(Probe::record(&predictor)?);
    Ok(Trained {
        bundle,
        test,
        valid,
        bad,
        nulled,
        split,
        first_loss: fitted.first_loss,
    })
}

/// What preparation learned from the training rows, and what it made of them.
struct Prepared {
    pipeline: FittedPipeline,
    train: Samples,
    valid: Option<Samples>,
    /// The training row of each sample, where only some rows are samples.
    kept: Option<Vec<usize>>,
    pairs: Option<Arc<Pairs>>,
    weights: Option<Vec<f64>>,
    valid_weights: Option<Vec<f64>>,
}

fn prepare(
    config: &Config,
    contract: &Contract,
    chosen: Option<&ModelConfig>,
    train_rows: &Selection<'_>,
    valid_rows: Option<&Selection<'_>>,
) -> Result<Prepared> {
    let columns = columns_for(chosen, contract, &config.columns);
    let mut pipeline = Pipeline::new(contract, &columns)?
        .with_sequence(config.data.sequence.as_ref())?
        .fit(train_rows)?;
    let mut train = pipeline.collect_train(train_rows)?;
    let mut valid = valid_rows.map(|rows| pipeline.collect(rows)).transpose()?;
    let (mut kept, mut pairs) = (None, None);
    if let Some(interactions) = &config.data.interactions {
        let fitted = FittedInteractions::fit(interactions, &pipeline, &train)?;
        if let Some(ModelConfig::Bpr(bpr)) = chosen {
            let (positives, rows) = fitted.positives(&train)?;
            if rows.is_empty() {
                let message = "no training row reaches `data.interactions.threshold`: lower it";
                return Err(Error::Config(message.into()));
            }
            (train, kept) = (positives, Some(rows));
            valid = match valid {
                Some(valid) => Some(fitted.positives(&valid)?.0).filter(|valid| valid.len > 0),
                None => None,
            };
            let learned = Pairs::new(bpr.negatives, &fitted, &pipeline, &train, valid.as_ref())?;
            pairs = Some(Arc::new(learned));
        }
        pipeline.interactions = Some(fitted);
    }
    let valid_weights = match (valid_rows, &valid) {
        (Some(rows), Some(samples)) if pairs.is_none() => weights(contract, rows, samples, None)?,
        _ => None,
    };
    let own = weights(contract, train_rows, &train, kept.as_deref())?;
    let weights =
        engine::row_weights(own, &config.train.class_weights, &pipeline.target, &train.target)?;
    Ok(Prepared {
        pipeline,
        train,
        valid,
        kept,
        pairs,
        weights,
        valid_weights,
    })
}

/// Whether the network can be trained as `[train]` says.
fn check_network(config: &Config, model: &ModelConfig, rows: usize) -> Result<()> {
    if model.has_batch_norm() && (config.train.batch_size < 2 || rows < 2) {
        return Err(Error::Config(
            "`batch_norm` goes by the spread of the rows of a step: set `batch_size` in `[train]` to 2 or more, or remove it".into(),
        ));
    }
    let changes = model.without_dropout() != *model
        || !config.augment.is_off()
        || matches!(model, ModelConfig::Bpr(_));
    match config.train.optimizer == Optimizer::Lbfgs && changes {
        true => Err(Error::Config(
            "`optimizer = \"lbfgs\"` needs the same loss each time it looks: set `dropout = 0` in `[model]` and remove `[augment]`, or choose `adamw`, which models that rank need, too".into(),
        )),
        false => Ok(()),
    }
}

/// Where a model comes from, and what is needed to train it again.
fn provenance(
    config: &Config,
    model: &ModelConfig,
    data: &Dataset,
    rows: [usize; 3],
    quarantined: usize,
    device: &Device,
) -> Result<Provenance> {
    let resolved = Config {
        model: Some(model.clone()),
        // `auto` and the device it found give one model.
        train: TrainConfig {
            device: device.name().into(),
            weight_decay: Some(config.train.weight_decay()),
            ..config.train.clone()
        },
        ..config.clone()
    };
    let mut apart_sha256 = BTreeMap::new();
    for (part, frame) in [("valid", &data.valid), ("test", &data.test)] {
        if let Some(frame) = frame {
            apart_sha256.insert(part.to_string(), frame.fingerprint()?);
        }
    }
    Ok(Provenance {
        source: data.frame.name().into(),
        data_sha256: data.frame.fingerprint()?,
        apart_sha256,
        rows,
        quarantined,
        seed: config.train.seed,
        device: device.name().into(),
        config: resolved.without_paths(),
    })
}

/// The reports on validation and test rows. The last of them that is there has baselines beside it, fitted
/// on what the model was `taught`: samples and what they weigh.
fn judge(
    config: &Config,
    predictor: &Predictor,
    train: &Selection<'_>,
    taught: (&Samples, Option<&[f64]>),
    [valid, test]: [Option<&Selection<'_>>; 2],
    device: &Device,
) -> Result<[Option<Report>; 2]> {
    let ranks = matches!(predictor.bundle().model, ModelConfig::Bpr(_));
    let seen = match ranks {
        true => seen_in(predictor, train)?,
        false => Seen::default(),
    };
    let report = |rows: &Selection<'_>, only_last: bool, is_last: bool| -> Result<Report> {
        let options = Options {
            by: match is_last {
                true => config.evaluate.by.clone(),
                false => Vec::new(),
            },
            weight: config.data.weight.clone(),
            only_last,
            seen: seen.clone(),
            ..Options::default()
        };
        let mut report = evaluate_with(predictor, rows, &options)?;
        if is_last && !ranks {
            let linear = linear(predictor.bundle(), taught, rows, &options, device)?;
            report.baselines.extend(linear);
        }
        Ok(report)
    };
    let only_last = config.data.sequence.as_ref().is_some_and(|s| s.evaluate_last);
    Ok([
        valid.map(|rows| report(rows, false, test.is_none())).transpose()?,
        test.map(|rows| report(rows, only_last, true)).transpose()?,
    ])
}

/// Reports what the auditor finds, and ends the run where that is grave.
fn look_for_leaks(
    config: &Config,
    data: &Dataset,
    contract: &Contract,
    split: &Split,
    observer: &mut dyn Observer,
) -> Result<()> {
    // The auditor holds columns whole, which a table larger than memory must not be.
    if data.frames().any(Frame::is_on_disk) {
        if config.audit.level != AuditLevel::Off {
            observer.event(Event::NotAudited);
        }
        return Ok(());
    }
    let findings =
        audit::audit(data, contract, split, &config.audit, &config.data, &config.columns)?;
    let stops = |finding: &Finding| {
        finding.severity == Severity::Stop && config.audit.level == AuditLevel::Stop
    };
    let (grave, others): (Vec<_>, Vec<_>) = findings.into_iter().partition(stops);
    others.into_iter().for_each(|f| observer.event(Event::Finding(f)));
    match grave.is_empty() {
        true => Ok(()),
        false => Err(Error::Leak(grave)),
    }
}

/// A network with trained weights and how it came to them.
pub(crate) struct Fitted {
    pub(crate) network: Network,
    pub(crate) first_loss: Option<f64>,
    pub(crate) history: Value,
}

fn default_model(signature: &Signature, inputs: &Inputs) -> ModelConfig {
    match (inputs, signature.task) {
        (Inputs::Images(_), _) => ModelConfig::Cnn(Default::default()),
        (Inputs::Tokens(_), _) if signature.vocabulary > 0 => ModelConfig::Bag(Default::default()),
        (Inputs::Tokens(_), Task::Classification) => ModelConfig::Logistic(Default::default()),
        (Inputs::Sequences(_), _) => ModelConfig::Conv1d(Default::default()),
        _ => ModelConfig::Mlp(Default::default()),
    }
}

/// What the training rows weigh, where a column says so: one number for each sample. `kept` names the row
/// of each where only some rows are samples.
fn weights(
    contract: &Contract,
    train: &Selection<'_>,
    samples: &Samples,
    kept: Option<&[usize]>,
) -> Result<Option<Vec<f64>>> {
    let mut all: Option<Vec<f64>> = None;
    for batch in train.batches()? {
        let Some(next) = contract.weights(&batch?)? else {
            return Ok(None);
        };
        all.get_or_insert_default().extend(next);
    }
    // A window weighs what its last row does.
    let row = |sample: usize| kept.map_or_else(|| samples.inputs.source_row(sample), |k| k[sample]);
    Ok(all.map(|all| (0..samples.len).map(|sample| all[row(sample)]).collect()))
}

/// Ratings are predicted where there are some; what has a threshold, or no rating, is ranked.
fn default_recommender(interactions: &InteractionsConfig) -> ModelConfig {
    match (&interactions.rating, interactions.threshold) {
        (Some(_), None) => ModelConfig::Mf(Default::default()),
        _ => ModelConfig::Bpr(Default::default()),
    }
}

/// Whether model and interactions suit each other.
fn check_interactions(
    model: Option<&ModelConfig>,
    interactions: Option<&InteractionsConfig>,
) -> Result<()> {
    let message = match (model, interactions) {
        (Some(ModelConfig::Bpr(_)), None) => {
            "the model `bpr` needs `[data.interactions]`: say there which columns name `user` and `item`"
        }
        (Some(ModelConfig::Mf(_)), Some(InteractionsConfig { rating: None, .. })) => {
            "the model `mf` learns ratings, but `[data.interactions]` names no `rating`: add it, or use `kind = \"bpr\"`"
        }
        (
            Some(ModelConfig::Mf(_)),
            Some(InteractionsConfig {
                threshold: Some(_), ..
            }),
        ) => {
            "`data.interactions.threshold` has no meaning with the model `mf`, which learns each rating: remove it, or use `kind = \"bpr\"`"
        }
        (Some(ModelConfig::Mf(_) | ModelConfig::Bpr(_)), _) | (_, None) => return Ok(()),
        (_, Some(_)) => {
            "`[data.interactions]` goes with the models `mf` and `bpr`: choose one of them, or remove it"
        }
    };
    Err(Error::Config(message.into()))
}

fn augment(config: &AugmentConfig, inputs: &Inputs) -> Result<Option<Augment>> {
    match inputs {
        _ if config.is_off() => Ok(None),
        Inputs::Images(set) => Ok(Some(Augment::new(config, set.channels, set.height, set.width)?)),
        _ => Err(Error::Config(
            "`[augment]` changes images, but the features are none: remove it".into(),
        )),
    }
}

/// The settings of columns, where nothing was said as the model needs them: words in their order for
/// those that read words, ids for those that look vectors up.
fn columns_for(
    model: Option<&ModelConfig>,
    contract: &Contract,
    columns: &ColumnConfigs,
) -> ColumnConfigs {
    let mut columns = columns.clone();
    let Some(model) = model else {
        return columns;
    };
    for rule in contract.features() {
        let column = columns.entry(rule.name.clone()).or_default();
        if model.reads_words() && rule.kind == ColumnKind::Text {
            let text = column.text.get_or_insert_default();
            text.encode.get_or_insert(TextEncoding::Words);
        }
        if model.reads_ids() && rule.kind == ColumnKind::Category {
            column.encode.get_or_insert(Encode::Embedding);
        }
    }
    columns
}

/// What the leak auditor finds in the rows of a run, without training.
///
/// # Errors
/// When the rows cannot be divided.
pub fn findings(config: &Config, data: &Dataset) -> Result<Vec<Finding>> {
    let contract = Contract::infer(&data.frame, &config.data, &config.columns)?;
    let data = data.settle(&contract, &config.data.bad_policy())?;
    let classes = data.frame.class_ids(&contract)?;
    let split = data.split(&config.data, classes.as_deref(), config.train.seed)?;
    Ok(audit::audit(&data, &contract, &split, &config.audit, &config.data, &config.columns)?)
}

/// A source of its own where there is one, else the given rows of `frame`; `None` of nothing.
fn part<'a>(own: &'a Option<Frame>, frame: &'a Frame, rows: &'a [u32]) -> Option<Selection<'a>> {
    match own {
        Some(own) => Some(own.all()),
        None if rows.is_empty() => None,
        None => Some(frame.select(rows)),
    }
}
