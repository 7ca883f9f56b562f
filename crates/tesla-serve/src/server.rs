use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use tesla_core::Predictor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use crate::config::Config;
use crate::error::{self, Failure};
use crate::loader::Loader;
use crate::proto::grpc_inference_service_server::GrpcInferenceServiceServer;
use crate::protocol::grpc;
use crate::store::Store;
use crate::{body, handlers, openapi};

/// What the server calls itself.
pub(crate) const NAME: &str = "tesla";
/// What it does beyond the protocol's core.
pub(crate) const EXTENSIONS: [&str; 3] = ["binary_tensor_data", "model_repository", "statistics"];
/// The header by which a request is found in the log.
const REQUEST_ID: &str = "x-request-id";

/// A model under a name.
pub struct Model {
    /// The name in the address.
    pub name: String,
    /// The sealed model on its device.
    pub predictor: Predictor,
}

impl Model {
    /// Where to ask the model for predictions of plain rows.
    pub fn predict_url(&self, addr: SocketAddr) -> String {
        format!("http://{addr}/v1/models/{}/predict", self.name)
    }
}

/// What all requests share.
pub(crate) struct Server {
    pub(crate) store: Arc<Store>,
    /// Who changes what is served.
    pub(crate) loader: Loader,
    /// Room for requests at work.
    requests: Arc<Semaphore>,
    /// Room for their bodies.
    bodies: body::Room,
    /// Whether the server is about to end.
    pub(crate) draining: AtomicBool,
    /// What this run's request ids start with, and their count.
    ids: (u32, AtomicU64),
    refusals: Refusals,
}

/// Keeps a flood of refused requests out of the log.
#[derive(Default)]
struct Refusals(Mutex<Window>);

#[derive(Default)]
struct Window {
    /// When the second began in which `lines` were written.
    since: Option<Instant>,
    lines: u32,
    /// Refusals since the last line.
    left_out: u64,
}

impl Refusals {
    /// Lines of refused requests in a second, at most.
    const LINES: u32 = 10;

    /// Whether there is room for another line, and how many there was none for since the last.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |since| now.duration_since(since) >= Duration::from_secs(1);
        if window.since.is_none_or(is_over) {
            window.since = Some(now);
            window.lines = 0;
        }
        if window.lines == Self::LINES {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

impl Server {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let limits = store.config().limits;
        Self {
            loader: Loader::start(store.clone()),
            requests: Arc::new(Semaphore::new(limits.requests.min(Semaphore::MAX_PERMITS))),
            bodies: body::Room::new(limits.body),
            store,
            draining: AtomicBool::new(false),
            ids: (started.map_or(0, |d| d.as_nanos() as u32), AtomicU64::new(0)),
            refusals: Refusals::default(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && !self.store.current().is_empty()
    }
}

/// A request's place among those at work, for as long as anybody works on it, and when it must be over.
#[derive(Clone)]
pub(crate) struct Turn {
    pub(crate) deadline: Instant,
    _place: Arc<Option<OwnedSemaphorePermit>>,
    /// The room of its body.
    _room: Arc<body::Held>,
}

impl Turn {
    /// A turn that takes no place.
    #[cfg(test)]
    pub(crate) fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            _place: Arc::default(),
            _room: Arc::default(),
        }
    }
}

pub(crate) type Shared = State<Arc<Server>>;
pub(crate) type Answer<T = Json<Value>> = Result<T, Failure>;

/// The routes with the models given, for a program that has a server of its own.
pub fn router(models: Vec<Model>) -> Router {
    let store = store_of(models);
    router_of(Arc::new(store))
}

/// The routes of a store, for a program that has a server of its own.
pub fn router_of(store: Arc<Store>) -> Router {
    routes(Arc::new(Server::new(store)))
}

pub(crate) fn store_of(models: Vec<Model>) -> Store {
    let store = Store::without_files(Config::default());
    for model in models {
        if let Err(error) = store.insert(&model.name, model.predictor) {
            tracing::error!(%error, "a model cannot be served");
        }
    }
    store
}

pub(crate) fn routes(server: Arc<Server>) -> Router {
    let limit = server.store.config().limits.body;
    let service = GrpcInferenceServiceServer::new(server.clone())
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .send_compressed(tonic::codec::CompressionEncoding::Gzip)
        .max_decoding_message_size(limit);
    let grpc = Router::new()
        .route_service("/inference.GRPCInferenceService/{method}", service)
        .route_layer(from_fn_with_state(server.clone(), message));
    let pages = Router::new()
        .route("/", get(|| async { openapi::page(openapi::PLAYGROUND) }))
        .route("/docs", get(|| async { openapi::page(openapi::DOCS) }))
        .route("/openapi.json", get(handlers::document));
    handlers::addresses()
        .into_iter()
        .fold(pages, |routes, (_, address, answer)| routes.route(address, answer))
        .merge(grpc)
        .method_not_allowed_fallback(|| async {
            Failure::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this address takes another method: predictions are asked for with POST, everything else with GET",
            )
        })
        .fallback(|| async {
            Failure::not_found("no such address: `/openapi.json` lists what there is")
        })
        .layer(from_fn_with_state(server.clone(), observe))
        .with_state(server)
}

