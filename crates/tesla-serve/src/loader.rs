//! The thread that changes what is served while the server runs. There is one, and it lives as long as
//! the server: it builds models and frees those that were replaced, so that what an allocator keeps
//! for a thread is used again. Threads that come and go leave it behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::oneshot;

use crate::error::Failure;
use crate::store::Store;

/// How often it looks whether requests still have a version that was replaced.
const SWEEP: Duration = Duration::from_millis(50);

type Job = Box<dyn FnOnce(&Store) + Send>;

/// Where changes are handed in.
pub(crate) struct Loader(mpsc::Sender<Job>);

impl Loader {
    /// Starts the thread. It ends when this is dropped.
    pub(crate) fn start(store: Arc<Store>) -> Self {
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new().name("tesla-loader".into());
        if let Err(error) = thread.spawn(move || work(&store, &waiting)) {
            tracing::error!(%error, "models cannot be loaded: the system has no thread left");
        }
        Self(jobs)
    }

    /// Changes what is served, when its turn has come.
    ///
    /// # Errors
    /// When the thread is not there, or the change panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (done, waiting) = oneshot::channel();
        let job = move |store: &Store| {
            // Who has gone meanwhile asks for nothing any more.
            if !done.is_closed() {
                let _ = done.send(change(store));
            }
        };
        let _ = self.0.send(Box::new(job));
        waiting.await.map_err(|_| {
            tracing::error!("a change of what is served was not made: a panic, or no thread");
            let message = "the change was not made; the server's log says why";
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })
    }
}

fn work(store: &Store, jobs: &mpsc::Receiver<Job>) {
    loop {
        let job = match store.sweep() {
            true => jobs.recv_timeout(SWEEP),
            false => jobs.recv().map_err(mpsc::RecvTimeoutError::from),
        };
        match job {
            Ok(job) => {
                let _ = catch_unwind(AssertUnwindSafe(|| job(store)));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}
