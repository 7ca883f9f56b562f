use std::sync::Arc;
use std::time::{Duration, Instant};

use tesla_core::explain::{Explained, Explainer};
use tesla_core::{Bundle, Predictions, Predictor, Prepared, Ranked};
use tesla_data::arrow::array::RecordBatch;

use crate::aside::{Aside, elsewhere};
use crate::config::Batching;
use crate::error::Failure;
use crate::metrics::{Metrics, ModelMetrics};
use crate::protocol::infer::image_of;
use crate::protocol::lists::Lists;
use crate::queue::Queue;
use crate::server::Turn;

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
    /// Where lists are made and rows explained, beside the queue.
    aside: Aside,
    pub(crate) metrics: Arc<ModelMetrics>,
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
            aside: Aside::default(),
            predictor,
            metrics,
        })
    }

    pub(crate) fn bundle(&self) -> &Bundle {
        self.predictor.bundle()
    }

    /// About how many seconds the rows will take that wait now.
    pub(crate) fn wait(&self) -> f64 {
        self.queue.wait()
    }

    /// Counts a request of this model that is refused.
    pub(crate) async fn counted<T>(
        &self,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let done = answer.await;
        if let Err(failure) = &done {
            self.metrics.refused(failure.status, started.elapsed());
        }
        done
    }

    /// The way of a request: read, check and prepare its rows, wait for the network, and answer.
    /// `read` makes rows of the request's body, of about `size` values. The turn is the caller's, who
    /// has it until the answer is written.
    ///
    /// # Errors
    /// When the request is at fault, or waits in vain.
    pub(crate) async fn predict<W: Send + 'static>(
        self: &Arc<Self>,
        most: usize,
        turn: &Turn,
        size: usize,
        read: impl FnOnce(&Bundle) -> Result<Asked<W>, Failure> + Send + 'static,
    ) -> Result<(Predictions, W), Failure> {
        let started = Instant::now();
        let deadline = turn.deadline;
        // A small table takes less time than it takes to wake another thread.
        let is_small = size <= INLINE && image_of(self.bundle()).is_none();
        let (model, turn) = (self.clone(), turn.clone());
        let prepare = move || {
            // Who has gone meanwhile is still at work until this is done.
            let _turn = turn;
            model.prepare(most, read)
        };
        let late = |_| {
            let message = "the time of the request is over: try again later";
            Failure::busy(message, self.wait())
        };
        let waiting = async {
            let (prepared, wanted, time) = elsewhere(!is_small, prepare).await??;
            let deadline = time.map_or(deadline, |time| deadline.min(started + time));
            let asked = self.queue.ask(prepared, deadline);
            let scores = tokio::time::timeout_at(deadline.into(), asked)
                .await
                .map_err(late)??;
            Ok((scores, wanted))
        };
        let (scores, wanted) = tokio::time::timeout_at(deadline.into(), waiting)
            .await
            .map_err(late)
            .flatten()?;
        self.check(&scores)?;
        let predictions = self.predictor.predictions(scores);
        self.metrics.predicted(predictions.len(), started.elapsed());
        Ok((predictions, wanted))
    }

    /// The items to show users next, where `read` says that this is asked for.
    ///
    /// # Errors
    /// When the request is at fault, or waits in vain.
    pub(crate) async fn lists(
        self: &Arc<Self>,
        most: usize,
        turn: &Turn,
        read: impl FnOnce(&Bundle) -> Result<Option<Lists>, Failure> + Send + 'static,
    ) -> Result<Option<Vec<Ranked>>, Failure> {
        let started = Instant::now();
        let model = self.clone();
        let rank = move || {
            let asked = read(model.bundle())?;
            asked.map(|lists| lists.rank(&model.predictor, most)).transpose()
        };
        let done = self.aside.run(turn.clone(), rank).await;
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
        most: usize,
        turn: &Turn,
        read: impl FnOnce(&Bundle) -> Result<RecordBatch, Failure> + Send + 'static,
    ) -> Result<Vec<Explained>, Failure> {
        let model = self.clone();
        let explain = move || {
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
        self.aside.run(turn.clone(), explain).await
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

/// # Errors
/// When a request has more rows than it may.
pub(crate) fn check_rows(rows: usize, most: usize) -> Result<(), Failure> {
    match rows > most {
        true => Err(Failure::bad_request(format!(
            "the request has {rows} rows: this server takes up to {most} at a time here"
        ))),
        false => Ok(()),
    }
}

/// What to say when there are more rows than may be, and nobody knows how many.
pub(crate) fn too_many(most: usize) -> Failure {
    Failure::bad_request(format!(
        "the request has more than {most} rows: this server takes up to {most} at a time here"
    ))
}

/// The numbers of some predictions.
pub(crate) fn values(predictions: &Predictions) -> usize {
    match predictions {
        Predictions::Classes { probabilities, .. } => probabilities.len(),
        Predictions::Values(values) => values.len(),
    }
}
