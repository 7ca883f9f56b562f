use std::sync::Arc;
use std::time::{Duration, Instant};

use tesla_core::explain::{Explained, Explainer};
use tesla_core::{Bundle, Predictions, Predictor, Prepared, Ranked};
use tesla_data::arrow::array::RecordBatch;
use tokio::sync::Semaphore;

use crate::config::{Batching, Limits};
use crate::error::Failure;
use crate::metrics::{Metrics, ModelMetrics};
use crate::protocol::infer::image_of;
use crate::protocol::lists::Lists;
use crate::queue::Queue;

/// More values than this are prepared on a thread that may be held up.
const INLINE: usize = 4096;
/// Rows that are explained at a time, at most.
pub(crate) const EXPLAINED: usize = 20;

/// What a request's body says.
pub(crate) struct Asked<W> {
    pub(crate) rows: RecordBatch,
    /// How the answer should look.
    pub(crate) wanted: W,
    /// How long it may take, when that is said.
    pub(crate) time: Option<Duration>,
}

impl From<RecordBatch> for Asked<()> {
    fn from(rows: RecordBatch) -> Self {
        Self {
            rows,
            wanted: (),
            time: None,
        }
    }
}

/// One version of a model, ready to answer.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) version: u64,
    predictor: Arc<Predictor>,
    queue: Queue,
    /// Held while lists are made or rows explained: one request at a time, beside the queue.
    aside: Arc<Semaphore>,
    metrics: Arc<ModelMetrics>,
}

impl Loaded {
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn new(
        name: &str,
        version: u64,
        predictor: Predictor,
        batching: Batching,
        metrics: &Metrics,
    ) -> std::io::Result<Self> {
        let metrics = metrics.model(name);
        let predictor = Arc::new(predictor);
        Ok(Self {
            name: name.into(),
            version,
            queue: Queue::start(predictor.clone(), batching, metrics.clone())?,
            aside: Arc::new(Semaphore::new(1)),
            predictor,
            metrics,
        })
    }

    pub(crate) fn bundle(&self) -> &Bundle {
        self.predictor.bundle()
    }

