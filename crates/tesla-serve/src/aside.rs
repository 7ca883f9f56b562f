//! What takes long: on threads that may be held up, and what would keep a model from predicting one
//! request after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;
use tracing::Span;

use crate::error::Failure;
use crate::server::Turn;

/// More values than this are about a millisecond of writing, or a megabyte of JSON.
pub(crate) const LONG: usize = 1 << 15;
/// Requests that wait aside of a model, at most, with the one that has its turn.
const MOST: usize = 8;

/// Does some work here, or, if it is long, on a thread that may be held up.
///
/// # Errors
/// When it panics there.
pub(crate) async fn elsewhere<T: Send + 'static>(
    is_long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    if !is_long {
        return Ok(work());
    }
    let span = Span::current();
    let work = move || span.in_scope(work);
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)
}

/// Where requests for lists and explanations wait, one of which is made at a time.
pub(crate) struct Aside {
    room: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    /// How long one takes, lately; 0 before the first.
    seconds: Arc<Mutex<f64>>,
}

impl Default for Aside {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(MOST)),
            turn: Arc::new(Semaphore::new(1)),
            seconds: Arc::default(),
        }
    }
}

impl Aside {
    /// Does the work when its turn has come.
    ///
    /// # Errors
    /// When too many wait already, the time of the request is over, or the work fails.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let deadline = turn.deadline;
        let Ok(place) = self.room.clone().try_acquire_owned() else {
            let message = format!(
                "{MOST} requests for lists or explanations of this model are at work and no more may be: try again later"
            );
            return Err(Failure::busy(message, self.wait()));
        };
        let wait = async {
            let own = self.turn.clone().acquire_owned().await.map_err(Failure::internal)?;
            let seconds = self.seconds.clone();
            let work = move || {
                // Who has gone meanwhile still has the turn until this is done.
                let _held = (place, own, turn);
                let started = Instant::now();
                let done = work();
                let took = started.elapsed().as_secs_f64();
                let mut lately = seconds.lock().unwrap_or_else(PoisonError::into_inner);
                *lately = match *lately {
                    0.0 => took,
                    before => 0.7 * before + 0.3 * took,
                };
                done
            };
            elsewhere(true, work).await?
        };
        let late = |_| {
            let message = "the time of the request is over: try again later";
            Failure::busy(message, self.wait())
        };
        tokio::time::timeout_at(deadline.into(), wait)
            .await
            .map_err(late)
            .flatten()
    }

    /// About how many seconds it takes until those are done that wait now.
    fn wait(&self) -> f64 {
        let waiting = MOST - self.room.available_permits();
        waiting as f64 * *self.seconds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn so_many_wait_and_the_others_are_told_how_long_it_takes() {
        let runtime = crate::tests::runtime();
        let aside = Arc::new(Aside::default());
        *aside.seconds.lock().unwrap() = 1.25;
        let gate = Arc::new(tokio::sync::RwLock::new(()));
        let later = Turn::until(Instant::now() + Duration::from_secs(60));
        let passes = |number: usize| {
            let gate = gate.clone();
            move || {
                drop(gate.blocking_read());
                Ok(number)
            }
        };
        runtime.block_on(async {
            let closed = gate.write().await;
            let waiting: Vec<_> = (0..MOST)
                .map(|number| {
                    let (aside, later, work) = (aside.clone(), later.clone(), passes(number));
                    tokio::spawn(async move { aside.run(later, work).await })
                })
                .collect();
            while aside.room.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            let failure = aside.run(later.clone(), passes(0)).await.unwrap_err();
            assert_eq!(failure.status, 503);
            assert_eq!(failure.retry_after, Some(10));
            drop(closed);
            for (number, waited) in waiting.into_iter().enumerate() {
                assert_eq!(waited.await.unwrap().unwrap(), number);
            }
            let closed = gate.write().await;
            let late = aside.run(Turn::until(Instant::now()), passes(0)).await;
            assert!(late.is_err_and(|failure| failure.status == 503));
            drop(closed);
            assert_eq!(aside.run(later, passes(1)).await.unwrap(), 1);
        });
    }
}
