//! Raw data in, a sealed model out, the same model served anywhere.
//!
//! The five stages are five modules: [`ingest`], [`prepare`], [`train`], [`evaluate`],
//! [`deploy`]. A [`Model`] is what training returns and what a `model.tesla` file holds; every
//! prediction goes through it, so what is measured is what is served.
//!
//! ```
//! use tesla::{evaluate, ingest, train};
//!
//! # fn main() -> tesla::Result<()> {
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/iris/iris.csv");
//! let data = ingest::load_csv(path)?;
//! let model = train::logistic_regression(&data, "species")?;
//! println!("test figures: {:?}", model.test());
//!
//! let flower = serde_json::json!({
//!     "sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2,
//! });
//! assert_eq!(model.predict_json(&[flower])?.to_strings(), ["setosa"]);
//! assert!(evaluate::evaluate(&model, &data)?.headline().1 > 0.9);
//! # Ok(())
//! # }
//! ```

mod model;

pub use model::Model;
pub use tesla_core::{
    Batch, Bundle, Device, DeviceChoice, ModelConfig, Predictions, Predictor, Ranked, Seen,
    Signature, burn,
};
pub use tesla_data::{AuditLevel, Dataset, Frame};
pub use tesla_train::{Config, Error, Event, Observer, Report, Result, TrainConfig};

/// The rows of a training run, and where they come from.
pub mod ingest {
    use std::path::Path;

    pub use tesla_data::config::{CsvConfig, JsonConfig};
    pub use tesla_data::source::{CsvSource, IdxSource, ImageFolder, JsonSource, Source, open};
    pub use tesla_data::{Contract, DataConfig, Dataset, Frame, InteractionsConfig, Paths};

    use crate::Result;

    /// Reads a CSV file with a header line. Kinds of columns are inferred from all rows.
    ///
    /// # Errors
    /// When the file cannot be read; the message names file and line.
    pub fn load_csv(path: impl AsRef<Path>) -> Result<Dataset> {
        load(path)
    }

    /// Reads a folder of images, one sub-folder per class.
    ///
    /// # Errors
    /// When the folder holds no images.
    pub fn load_images(path: impl AsRef<Path>) -> Result<Dataset> {
        load(path)
    }

    /// Reads a file, a folder, a database or an address: whatever `source` in `[data]` can name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Dataset> {
        let source = open(path.as_ref(), &DataConfig::default())?;
        Ok(Dataset::from_frame(Frame::read_all(source)?))
    }
}

/// Everything between a raw column and a tensor.
pub mod prepare {
    pub use tesla_data::augment::AugmentConfig;
    pub use tesla_data::config::{
        BinStrategy, Bins, Bounds, ColumnConfig, Constant, Encode, Impute, Scale, TimePart,
    };
    pub use tesla_data::prepare::{
        Cell, ColumnNotice, FittedColumn, FittedPipeline, FittedStep, FittedTarget, Pipeline, Step,
        augment, register, without_outliers,
    };
    pub use tesla_data::samples::ImageSet;
    pub use tesla_data::{Contract, Inputs, Samples, Target};

    use crate::{Dataset, Result};

    /// Every column of numbers with a mean of 0 and a deviation of 1, learned from all rows. To train
    /// a model, leave it to [`ColumnConfig`]: then only training rows teach it.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub fn normalize(data: &Dataset) -> Result<Dataset> {
        Ok(Dataset::from_frame(tesla_data::prepare::normalize(&data.frame)?))
    }

    /// The named columns of numbers, scaled by what is learned from all rows; as [`normalize`].
    ///
    /// # Errors
    /// When a column does not exist, is not of numbers, or cannot be scaled in this way.
    pub fn scale(data: &Dataset, columns: &[&str], scale: Scale) -> Result<Dataset> {
        Ok(Dataset::from_frame(tesla_data::prepare::scale(&data.frame, columns, scale)?))
    }

    /// The images of a data set, decoded and of one size, for [`augment`].
    ///
    /// # Errors
    /// When it has no images, or one cannot be decoded.
    pub fn images(data: &Dataset, config: &ColumnConfig) -> Result<ImageSet> {
        Ok(tesla_data::prepare::images(&data.frame, config)?)
    }
}

/// From a data set to a model.
pub mod train {
    pub use tesla_core::model::{
        Block, BprConfig, CnnConfig, CustomConfig, CustomNetwork, LinearConfig, LogisticConfig,
        MfConfig, MfSolver, MlpConfig, register,
    };
    pub use tesla_train::{EarlyStop, Optimizer, Silent, train};

    use crate::{Config, Dataset, Device, DeviceChoice, Model, ModelConfig, Result};

    /// Least squares for the column `target`.
    ///
    /// # Errors
    /// When the column is missing or not a number.
    pub fn linear_regression(data: &Dataset, target: &str) -> Result<Model> {
        with_model(data, target, ModelConfig::Linear(Default::default()))
    }

    /// Logistic regression for the classes of the column `target`.
    ///
    /// # Errors
    /// When the column is missing or has one class only.
    pub fn logistic_regression(data: &Dataset, target: &str) -> Result<Model> {
        with_model(data, target, ModelConfig::Logistic(Default::default()))
    }

    /// Any model with the defaults of everything else, on the device that `auto` finds.
    ///
    /// # Errors
    /// When the model does not fit the data.
    pub fn with_model(data: &Dataset, target: &str, model: ModelConfig) -> Result<Model> {
        let mut config = Config {
            model: Some(model),
            ..Default::default()
        };
        config.data.target = Some(target.into());
        with_config(&config, data, DeviceChoice::Auto)
    }