    /// The way of a request: read, check and prepare its rows, wait for the network, and answer.
    /// `read` makes rows of the request's body, of about `size` values.
    ///
    /// # Errors
    /// When the request is at fault, or waits in vain.
    pub(crate) async fn predict<W: Send + 'static>(
        self: &Arc<Self>,
        limits: &Limits,
        deadline: Instant,
        size: usize,
        read: impl FnOnce(&Bundle) -> Result<Asked<W>, Failure> + Send + 'static,
    ) -> Result<(Predictions, W), Failure> {
        let started = Instant::now();
        let done = self.run(limits, deadline, size, read).await;
        match &done {
            Ok((predictions, _)) => self.metrics.predicted(predictions.len(), started.elapsed()),
            Err(failure) => self.metrics.refused(failure.status),
        }
        done
    }

    /// The items to show users next, where `read` says that this is asked for.
    ///
    /// # Errors
    /// When the request is at fault, or waits in vain.
    pub(crate) async fn lists(
        self: &Arc<Self>,
        limits: &Limits,
        deadline: Instant,
        read: impl FnOnce(&Bundle) -> Result<Option<Lists>, Failure> + Send + 'static,
    ) -> Result<Option<Vec<Ranked>>, Failure> {
        let (started, most) = (Instant::now(), limits.rows);
        let rank = move |model: &Self| {
            let asked = read(model.bundle())?;
            asked.map(|lists| lists.rank(&model.predictor, most)).transpose()
        };
        let done = self.aside(deadline, rank).await;
        if let Ok(Some(lists)) = &done {
            self.metrics.predicted(lists.len(), started.elapsed());
        }
        done
    }

    /// Why rows are predicted as they are; of a model that reads windows of rows, the last row.
    ///
    /// # Errors
    /// When the request is at fault, or waits in vain.
    pub(crate) async fn explain(
        self: &Arc<Self>,
        limits: &Limits,
        deadline: Instant,
        read: impl FnOnce(&Bundle) -> Result<RecordBatch, Failure> + Send + 'static,
    ) -> Result<Vec<Explained>, Failure> {
        let most = limits.rows;
        let explain = move |model: &Self| {
            let bundle = model.bundle();
            let rows = read(bundle)?;
            let count = rows.num_rows();
            let (wanted, most) = match bundle.pipeline.sequence {
                Some(_) => (count.saturating_sub(1)..count, most),
                None => (0..count, most.min(EXPLAINED)),
            };
            check_rows(count, most)?;
            let wanted: Vec<usize> = wanted.collect();
            let place = |row: usize| format!("row {}", row + 1);
            let explainer = Explainer::new(bundle, model.predictor.device())?;
            Ok(explainer.explain(&rows, &wanted, &place)?)
        };
        self.aside(deadline, explain).await
    }

    /// Does what takes longer than a prediction, when its turn has come.
    async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        deadline: Instant,
        work: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let model = self.clone();
        let wait = async {
            let turn = self.aside.clone().acquire_owned().await;
            let turn = turn.map_err(Failure::internal)?;
            let work = move || {
                // Who has gone meanwhile still has the turn until this is done.
                let _turn = turn;
                work(&model)
            };
            tokio::task::spawn_blocking(work).await.map_err(Failure::internal)?
        };
        let late = |_| Failure::busy("the time of the request is over: try again later", 0.0);
        let done = tokio::time::timeout_at(deadline.into(), wait)
            .await
            .map_err(late)
            .flatten();
        if let Err(failure) = &done {
            self.metrics.refused(failure.status);
        }
        done
    }

    async fn run<W: Send + 'static>(
        self: &Arc<Self>,
        limits: &Limits,
        deadline: Instant,
        size: usize,
        read: impl FnOnce(&Bundle) -> Result<Asked<W>, Failure> + Send + 'static,
    ) -> Result<(Predictions, W), Failure> {
        let most = limits.rows;
        let started = Instant::now();
        // A small table takes less time than it takes to wake another thread.
        let is_small = size <= INLINE && image_of(self.bundle()).is_none();
        let (prepared, wanted, time) = match is_small {
            true => self.prepare(most, read)?,
            false => {
                let model = self.clone();
                let prepare = move || model.prepare(most, read);
                tokio::task::spawn_blocking(prepare)
                    .await
                    .map_err(Failure::internal)??
            }
        };
        let deadline = time.map_or(deadline, |time| deadline.min(started + time));
        let asked = self.queue.ask(prepared, deadline);
        let late = |_| Failure::busy("the time of the request is over: try again later", 0.0);
        let scores = tokio::time::timeout_at(deadline.into(), asked)
            .await
            .map_err(late)??;
        self.check(&scores)?;
        Ok((self.predictor.predictions(scores), wanted))
    }

    /// A value far out of the range of training leaves the network as no number at all.
    fn check(&self, scores: &[f64]) -> Result<(), Failure> {
        match scores.iter().position(|score| !score.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Failure::bad_request(format!(
                "row {}: a value is so large that the prediction is no number: expected values like those of training",
                at / self.bundle().signature.outputs + 1
            ))),
        }
    }

    fn prepare<W>(
        &self,
        most: usize,
        read: impl FnOnce(&Bundle) -> Result<Asked<W>, Failure>,
    ) -> Result<(Prepared, W, Option<Duration>), Failure> {
        let Asked { rows, wanted, time } = read(self.bundle())?;
        check_rows(rows.num_rows(), most)?;
        let prepared = self.predictor.prepare(&rows)?;
        self.metrics.compare(prepared.rows(), &self.bundle().contract);
        Ok((prepared.without_rows(), wanted, time))
    }
}

fn check_rows(rows: usize, most: usize) -> Result<(), Failure> {
    match rows > most {
        true => Err(Failure::bad_request(format!(
            "the request has {rows} rows: this server takes up to {most} at a time here"
        ))),
        false => Ok(()),
    }
}
