//! What a server counts and measures, for Prometheus.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tesla_data::Contract;
use tesla_data::arrow::array::{Array, AsArray, RecordBatch};
use tesla_data::arrow::datatypes::Float64Type;

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Gauges = Family<Labels, Gauge>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Everything that is measured.
pub(crate) struct Metrics {
    registry: Registry,
    /// Answers, by status.
    responses: Counters,
    /// Those with the status that every request should get.
    ok: Counter,
    /// Requests at work.
    pub(crate) in_flight: Gauge,
    /// Open connections.
    pub(crate) connections: Gauge,
    memory: Gauge<f64, AtomicU64>,
    loads: Counters,
    versions: Gauges,
    models: Families,
}

/// What is measured of every model.
#[derive(Clone)]
struct Families {
    requests: Counters,
    seconds: Histograms,
    queue_seconds: Histograms,
    pass_seconds: Histograms,
    pass_rows: Histograms,
    rows: Counters,
    queued: Gauges,
    cancelled: Counters,
    drift: Counters,
}

/// How often something was done, and how long it took in all.
#[derive(Default)]
pub(crate) struct Tally {
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Tally {
    fn add(&self, took: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The count and the nanoseconds.
    pub(crate) fn get(&self) -> [u64; 2] {
        [&self.count, &self.nanoseconds].map(|number| number.load(Ordering::Relaxed))
    }
}

/// What one version of a model did, for who asks for its statistics.
#[derive(Default)]
pub(crate) struct Tallies {
    pub(crate) success: Tally,
    pub(crate) fail: Tally,
    pub(crate) queue: Tally,
    pub(crate) passes: Tally,
    pub(crate) rows: AtomicU64,
    /// Milliseconds since 1970; 0 before the first.
    pub(crate) last: AtomicU64,
}

/// What is measured of one version of a model; but for the tallies, it is counted under the model.
pub(crate) struct ModelMetrics {
    name: String,
    pub(crate) tallies: Tallies,
    families: Families,
    ok: Counter,
    seconds: Histogram,
    queue_seconds: Histogram,
    pass_seconds: Histogram,
    pass_rows: Histogram,
    rows: Counter,
    /// Requests that wait.
    pub(crate) queued: Gauge,
    /// Requests whose client left before its turn.
    pub(crate) cancelled: Counter,
}

/// From 15 microseconds to 16 seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(15e-6, 2.0, 21))
}

fn row_counts() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 11))
}

impl Default for Families {
    fn default() -> Self {
        let seconds = seconds as fn() -> Histogram;
        Self {
            requests: Counters::default(),
            seconds: Histograms::new_with_constructor(seconds),
            queue_seconds: Histograms::new_with_constructor(seconds),
            pass_seconds: Histograms::new_with_constructor(seconds),
            pass_rows: Histograms::new_with_constructor(row_counts),
            rows: Counters::default(),
            queued: Gauges::default(),
            cancelled: Counters::default(),
            drift: Counters::default(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tesla");
        let models = Families::default();
        let responses = Counters::default();
        let (in_flight, connections) = (Gauge::default(), Gauge::default());
        let memory = Gauge::default();
        let loads = Counters::default();
        let versions = Gauges::default();
        let started = Gauge::<f64, AtomicU64>::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        started.set(now.as_secs_f64());
        let m = &models;
        registry.register("http_responses", "Answers by status", responses.clone());
        registry.register("http_requests_in_flight", "Requests at work", in_flight.clone());
        registry.register("http_connections", "Open connections", connections.clone());
        registry.register("resident_memory_bytes", "Memory the process holds", memory.clone());
        registry.register("start_time_seconds", "When the server started", started);
        registry.register("model_loads", "Loads of a model by result", loads.clone());
        registry.register("model_version", "The version that answers", versions.clone());
        registry.register("requests", "Predictions asked for, by outcome", m.requests.clone());
        registry.register(
            "request_seconds",
            "From the body's last byte to the prediction",
            m.seconds.clone(),
        );
        registry.register(
            "queue_seconds",
            "How long requests wait for the network",
            m.queue_seconds.clone(),
        );
        registry.register(
            "pass_seconds",
            "How long a pass through the network takes",
            m.pass_seconds.clone(),
        );
        registry.register("pass_rows", "Rows of a pass", m.pass_rows.clone());
        registry.register("rows", "Rows predicted", m.rows.clone());
        registry.register("queue_requests", "Requests that wait", m.queued.clone());
        registry.register(
            "queue_cancelled",
            "Requests whose client left before their turn",
            m.cancelled.clone(),
        );
        registry.register(
            "input_drift",
            "Values unlike those of training, by column and by kind: missing where none was, a category that was not there, a number out of the range",
            m.drift.clone(),
        );
        let ok = vec![("status", StatusCode::OK.as_str().to_string())];
        Self {
            registry,
            ok: responses.get_or_create_owned(&ok),
            responses,
            in_flight,
            connections,
            memory,
            loads,
            versions,
            models,
        }
    }
}

impl Metrics {
    /// All of it as text.
    pub(crate) fn text(&self) -> String {
        self.memory.set(resident_memory());
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            let _ = writeln!(text, "# the metrics cannot be written");
        }
        in_order(&text)
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: StatusCode) {
        if status == StatusCode::OK {
            self.ok.inc();
            return;
        }
        let labels = vec![("status", status.as_str().to_string())];
        self.responses.get_or_create(&labels).inc();
    }

    /// Counts a load of a model, and notes the version that answers.
    pub(crate) fn loaded(&self, model: &str, done: bool) {
        let result = if done { "ok" } else { "failed" };
        let labels = vec![("model", model.to_string()), ("result", result.to_string())];
        self.loads.get_or_create(&labels).inc();
    }

    /// Notes the version that answers; `None` when the model is gone.
    pub(crate) fn version(&self, model: &str, version: Option<u64>) {
        let labels = vec![("model", model.to_string())];
        match version {
            Some(version) => {
                self.versions.get_or_create(&labels).set(version as i64);
            }
            None => {
                self.versions.remove(&labels);
            }
        }
    }

    /// What is measured of the model `name`.
    pub(crate) fn model(&self, name: &str) -> Arc<ModelMetrics> {
        let labels = vec![("model", name.to_string())];
        let families = self.models.clone();
        Arc::new(ModelMetrics {
            name: name.into(),
            tallies: Tallies::default(),
            ok: families.requests.get_or_create_owned(&with_outcome(name, "ok")),
            seconds: families.seconds.get_or_create_owned(&labels),
            queue_seconds: families.queue_seconds.get_or_create_owned(&labels),
            pass_seconds: families.pass_seconds.get_or_create_owned(&labels),
            pass_rows: families.pass_rows.get_or_create_owned(&labels),
            rows: families.rows.get_or_create_owned(&labels),
            queued: families.queued.get_or_create_owned(&labels),
            cancelled: families.cancelled.get_or_create_owned(&labels),
            families,
        })
    }
}

fn with_outcome(model: &str, outcome: &str) -> Labels {
    vec![("model", model.to_string()), ("outcome", outcome.to_string())]
}

impl ModelMetrics {
    /// Counts a pass through the network.
    pub(crate) fn passed(&self, rows: usize, took: Duration) {
        self.pass_seconds.observe(took.as_secs_f64());
        self.pass_rows.observe(rows as f64);
        self.tallies.passes.add(took);
    }