/// Whether an address answers everybody, key or not: probes, and pages that ask for one.
pub(crate) fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/docs" | "/ping" | "/health" | "/v2/health/live" | "/v2/health/ready")
}

/// Around every request: who asks, an id, a panic that must not spread, and what is counted and logged.
/// What was sent is not logged.
async fn observe(State(server): Shared, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let config = server.store.config();
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let id = server.request_id(request.headers());
    let method = request.method().clone();
    let uri = request.uri().clone();
    let accepted = request.headers().get(header::ACCEPT_ENCODING).cloned();
    let metrics = &server.store.metrics;
    metrics.in_flight.inc();
    let done = InFlight(&metrics.in_flight);

    let response = if !is_open(uri.path()) && !config.keys.admit(request.headers()) {
        let message = "this server asks for a key: send `Authorization: Bearer KEY`";
        refuse(Failure::new(StatusCode::UNAUTHORIZED, message), is_grpc)
    } else {
        // What is logged on the way carries the id too.
        let span = tracing::error_span!("request", id);
        guarded(next.run(request), is_grpc).instrument(span).await
    };
    drop(done);
    let mut response = match is_grpc {
        true => blamed(response),
        false => body::pack(response, accepted).await,
    };
    let status = status_of(&response);
    metrics.answered(status);
    server.log(&id, &method, uri.path(), status, started.elapsed());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Counts a request as at work until it is dropped, also when the client goes away.
struct InFlight<'a>(&'a prometheus_client::metrics::gauge::Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn refuse(failure: Failure, is_grpc: bool) -> Response {
    match is_grpc {
        true => tonic::Status::from(failure).into_http(),
        false => failure.into_response(),
    }
}

/// What the layer below calls internal is a message that cannot be read: the client's doing.
fn blamed(mut response: Response) -> Response {
    let status = tonic::Status::from_header_map(response.headers());
    let is_unread = |status: tonic::Status| {
        status.code() == tonic::Code::Internal && status.message() != error::INTERNAL
    };
    if status.is_some_and(is_unread) {
        let code = HeaderValue::from(tonic::Code::InvalidArgument as i32);
        response.headers_mut().insert("grpc-status", code);
    }
    response
}

/// The status of an answer; gRPC has one of its own, in a header where there is nothing else to say.
fn status_of(response: &Response) -> StatusCode {
    let is_later = response.headers().contains_key(header::RETRY_AFTER);
    match tonic::Status::from_header_map(response.headers()).map(|status| status.code()) {
        None | Some(tonic::Code::Ok) => response.status(),
        Some(tonic::Code::Unauthenticated) => StatusCode::UNAUTHORIZED,
        Some(tonic::Code::NotFound | tonic::Code::Unimplemented) => StatusCode::NOT_FOUND,
        Some(tonic::Code::DeadlineExceeded) => StatusCode::REQUEST_TIMEOUT,
        Some(tonic::Code::ResourceExhausted) if is_later => StatusCode::SERVICE_UNAVAILABLE,
        Some(tonic::Code::ResourceExhausted | tonic::Code::OutOfRange) => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Some(tonic::Code::InvalidArgument) => StatusCode::BAD_REQUEST,
        Some(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A panic costs one request.
async fn guarded(answer: impl Future<Output = Response>, is_grpc: bool) -> Response {
    let mut answer = std::pin::pin!(answer);
    std::future::poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(refuse(Failure::internal("a panic"), is_grpc)))
    })
    .await
}

impl Server {
    /// One line at most for a request. Past some refusals a second, the others are only counted.
    fn log(&self, id: &str, method: &Method, path: &str, status: StatusCode, took: Duration) {
        let milliseconds = took.as_secs_f64() * 1e3;
        let refused = status.is_client_error() || status.is_server_error();
        let admitted = if refused {
            self.refusals.admit(Instant::now())
        } else {
            None
        };
        let shown = || path.chars().take(200).collect::<String>();
        let status_code = status.as_u16();
        match admitted {
            Some(left_out) if status.is_server_error() => {
                tracing::warn!(id, %method, path = shown(), status = status_code, milliseconds, left_out, "refused");
            }
            Some(left_out) => {
                tracing::info!(id, %method, path = shown(), status = status_code, milliseconds, left_out, "refused");
            }
            None => {
                let done = if refused { "refused" } else { "answered" };
                tracing::debug!(id, %method, path = shown(), status = status_code, milliseconds, "{done}");
            }
        }
    }

    /// The client's own id, where it is short and plain; otherwise the next of this run.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let is_plain = |id: &&str| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
        };
        match given.filter(is_plain) {
            Some(id) => id.into(),
            None => format!("{:08x}-{}", self.ids.0, self.ids.1.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Reads a body as it comes, of at most `limit` bytes, and then gives the request its place: who is
    /// slow to send keeps nobody else from theirs. Where no place is free, a large body is not read. The
    /// room of the body is not with the turn yet.
    async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> Answer<(Bytes, body::Held, Turn)> {
        let deadline = Instant::now() + self.store.config().limits.time;
        let crowded = || {
            let message = "as many requests are at work as may be: try again later";
            Failure::busy(message, self.wait())
        };
        if body::is_large(&body, limit) && self.requests.available_permits() == 0 {
            return Err(crowded());
        }
        let read = body::collect(body, headers, limit, &self.bodies, || self.full());
        let late = |_| {
            let message = "the body did not arrive in time";
            Failure::new(StatusCode::REQUEST_TIMEOUT, message)
        };
        let (bytes, held) =
            tokio::time::timeout_at(deadline.into(), read).await.map_err(late)??;
        let place = self.requests.clone().try_acquire_owned().map_err(|_| crowded())?;
        let turn = Turn {
            deadline,
            _place: Arc::new(Some(place)),
            _room: Arc::default(),
        };
        Ok((bytes, held, turn))
    }

    /// A request's header, its body, and its turn.
    pub(crate) async fn read(&self, request: Request) -> Answer<(HeaderMap, Bytes, Turn)> {
        let limit = self.store.config().limits.body;
        let (parts, body) = request.into_parts();
        let (packed, held, mut turn) = self.receive(&parts.headers, body, limit).await?;
        let bounds = || self.bounds();
        let (body, held) = body::unpack(packed, held, &parts.headers, bounds).await?;
        turn._room = Arc::new(held);
        Ok((parts.headers, body, turn))
    }

    /// What bounds a body that is unpacked.
    fn bounds(&self) -> body::Bounds {
        body::Bounds {
            limit: self.store.config().limits.body,
            room: self.bodies.clone(),
            busy: self.full(),
        }
    }

    /// What to say when there is no room for a body.
    fn full(&self) -> Failure {
        let message = "the bodies of other requests take all the room there is: try again later";
        Failure::busy(message, self.wait())
    }

    /// About how many seconds the rows will take that wait now, of all models.
    fn wait(&self) -> f64 {
        self.store.current().iter().map(|model| model.wait()).sum()
    }
}

/// Before gRPC's own layer, which would wait for the rest of a message for ever.
async fn message(State(server): Shared, request: Request, next: Next) -> Response {
    let limit = server.store.config().limits.body;
    let (mut parts, body) = request.into_parts();
    let opened = async {
        // Before a message stand five bytes.
        let limit = limit.saturating_add(5);
        let (bytes, held, mut turn) = server.receive(&parts.headers, body, limit).await?;
        let bounds = || server.bounds();
        let (bytes, held) = grpc::open(bytes, held, &parts.headers, bounds).await?;
        turn._room = Arc::new(held);
        Ok((bytes, turn))
    };
    match opened.await {
        Ok((bytes, turn)) => {
            parts.extensions.insert(turn);
            next.run(Request::from_parts(parts, Body::from(bytes))).await
        }
        Err(failure) => refuse(failure, true),
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// A log of one thread: the fields of spans, and of events with those of the span they are in.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Log>>);

    #[derive(Default)]
    struct Log {
        spans: Vec<String>,
        entered: Vec<u64>,
        events: Vec<String>,
    }

    struct Written(String);

    impl Visit for Written {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0 += &format!("{field}={value:?} ");
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, what: &Metadata<'_>) -> bool {
            what.target().starts_with("tesla")
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            let mut written = Written(String::new());
            span.record(&mut written);
            let mut log = self.0.lock().unwrap();
            log.spans.push(written.0);
            Id::from_u64(log.spans.len() as u64)
        }
        fn event(&self, event: &Event<'_>) {
            let mut log = self.0.lock().unwrap();
            let span = log.entered.last().map(|id| log.spans[*id as usize - 1].clone());
            let mut written = Written(span.unwrap_or_default());
            event.record(&mut written);
            log.events.push(written.0);
        }
        fn enter(&self, span: &Id) {
            self.0.lock().unwrap().entered.push(span.into_u64());
        }
        fn exit(&self, _: &Id) {
            self.0.lock().unwrap().entered.pop();
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
    }

    #[test]
    fn a_panic_costs_one_request_which_the_log_names() {
        let server = Arc::new(Server::new(Arc::new(Store::without_files(Config::default()))));
        let routes: Router = Router::new()
            .route("/panics", get(async || -> Response { panic!("expected here") }))
            .layer(from_fn_with_state(server.clone(), observe))
            .with_state(server);
        let log = Lines::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ask = |kind: &str| {
            let request = Request::get("/panics").header("x-request-id", "mine");
            let request = request.header("content-type", kind).body(Body::empty()).unwrap();
            runtime.block_on(routes.clone().oneshot(request)).unwrap()
        };
        let (plain, grpc) = tracing::subscriber::with_default(log.clone(), || {
            // Whether a line is wanted is remembered from the first time, which may be another test's.
            ask("");
            tracing::callsite::rebuild_interest_cache();
            log.0.lock().unwrap().events.clear();
            (ask(""), ask("application/grpc"))
        });
        assert_eq!(plain.status(), 500);
        let status = tonic::Status::from_header_map(grpc.headers()).unwrap();
        assert_eq!((status.code(), status.message()), (tonic::Code::Internal, error::INTERNAL));
        let log = log.0.lock().unwrap();
        let said = |part: &str| log.events.iter().filter(|line| line.contains(part)).count();
        assert_eq!(
            said("id=\"mine\" message=a prediction failed error=a panic"),
            2,
            "{:?}",
            log.events
        );
        assert_eq!(said("message=refused id=\"mine\""), 2, "{:?}", log.events);
    }

    #[test]
    fn a_flood_of_refusals_is_a_few_lines_that_count_the_others() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let lines = (0..1000).filter(|i| refusals.admit(at(*i / 2)).is_some()).count();
        assert_eq!(lines, 10);
        assert_eq!(refusals.admit(at(1000)), Some(990));
        assert_eq!(refusals.admit(at(1001)), Some(0));
    }
}
