//! Memory for the next step: training needs buffers of the same sizes in each, and new ones would have to be
//! cleared, and their pages asked for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Buffers of fewer values are new each time.
const SMALL: usize = 1 << 12;
/// Values and buffers that lie here at most; those that lie longest go first.
const MOST: usize = 1 << 24;
const COUNT: usize = 256;

struct Buffers {
    /// Who last came is at the end.
    free: VecDeque<Vec<f32>>,
    /// Their values.
    held: usize,
}

static BUFFERS: Mutex<Buffers> = Mutex::new(Buffers {
    free: VecDeque::new(),
    held: 0,
});
/// Trainings under way. Without any, nothing is kept.
static USERS: AtomicUsize = AtomicUsize::new(0);

pub(super) fn is_training() -> bool {
    USERS.load(Ordering::Relaxed) > 0
}

fn buffers() -> MutexGuard<'static, Buffers> {
    BUFFERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As long as it lives, somebody trains: buffers are kept from one step to the next, and threads do not sleep in
/// between.
pub struct Reuse(());

impl Reuse {
    /// Begins a training.
    pub fn start() -> Self {
        USERS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Reuse {
    fn drop(&mut self) {
        let mut buffers = buffers();
        if USERS.fetch_sub(1, Ordering::Relaxed) == 1 {
            (buffers.free, buffers.held) = (VecDeque::new(), 0);
        }
    }
}

/// A buffer of `len` values, which are left over from whatever it was used for.
pub(super) fn take(len: usize) -> Vec<f32> {
    if len >= SMALL {
        let mut buffers = buffers();
        if let Some(at) = buffers.free.iter().rposition(|free| free.len() == len) {
            buffers.held -= len;
            return buffers.free.remove(at).unwrap_or_default();
        }
    }
    vec![0.0; len]
}

/// Keeps a buffer for the next that asks for one of its length.
pub(super) fn give(buffer: Vec<f32>) {
    let mut buffers = buffers();
    if !(SMALL..=MOST).contains(&buffer.len()) || !is_training() {
        return;
    }
    buffers.held += buffer.len();
    buffers.free.push_back(buffer);
    while buffers.held > MOST || buffers.free.len() > COUNT {
        let oldest = buffers.free.pop_front().unwrap_or_default();
        buffers.held -= oldest.len();
    }
}
