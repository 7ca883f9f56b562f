//! One model's queue and the thread that works on it. Requests are prepared before they come here:
//! what waits is numbers, so that a pass through the network can take rows of several requests, and
//! no request can spoil another's. Where nothing waits and a pass is quick, a request takes its pass by
//! itself: waking the thread would take as long.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tesla_core::{Predictor, Prepared};
use tokio::sync::oneshot;
use tracing::Span;

use crate::config::Batching;
use crate::error::Failure;
use crate::metrics::ModelMetrics;

/// Rows up to which a pass takes about as long as one of a single row.
const FEW: usize = 16;
/// Seconds that a request may hold up the thread it is on.
const QUICK: f64 = 200e-6;

/// Where requests wait for a model.
pub(crate) struct Queue {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    predictor: Arc<Predictor>,
    state: Mutex<State>,
    changed: Condvar,
    batching: Batching,
    metrics: Arc<ModelMetrics>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Rows of all jobs that no pass has taken yet.
    rows: usize,
    closed: bool,
    /// Whether a pass is under way: there is one at a time.
    busy: bool,
    /// How long a row takes, lately.
    seconds_per_row: f64,
    /// How long a pass of a few rows takes, lately; 0 before the first.
    seconds_per_pass: f64,
}

/// A request on its way. A large one takes several passes, between which others have their turn.
struct Job {
    prepared: Prepared,
    /// The first row that no pass has taken.
    next: usize,
    scores: Vec<f64>,
    entered: Instant,
    deadline: Instant,
    answer: oneshot::Sender<Result<Vec<f64>, Failure>>,
    /// The request, for the log.
    span: Span,
}

impl Job {
    fn left(&self) -> usize {
        self.prepared.len() - self.next
    }
}

