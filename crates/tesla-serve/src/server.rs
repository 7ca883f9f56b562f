use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tesla_core::{Predictions, Predictor};
use tesla_data::arrow::array::RecordBatch;
use tokio::net::TcpListener;

use crate::error::Failure;
use crate::{infer, rows};

/// The largest request body, in bytes.
const MAX_BODY: usize = 64 << 20;
/// The only version of a model this server offers.
const VERSION: &str = "1";

/// A model under a name.
pub struct Model {
    /// The name in the address.
    pub name: String,
    /// The sealed model on its device.
    pub predictor: Predictor,
}

type Models = Arc<BTreeMap<String, Arc<Model>>>;
type Answer<T = Json<Value>> = Result<T, Failure>;

/// Serves `models` on `listener` until `shutdown` resolves; requests under way are finished.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    models: Vec<Model>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(models))
        .with_graceful_shutdown(shutdown)
        .await
}

/// The routes, for a program that has a server of its own.
pub fn router(models: Vec<Model>) -> Router {
    let models: Models = Arc::new(
        models
            .into_iter()
            .map(|model| (model.name.clone(), Arc::new(model)))
            .collect(),
    );
    Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/health/live", get(|| async { Json(json!({ "live": true })) }))
        .route("/v2/health/ready", get(|| async { Json(json!({ "ready": true })) }))
        .route("/v2/models/{model}", get(metadata))
        .route("/v2/models/{model}/ready", get(ready))
        .route("/v2/models/{model}/infer", post(infer_latest))
        .route("/v2/models/{model}/versions/{version}", get(metadata_of))
        .route("/v2/models/{model}/versions/{version}/ready", get(ready_of))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer_version))
        .route("/v1/models/{model}/predict", post(predict))
        .method_not_allowed_fallback(|| async {
            Failure::method_not_allowed("this address takes another method: predictions are asked for with POST, everything else with GET")
        })
        .fallback(|| async {
            Failure::not_found("no such address: models are under `/v1/models` and `/v2/models`")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(models)
}

/// What [`serve`] will listen on, for a message.
impl Model {
    /// The address of the friendly endpoint.
    pub fn predict_url(&self, addr: SocketAddr) -> String {
        format!("http://{addr}/v1/models/{}/predict", self.name)
    }
}

async fn server_metadata() -> Json<Value> {
    Json(json!({ "name": "tesla", "version": env!("CARGO_PKG_VERSION"), "extensions": [] }))
}

async fn metadata(State(models): State<Models>, Path(name): Path<String>) -> Answer {
    Ok(Json(infer::metadata(&*find(&models, &name, VERSION)?, VERSION)))
}

async fn metadata_of(
    State(models): State<Models>,
    Path((name, version)): Path<(String, String)>,
) -> Answer {
    Ok(Json(infer::metadata(&*find(&models, &name, &version)?, VERSION)))
}

async fn ready(State(models): State<Models>, Path(name): Path<String>) -> Answer {
    find(&models, &name, VERSION)?;
    Ok(Json(json!({ "name": name, "ready": true })))
}

async fn ready_of(
    State(models): State<Models>,
    Path((name, version)): Path<(String, String)>,
) -> Answer {
    find(&models, &name, &version)?;
    Ok(Json(json!({ "name": name, "ready": true })))
}

async fn infer_latest(
    State(models): State<Models>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answer<impl IntoResponse> {
    run_infer(find(&models, &name, VERSION)?, body).await
}

async fn infer_version(
    State(models): State<Models>,
    Path((name, version)): Path<(String, String)>,
    body: Bytes,
) -> Answer<impl IntoResponse> {
    run_infer(find(&models, &name, &version)?, body).await
}

async fn run_infer(model: Arc<Model>, body: Bytes) -> Answer {
    let (request, rows) = infer::parse(
        &body,
        &model.predictor.bundle().contract,
        &model.predictor.bundle().pipeline,
    )?;
    let predictions = run(&model, rows).await?;
    Ok(Json(infer::respond(&request, &model.name, VERSION, &predictions)?))
}

async fn predict(State(models): State<Models>, Path(name): Path<String>, body: Bytes) -> Answer {
    let model = find(&models, &name, VERSION)?;
    let rows = rows::parse(&body, &model.predictor.bundle().contract)?;
    let predictions = run(&model, rows).await?;
    Ok(Json(rows::respond(&predictions)))
}

/// Predicts on a thread of its own: the network must not hold up other connections.
async fn run(model: &Arc<Model>, rows: RecordBatch) -> Answer<Predictions> {
    let model = model.clone();
    tokio::task::spawn_blocking(move || model.predictor.predict(&rows))
        .await
        .map_err(Failure::internal)?
        .map_err(Failure::from)
}

fn find(models: &Models, name: &str, version: &str) -> Answer<Arc<Model>> {
    let Some(model) = models.get(name) else {
        let names: Vec<&String> = models.keys().collect();
        return Err(Failure::not_found(format!("no model `{name}`: this server has {names:?}")));
    };
    match version == VERSION {
        true => Ok(model.clone()),
        false => Err(Failure::not_found(format!(
            "no version `{version}` of `{name}`: this server has `{VERSION}`"
        ))),
    }
}