    /// The whole of a `tesla.toml`, but for its data source, which `data` stands for.
    ///
    /// # Errors
    /// When data, configuration and model do not fit each other.
    pub fn with_config(config: &Config, data: &Dataset, device: DeviceChoice) -> Result<Model> {
        let device = Device::open(device)?;
        let trained = train(config, data, &device, &mut Silent)?;
        Ok(Model::new(trained.bundle.predictor(&device)?, trained.test))
    }
}

/// How good a model is.
pub mod evaluate {
    pub use tesla_train::evaluate::{
        Baseline, Compared, Comparison, Curves, InteractionFigures, Metrics, Mistake, Options,
        Slice, Slices,
    };
    pub use tesla_train::metrics::ranking::{Candidates, RankingFigures};
    pub use tesla_train::metrics::resample::{Difference, Interval, Resampling};
    pub use tesla_train::metrics::threshold::Costs;
    pub use tesla_train::metrics::{Classification, Regression, classification, regression};
    pub use tesla_train::{CrossValidation, Fold, Report, Spread, ThresholdRule};

    use tesla_data::contract::Need;
    use tesla_data::{BadPolicy, Frame, Inputs};
    use tesla_train::Silent;
    use tesla_train::explain::Sample;

    use crate::{Config, Dataset, Device, DeviceChoice, Model, Result};

    /// Evaluates a model on the rows of `data`, which carry the target. Rows that break the model's
    /// contract are left out, up to one in a hundred.
    ///
    /// # Errors
    /// When more rows break the model's contract.
    pub fn evaluate(model: &Model, data: &Dataset) -> Result<Report> {
        let frame = data.frame.settle(&model.bundle().contract, &BadPolicy::default())?;
        tesla_train::evaluate(model.predictor(), &frame.all())
    }

    /// Like [`evaluate`], with slices, weights and intervals as `options` say.
    ///
    /// # Errors
    /// As [`evaluate`], and when a column of `options` does not exist.
    pub fn evaluate_with(model: &Model, data: &Dataset, options: &Options) -> Result<Report> {
        let frame = data.frame.settle(&model.bundle().contract, &BadPolicy::default())?;
        tesla_train::evaluate_with(model.predictor(), &frame.all(), options)
    }

    /// The picture that a [`Mistake`] is about, as the model sees it: the `data:` address of a PNG, for an
    /// HTML page. `rows` is the frame that was evaluated.
    ///
    /// # Errors
    /// When the row is not there, or the model sees no pictures.
    pub fn picture(model: &Model, rows: &Frame, mistake: &Mistake) -> Result<String> {
        let refuse = |reason: &str| {
            tesla_data::Error::Config(format!("{} cannot be shown: {reason}", mistake.place))
        };
        let row = rows
            .row_of(mistake.row)
            .ok_or_else(|| refuse("it is not in these rows"))?;
        let place = |_| mistake.place.clone();
        let batch = Sample::of(&rows.all(), vec![row])?.batch;
        let bundle = model.bundle();
        let batch = bundle.contract.conform(&batch, Need::Features, &place)?;
        match bundle.pipeline.samples(&batch, &place)?.inputs {
            Inputs::Images(images) => Ok(images.data_uri(0)?),
            _ => Err(refuse("the model sees no pictures").into()),
        }
    }

    /// Compares two models on the rows of `data` that keep the contracts of both.
    ///
    /// # Errors
    /// When they predict different things, and as [`evaluate`].
    pub fn compare(first: &Model, second: &Model, data: &Dataset) -> Result<Comparison> {
        let settle =
            |model: &Model| data.frame.settle(&model.bundle().contract, &BadPolicy::default());
        let frames = [settle(first)?, settle(second)?];
        tesla_train::compare(
            [first.predictor(), second.predictor()],
            [&frames[0].all(), &frames[1].all()],
            None,
            &Resampling::default(),
        )
    }

    /// Trains and judges a model for each of `folds` parts of the rows; see
    /// [`tesla_train::cross_validate`].
    ///
    /// # Errors
    /// When the rows cannot be divided so, or data, configuration and model do not fit each other.
    pub fn cross_validate(
        config: &Config,
        data: &Dataset,
        folds: usize,
        device: DeviceChoice,
    ) -> Result<CrossValidation> {
        let device = Device::open(device)?;
        tesla_train::cross_validate(config, data, folds, &device, &mut Silent)
    }
}

/// A model behind HTTP.
pub mod deploy {
    use std::net::SocketAddr;

    pub use tesla_serve::{Model as ServedModel, router};

    use crate::Model;

    /// Serves a model under `name` until the process ends.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn serve(model: Model, name: &str, addr: SocketAddr) -> std::io::Result<()> {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(addr).await?;
            let model = tesla_serve::Model {
                name: name.into(),
                predictor: model.into_predictor(),
            };
            tesla_serve::serve(vec![model], listener, std::future::pending()).await
        })
    }
}

/// The programs of the README, the guide and the reference are compiled, and run where they can be, as tests.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/src/embedding.md")]
    struct Embedding;
    #[doc = include_str!("../../../docs/guide/src/recommendation.md")]
    struct GuideToRecommendation;
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/recommendation.md")]
    struct Recommendation;
}