impl Queue {
    /// Starts the thread. It ends with the queue.
    pub(crate) fn start(
        predictor: Arc<Predictor>,
        batching: Batching,
        metrics: Arc<ModelMetrics>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            predictor,
            state: Mutex::default(),
            changed: Condvar::new(),
            batching,
            metrics,
        });
        let worker = shared.clone();
        let thread = std::thread::Builder::new()
            .name("tesla-model".into())
            .spawn(move || worker.work())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// About how many seconds the rows will take that wait now.
    pub(crate) fn wait(&self) -> f64 {
        self.shared.lock().wait()
    }

    /// What the network says of some rows. Whoever stops waiting leaves the queue.
    ///
    /// # Errors
    /// When the queue is full, the deadline passes, or the device fails.
    pub(crate) async fn ask(
        &self,
        prepared: Prepared,
        deadline: Instant,
    ) -> Result<Vec<f64>, Failure> {
        if prepared.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, waiting) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if state.jobs.len() >= self.shared.batching.queue {
                let message = format!(
                    "{} requests wait for this model and no more may: try again later",
                    state.jobs.len()
                );
                return Err(Failure::busy(message, state.wait()));
            }
            let rows = prepared.len();
            let job = Job {
                prepared,
                next: 0,
                scores: Vec::new(),
                entered: Instant::now(),
                deadline,
                answer,
                span: Span::current(),
            };
            if self.shared.is_quick(&state, rows) {
                state.busy = true;
                drop(state);
                self.shared.metrics.waited(Duration::ZERO);
                self.shared.pass(vec![(job, 0..rows)]);
            } else {
                state.rows += rows;
                state.jobs.push_back(job);
                self.shared.metrics.queued.set(state.jobs.len() as i64);
                // Whoever is busy looks at what waits afterwards.
                if !state.busy {
                    self.shared.changed.notify_one();
                }
            }
        }
        let gone = || Failure::internal("the model's thread has ended");
        waiting.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        // Whoever drops the queue frees the model, and not the thread that ends.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Pass = Vec<(Job, Range<usize>)>;

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may take its pass by itself.
    fn is_quick(&self, state: &State, rows: usize) -> bool {
        let seconds = rows.div_ceil(FEW) as f64 * state.seconds_per_pass;
        let is_free = !state.busy && state.jobs.is_empty();
        is_free && self.batching.delay.is_zero() && seconds > 0.0 && seconds < QUICK
    }

    fn work(&self) {
        while let Some(pass) = self.next_pass() {
            self.pass(pass);
        }
    }

    fn pass(&self, pass: Pass) {
        let parts: Vec<_> = pass.iter().map(|(job, rows)| (&job.prepared, rows.clone())).collect();
        let rows: usize = parts.iter().map(|(_, rows)| rows.len()).sum();
        let started = Instant::now();
        // A panic in a kernel must cost these requests, not the model.
        let scores = catch_unwind(AssertUnwindSafe(|| self.predictor.scores(&parts)));
        drop(parts);
        let took = started.elapsed();
        self.metrics.passed(rows, took);
        // The log names one of the requests that fail together.
        let span = pass.first().map_or(Span::none(), |(job, _)| job.span.clone());
        let scores = span.in_scope(|| match scores {
            Ok(scores) => scores.map_err(Failure::from),
            Err(_) => Err(Failure::internal("a panic in the network")),
        });
        let unfinished = match scores {
            Ok(scores) => hand_out(pass, &scores, rows),
            Err(failure) => {
                pass.into_iter().for_each(|(job, _)| {
                    let _ = job.answer.send(Err(failure.clone()));
                });
                Vec::new()
            }
        };
        let mut state = self.lock();
        state.rows += unfinished.iter().map(Job::left).sum::<usize>();
        state.jobs.extend(unfinished);
        state.took(rows, took.as_secs_f64());
        state.busy = false;
        if !state.jobs.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Waits for requests and takes as many rows of them as a pass may have; `None` when the queue is
    /// closed.
    fn next_pass(&self) -> Option<Pass> {
        let mut state = self.lock();
        loop {
            let Some(first) = state.jobs.front().filter(|_| !state.busy) else {
                if state.closed && state.jobs.is_empty() {
                    return None;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let leave = first.entered + self.batching.delay;
            let now = Instant::now();
            if now < leave && state.rows < self.batching.rows && !state.closed {
                let wait = self.changed.wait_timeout(state, leave - now);
                (state, _) = wait.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let pass = state.take(self.batching.rows.max(1), now, &self.metrics);
            self.metrics.queued.set(state.jobs.len() as i64);
            if !pass.is_empty() {
                state.busy = true;
                return Some(pass);
            }
        }
    }
}

/// Gives every request its own rows' numbers. Whose rows are not all done waits again, behind the
/// others.
fn hand_out(pass: Pass, scores: &[f64], rows: usize) -> Vec<Job> {
    let outputs = scores.len() / rows;
    let mut rest = scores;
    let mut unfinished = Vec::new();
    for (mut job, own) in pass {
        let (now, others) = rest.split_at(own.len() * outputs);
        rest = others;
        job.scores.extend_from_slice(now);
        job.next = own.end;
        match job.left() {
            0 => {
                let _ = job.answer.send(Ok(job.scores));
            }
            _ => unfinished.push(job),
        }
    }
    unfinished
}

impl State {
    /// About how many seconds the rows will take that wait now.
    fn wait(&self) -> f64 {
        self.rows as f64 * self.seconds_per_row
    }

    /// Notes how long a pass took.
    fn took(&mut self, rows: usize, seconds: f64) {
        let lately = |before: f64, now: f64| match before {
            0.0 => now,
            before => 0.9 * before + 0.1 * now,
        };
        self.seconds_per_row = lately(self.seconds_per_row, seconds / rows as f64);
        let few = seconds / rows.div_ceil(FEW) as f64;
        self.seconds_per_pass = lately(self.seconds_per_pass, few);
    }

    /// Up to `room` rows of the jobs in front. Who has gone or waited too long is left out.
    fn take(&mut self, mut room: usize, now: Instant, metrics: &ModelMetrics) -> Pass {
        let mut pass = Vec::new();
        while room > 0 {
            let Some(job) = self.jobs.pop_front() else {
                break;
            };
            self.rows -= job.left();
            // Nobody waits longer than that either, so this comes first: who is late has not left.
            if job.deadline <= now {
                let message = "the request waited until its time was over: try again later";
                let _ = job.answer.send(Err(Failure::busy(message, self.wait())));
                continue;
            }
            if job.answer.is_closed() {
                metrics.cancelled.inc();
                continue;
            }
            if job.next == 0 {
                metrics.waited(now - job.entered);
            }
            let rows = job.next..job.next + job.left().min(room);
            room -= rows.len();
            pass.push((job, rows));
        }
        pass
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::metrics::Metrics;
    use crate::tests::{predictor, row};

    /// A job of one row, and who waits for it.
    fn job(
        predictor: &Predictor,
        deadline: Instant,
    ) -> (Job, oneshot::Receiver<Result<Vec<f64>, Failure>>) {
        let rows = [json!(row([5.0, 3.0, 1.0, 0.2])).as_object().unwrap().clone()];
        let rows = predictor.bundle().contract.from_json(&rows).unwrap();
        let (answer, waiting) = oneshot::channel();
        let job = Job {
            prepared: predictor.prepare(&rows).unwrap(),
            next: 0,
            scores: Vec::new(),
            entered: Instant::now(),
            deadline,
            answer,
            span: Span::none(),
        };
        (job, waiting)
    }

    #[test]
    fn who_has_gone_or_is_late_is_left_out_and_counted_as_what_it_is() {
        let (predictor, metrics) = (predictor(), Metrics::default().model("iris"));
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let mut state = State::default();
        // Ten rows in a tenth of a second.
        state.took(10, 0.1);
        let (gone, _) = job(&predictor, later);
        let (late, mut told) = job(&predictor, now);
        let (late_and_gone, _) = job(&predictor, now);
        let (good, _waits) = job(&predictor, later);
        state.jobs.extend([gone, late, late_and_gone, good]);
        state.rows = 450;
        let pass = state.take(64, now, &metrics);
        assert_eq!(pass.len(), 1);
        assert!(state.jobs.is_empty());
        assert_eq!(metrics.cancelled.get(), 1);
        let failure = told.try_recv().unwrap().unwrap_err();
        assert_eq!(failure.status, 503);
        // 448 rows waited behind it, a hundredth of a second each.
        assert_eq!(failure.retry_after, Some(5));
    }
}
