//! What there is to ask, and what answers it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde_json::{Value, json};

use crate::aside::{LONG, elsewhere};
use crate::error::Failure;
use crate::model::{Asked, Loaded, values};
use crate::openapi;
use crate::protocol::invocations::{self, Invocation};
use crate::protocol::{infer, lists, rest, rows};
use crate::server::{Answer, EXTENSIONS, NAME, Server, Shared};
use crate::store::Store;

/// What there is to ask, and how. `/openapi.json` is made from this.
pub(crate) fn addresses() -> Vec<(&'static str, &'static str, MethodRouter<Arc<Server>>)> {
    vec![
        ("get", "/metrics", get(metrics)),
        ("get", "/ping", get(live)),
        ("get", "/health", get(live)),
        ("post", "/invocations", post(invoke_only)),
        ("get", "/v1/models", get(models)),
        ("get", "/v1/models/{model}", get(description)),
        ("post", "/v1/models/{model}/predict", post(predict)),
        ("post", "/v1/models/{model}/explain", post(explain)),
        ("post", "/v1/models/{model}/invocations", post(invoke)),
        ("get", "/v2", get(server_metadata)),
        ("get", "/v2/health/live", get(live)),
        ("get", "/v2/health/ready", get(ready)),
        ("get", "/v2/models/{model}", get(metadata)),
        ("get", "/v2/models/{model}/ready", get(model_ready)),
        ("get", "/v2/models/{model}/config", get(config)),
        ("get", "/v2/models/{model}/stats", get(stats)),
        ("post", "/v2/models/{model}/infer", post(infer)),
        ("get", "/v2/models/{model}/versions/{version}", get(metadata)),
        ("get", "/v2/models/{model}/versions/{version}/ready", get(model_ready)),
        ("get", "/v2/models/{model}/versions/{version}/config", get(config)),
        ("get", "/v2/models/{model}/versions/{version}/stats", get(stats)),
        ("post", "/v2/models/{model}/versions/{version}/infer", post(infer)),
        ("get", "/v2/repository/index", get(index)),
        ("post", "/v2/repository/index", post(index)),
        ("post", "/v2/repository/models/{model}/load", post(load)),
        ("post", "/v2/repository/models/{model}/unload", post(unload)),
        ("post", "/v2/repository/models/{model}/rollback", post(roll_back)),
    ]
}

/// The model of an address, and its version where it has one.
struct Named(String, Option<String>);

impl FromRequestParts<Arc<Server>> for Named {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Server>) -> Answer<Self> {
        let bad = |_: PathRejection| Failure::bad_request("the address is not UTF-8");
        let Path(mut names) = Path::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(bad)?;
        let version = match names.len() {
            2.. => names.pop().map(|(_, version)| version),
            _ => None,
        };
        Ok(Self(names.pop().map(|(_, name)| name).unwrap_or_default(), version))
    }
}

impl Named {
    fn find(&self, server: &Server) -> Answer<Arc<Loaded>> {
        server.store.find(&self.0, self.1.as_deref())
    }
}

async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(server): Shared) -> Response {
    match server.is_ready() {
        true => Json(json!({ "ready": true })).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false }))).into_response(),
    }
}

