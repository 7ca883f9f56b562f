use serde::Serialize;
use tesla_data::audit::Finding;

/// What happens during training, as it happens.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The contract set a column aside.
    ColumnUnused {
        /// The column.
        column: String,
        /// Why.
        reason: String,
    },
    /// A source was read. `read = kept + quarantined`, always.
    Rows {
        /// The source, without directories.
        source: String,
        /// All rows.
        read: usize,
        /// Rows that the contract lets in.
        kept: usize,
        /// Rows that were set apart.
        quarantined: usize,
        /// Rows among those kept that lost a value (`on_bad = "null"`).
        nulled: usize,
    },
    /// The rows exceed `data.memory`, so that the leak auditor did not look at them.
    NotAudited,
    /// The leak auditor found something. What ends the run is in [`Error::Leak`](crate::Error::Leak).
    Finding(Finding),
    /// Training rows were left out as outliers (`remove_outliers`).
    Outliers {
        /// How many.
        removed: usize,
        /// The training rows that are left.
        kept: usize,
    },
    /// A fold of a cross-validation begins.
    Fold {
        /// The fold, counted from 1.
        fold: usize,
        /// How many there are.
        folds: usize,
    },
    /// Everything is ready.
    Started {
        /// The kind of model.
        model: String,
        /// The number of weights.
        parameters: usize,
        /// Rows to train, validate and test on.
        rows: [usize; 3],
        /// The backend.
        device: String,
        /// Steps in one epoch; 0 for a model that is solved exactly.
        steps: usize,
        /// The most epochs; 0 for a model that is solved exactly.
        epochs: usize,
        /// The shape of one row that the network sees.
        input: Vec<usize>,
        /// Numbers that come out for it.
        outputs: usize,
    },
    /// A run goes on from a checkpoint.
    Resumed {
        /// The epoch, counted from 1.
        epoch: usize,
        /// Steps of it that were done before.
        step: usize,
        /// The epochs that were done before, as the report has them.
        #[serde(skip)]
        history: Vec<serde_json::Value>,
    },
    /// Some steps of an epoch are done. Sent at most a few times a second.
    Progress {
        /// The epoch, counted from 1.
        epoch: usize,
        /// Steps done in this epoch.
        step: usize,
        /// Rows per second over the whole run.
        rows_per_second: f64,
        /// Seconds until the last epoch ends, at this rate.
        seconds_left: f64,
    },
    /// An epoch is done.
    Epoch {
        /// The epoch, counted from 1.
        epoch: usize,
        /// The mean training loss.
        loss: f64,
        /// The validation loss, where there are validation rows.
        valid_loss: Option<f64>,
        /// The name of the validation metric: that of `early_stop`, or else `accuracy`, `rmse`, or
        /// `rmsle` of a target with `log1p`.
        metric: &'static str,
        /// The validation metric.
        valid_metric: Option<f64>,
        /// Rows per second over the whole run.
        rows_per_second: f64,
        /// Seconds until the last epoch ends, at this rate.
        seconds_left: f64,
    },
    /// Training stopped before the last epoch.
    StoppedEarly {
        /// The epoch whose weights are kept, counted from 1.
        best_epoch: usize,
    },
    /// A linear model was solved.
    Solved {
        /// Passes over the rows.
        passes: usize,
        /// Whether the optimum was found; if not, the weights are the best of the last pass.
        converged: bool,
    },
}

/// Someone who watches training.
pub trait Observer {
    /// Called for every event, in order.
    fn event(&mut self, event: Event);

    /// Asked before the first step and after every one: true saves a checkpoint and ends training with
    /// [`Error::Interrupted`](crate::Error::Interrupted).
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// Watches and says nothing.
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: Event) {}
}

impl<F: FnMut(Event)> Observer for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}
