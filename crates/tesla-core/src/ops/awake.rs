//! Threads that do not sleep between one piece of work and the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::buffers;

/// How long a thread without work looks for some before it sleeps, and how long it does so altogether: it may have
/// been about to go on with work of its own.
const PATIENCE: Duration = Duration::from_millis(1);
const STAY: Duration = Duration::from_millis(10);

/// Whether some threads stay awake now. Those of one pool at a time: a thread that waits for work of its own must
/// not be held up by keeping another pool awake.
static AWAKE: AtomicBool = AtomicBool::new(false);

/// In training, keeps the other threads of this pool awake for a moment, and as long as they find work again and again. A step
/// of training shares out a dozen pieces of work of a tenth of a millisecond each; to wake a thread for each
/// takes half as long.
pub(super) fn stay_awake() {
    let threads = rayon::current_num_threads();
    if threads < 2 || !buffers::is_training() || AWAKE.swap(true, Ordering::Acquire) {
        return;
    }
    let own = rayon::current_thread_index();
    let left = Arc::new(AtomicUsize::new(threads));
    rayon::spawn_broadcast(move |thread| {
        let start = Instant::now();
        let mut last = start;
        // The calling thread takes its share too as soon as it waits, and must not be held up.
        while Some(thread.index()) != own && last.elapsed() < PATIENCE && start.elapsed() < STAY {
            match rayon::yield_now() {
                Some(rayon::Yield::Executed) => last = Instant::now(),
                // Whoever makes batches ready may want the core.
                _ => std::thread::yield_now(),
            }
        }
        if left.fetch_sub(1, Ordering::AcqRel) == 1 {
            AWAKE.store(false, Ordering::Release);
        }
    });
}