async fn server_metadata() -> Json<Value> {
    Json(json!({ "name": NAME, "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS }))
}

async fn metadata(State(server): Shared, named: Named) -> Answer {
    let model = named.find(&server)?;
    Ok(Json(rest::metadata(&model, &server.store.versions(&model.name))))
}

async fn model_ready(State(server): Shared, named: Named) -> Answer {
    named.find(&server)?;
    Ok(Json(json!({ "name": named.0, "ready": true })))
}

/// The models that answer, with what their rows look like.
async fn models(State(server): Shared) -> Json<Value> {
    let current = server.store.current();
    let models: Vec<Value> = current.iter().map(|model| openapi::described(model)).collect();
    Json(json!({ "models": models }))
}

async fn description(State(server): Shared, named: Named) -> Answer {
    Ok(Json(openapi::described(&*named.find(&server)?)))
}

/// What a client of the protocol may want to know of batching.
async fn config(State(server): Shared, named: Named) -> Answer {
    let model = named.find(&server)?;
    let batching = server.store.config().batching;
    Ok(Json(json!({
        "name": model.name,
        "platform": infer::platform(model.bundle()),
        "max_batch_size": 0,
        "dynamic_batching": {
            "preferred_batch_size": [batching.rows],
            "max_queue_delay_microseconds": batching.delay.as_micros() as u64,
        },
    })))
}

/// What the versions of a model did, as clients of the protocol ask for it.
async fn stats(State(server): Shared, named: Named) -> Answer {
    let models = match &named.1 {
        Some(_) => vec![named.find(&server)?],
        None => {
            let versions = server.store.versions(&named.find(&server)?.name);
            let find = |version: &String| server.store.find(&named.0, Some(version)).ok();
            versions.iter().filter_map(find).collect()
        }
    };
    let models: Vec<Value> = models.iter().map(|model| rest::statistics(model)).collect();
    Ok(Json(json!({ "model_stats": models })))
}

async fn infer(State(server): Shared, named: Named, request: Request) -> Answer<Response> {
    let model = named.find(&server)?;
    let most = server.store.config().limits.rows;
    let answer = async {
        let (headers, body, turn) = server.read(request).await?;
        let length = headers.get(rest::JSON_LENGTH).cloned();
        let size = body.len() / 8;
        let read = move |bundle: &_| {
            let (wanted, tensors) = rest::parse(&body, length.as_ref(), bundle)?;
            // 0 is how clients say that they do not mind.
            let time = wanted.timeout.filter(|time| *time > 0).map(Duration::from_micros);
            let rows = infer::rows(tensors, bundle, most)?;
            Ok(Asked { rows, wanted, time })
        };
        let (predictions, wanted) = model.predict(most, &turn, size, read).await?;
        let is_long = values(&predictions) > LONG;
        let model = model.clone();
        elsewhere(is_long, move || rest::respond(&model, &wanted, predictions)).await?
    };
    model.counted(answer).await
}

async fn predict(State(server): Shared, named: Named, request: Request) -> Answer<Response> {
    let model = named.find(&server)?;
    let most = server.store.config().limits.rows;
    let answer = async {
        let (headers, body, turn) = server.read(request).await?;
        let rows = rows::sort(body, headers.get(header::CONTENT_TYPE), most).await?;
        if let Some(body) = rows.lists(model.bundle()) {
            let read = move |bundle: &_| lists::parse(&body, bundle, most);
            if let Some(lists) = model.lists(most, &turn, read).await? {
                let model = model.clone();
                let respond = move || Json(lists::respond(&model, lists)).into_response();
                return elsewhere(true, respond).await;
            }
        }
        let size = rows.size();
        let read = move |bundle: &_| Ok(rows.read(bundle, most)?.into());
        let (predictions, ()) = model.predict(most, &turn, size, read).await?;
        let is_long = values(&predictions) > LONG;
        let model = model.clone();
        elsewhere(is_long, move || rows::respond(&model, &predictions)).await?
    };
    model.counted(answer).await
}

async fn explain(State(server): Shared, named: Named, request: Request) -> Answer {
    let model = named.find(&server)?;
    let most = server.store.config().limits.rows;
    let answer = async {
        let (headers, body, turn) = server.read(request).await?;
        let rows = rows::sort(body, headers.get(header::CONTENT_TYPE), most).await?;
        let read = move |bundle: &_| rows.read(bundle, most);
        let explained = model.explain(most, &turn, read).await?;
        let (name, version) = (&model.name, model.version.to_string());
        Ok(Json(json!({ "model": name, "version": version, "explanations": explained })))
    };
    model.counted(answer).await
}

async fn invoke(State(server): Shared, named: Named, request: Request) -> Answer<Response> {
    let model = named.find(&server)?;
    run_invocation(&server, model, request).await
}

async fn invoke_only(State(server): Shared, request: Request) -> Answer<Response> {
    let model = server.store.only()?;
    run_invocation(&server, model, request).await
}

async fn run_invocation(server: &Server, model: Arc<Loaded>, request: Request) -> Answer<Response> {
    let most = server.store.config().limits.rows;
    let answer = async {
        let (headers, body, turn) = server.read(request).await?;
        let asked = Invocation::new(body, headers.get(header::CONTENT_TYPE))?;
        let size = asked.size();
        let read = move |bundle: &_| Ok(asked.read(bundle, most)?.into());
        let (predictions, ()) = model.predict(most, &turn, size, read).await?;
        let is_long = values(&predictions) > LONG;
        let respond = move || Json(invocations::respond(&predictions)).into_response();
        elsewhere(is_long, respond).await
    };
    model.counted(answer).await
}

async fn index(State(server): Shared) -> Json<Value> {
    Json(json!(server.store.list()))
}

async fn load(State(server): Shared, named: Named) -> Answer {
    control(server, move |store| store.load(&named.0)).await
}

async fn unload(State(server): Shared, named: Named) -> Answer {
    control(server, move |store| store.unload(&named.0)).await
}

async fn roll_back(State(server): Shared, named: Named) -> Answer {
    control(server, move |store| store.roll_back(&named.0).map(|_| ())).await
}

/// Changes what is served, if clients may.
async fn control(
    server: Arc<Server>,
    change: impl FnOnce(&Store) -> Result<(), Failure> + Send + 'static,
) -> Answer {
    if !server.store.config().control {
        let message = "clients may not load models here: start the server with `--control`";
        return Err(Failure::new(StatusCode::FORBIDDEN, message));
    }
    server.loader.run(change).await??;
    Ok(Json(json!({})))
}

async fn metrics(State(server): Shared) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], server.store.metrics.text()).into_response()
}

pub(crate) async fn document(State(server): Shared) -> Json<Value> {
    let has_keys = !server.store.config().keys.is_empty();
    Json(openapi::document(&server.store.current(), has_keys))
}
