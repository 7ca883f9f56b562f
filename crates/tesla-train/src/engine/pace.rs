use std::time::{Duration, Instant};

/// Time between two progress events.
const TICK: Duration = Duration::from_millis(200);

/// How fast rows go by.
pub(super) struct Pace {
    start: Instant,
    shown: Instant,
    done: usize,
    total: usize,
}

impl Pace {
    pub(super) fn new(total: usize) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            shown: now,
            done: 0,
            total,
        }
    }

    /// Counts rows; true when it is time to show them.
    pub(super) fn advance(&mut self, rows: usize) -> bool {
        self.done += rows;
        let now = Instant::now();
        let due = now - self.shown >= TICK;
        if due {
            self.shown = now;
        }
        due
    }

    pub(super) fn rows_per_second(&self) -> f64 {
        self.done as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    pub(super) fn seconds_left(&self) -> f64 {
        self.total.saturating_sub(self.done) as f64 / self.rows_per_second().max(1e-9)
    }
}