    /// Counts a request that has its turn.
    pub(crate) fn waited(&self, time: Duration) {
        self.queue_seconds.observe(time.as_secs_f64());
        self.tallies.queue.add(time);
    }

    /// Counts a prediction.
    pub(crate) fn predicted(&self, rows: usize, took: Duration) {
        self.ok.inc();
        self.rows.inc_by(rows as u64);
        self.seconds.observe(took.as_secs_f64());
        self.tallies.success.add(took);
        self.tallies.rows.fetch_add(rows as u64, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.tallies.last.store(now.as_millis() as u64, Ordering::Relaxed);
    }

    /// Counts a request that got none.
    pub(crate) fn refused(&self, status: StatusCode, took: Duration) {
        self.tallies.fail.add(took);
        let outcome = match status {
            StatusCode::SERVICE_UNAVAILABLE => "overloaded",
            status if status.is_server_error() => "failed",
            _ => "bad_request",
        };
        let labels = with_outcome(&self.name, outcome);
        self.families.requests.get_or_create(&labels).inc();
    }

    /// Counts the values of rows, which conform to the contract, that are unlike those of training.
    pub(crate) fn compare(&self, rows: &RecordBatch, contract: &Contract) {
        for (rule, values) in std::iter::zip(contract.inputs(), rows.columns()) {
            if !rule.nullable && values.null_count() > 0 {
                self.drifted(&rule.name, "missing", values.null_count());
            }
            if let (Some([low, high]), Some(numbers)) =
                (rule.range, values.as_primitive_opt::<Float64Type>())
            {
                let outside = numbers.iter().flatten().filter(|v| !(low..=high).contains(v));
                self.drifted(&rule.name, "out_of_range", outside.count());
            }
            if let (false, Some(names)) =
                (rule.categories.is_empty(), values.as_string_opt::<i32>())
            {
                let known =
                    |name: &str| rule.categories.binary_search_by(|c| c.as_str().cmp(name)).is_ok();
                let unknown = names.iter().flatten().filter(|name| !known(name));
                self.drifted(&rule.name, "unknown_category", unknown.count());
            }
        }
    }

    fn drifted(&self, column: &str, kind: &str, values: usize) {
        if values > 0 {
            let labels = vec![
                ("model", self.name.clone()),
                ("column", column.to_string()),
                ("kind", kind.to_string()),
            ];
            self.families.drift.get_or_create(&labels).inc_by(values as u64);
        }
    }
}

/// The lines of each counter and gauge in one order: the registry has them in any. Those of a histogram
/// belong together as they stand.
fn in_order(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let of_one = |one: &&str, next: &&str| one.starts_with('#') == next.starts_with('#');
    for lines in lines.chunk_by_mut(of_one) {
        if lines
            .iter()
            .all(|line| !line.starts_with('#') && !line.contains("_bucket{"))
        {
            lines.sort_unstable();
        }
    }
    lines.into_iter().flat_map(|line| [line, "\n"]).collect()
}

/// What the operating system says the process holds; 0 where it does not say.
fn resident_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kilobytes.unwrap_or(0.0) * 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_in_one_order_but_for_those_of_a_histogram() {
        let counter = ["# TYPE a counter", "a_total{m=\"1\"} 2", "a_total{m=\"2\"} 1"];
        let histogram = ["# TYPE h histogram", "h_sum 1", "h_count 1", "h_bucket{le=\"9\"} 1"];
        let text = |order: [usize; 3]| {
            let counter = order.map(|at| counter[at]);
            [&counter[..], &histogram, &["# EOF", ""]].concat().join("\n")
        };
        assert_eq!(in_order(&text([0, 2, 1])), text([0, 1, 2]));
        assert_eq!(in_order(&text([0, 1, 2])), text([0, 1, 2]));
    }
}
