//! `/openapi.json` and the two pages that are made from it.

use std::sync::Arc;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Map, Value, json};
use tesla_data::contract::ColumnRule;
use tesla_data::{ColumnKind, FittedInteractions, FittedPipeline};

use crate::handlers::addresses;
use crate::model::{EXPLAINED, Loaded};
use crate::protocol::{infer, lists};
use crate::server::is_open;

/// The page where a person tries a model.
pub(crate) const PLAYGROUND: &str = include_str!("pages/playground.html");
/// The page that shows the document.
pub(crate) const DOCS: &str = include_str!("pages/docs.html");

/// A page that loads nothing from anywhere else.
pub(crate) fn page(text: &'static str) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(text)).into_response()
}

/// What the server answers to, with the rows of every model as its contract has them.
pub(crate) fn document(models: &[Arc<Loaded>], has_keys: bool) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    for (method, address, _) in addresses() {
        let mut add = |address: String, operation: Value| {
            paths.entry(address).or_insert_with(|| json!({}))[method] = operation;
        };
        // What differs from model to model is said of each, the rest once.
        let is_own = |end| address.starts_with("/v") && address.ends_with(end);
        match ["/predict", "/explain", "/v2/models/{model}", "/infer"]
            .into_iter()
            .any(is_own)
            && !address.contains("{version}")
        {
            true => {
                for model in models {
                    let operation = operation(address, Some(model), &names, has_keys);
                    add(address.replace("{model}", &model.name), operation);
                }
            }
            false => add(address.into(), operation(address, None, &names, has_keys)),
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": "TESLA", "version": env!("CARGO_PKG_VERSION"),
            "description": "Predictions of sealed models" },
        "paths": paths,
        "components": { "schemas": schemas(), "responses": refusals() },
        "x-models": models.iter().map(|model| described(model)).collect::<Vec<_>>(),
    });
    if has_keys {
        document["components"]["securitySchemes"] = json!({
            "bearer": { "type": "http", "scheme": "bearer" },
            "header": { "type": "apiKey", "in": "header", "name": "X-API-Key" } });
        document["security"] = json!([{ "bearer": [] }, { "header": [] }]);
    }
    document
}

/// One way to ask, of one model or of any.
fn operation(address: &str, model: Option<&Loaded>, names: &[&str], has_keys: bool) -> Value {
    let name = model.map_or("a model", |model| &model.name);
    let plain = address.replace("/versions/{version}", "");
    let object = || json!({ "type": "object" });
    let named = |schema: &str| json!({ "$ref": format!("#/components/schemas/{schema}") });
    let (summary, answer) = match plain.as_str() {
        "/metrics" => ("What the server counts and measures, for Prometheus".into(), Value::Null),
        "/ping" | "/health" | "/v2/health/live" => {
            ("Whether the server answers".into(), flag("live"))
        }
        "/v2/health/ready" => ("Whether the server can predict".into(), flag("ready")),
        "/v2" => ("What the server is".into(), object()),
        "/v1/models" => (
            "The models that answer, with what their rows look like".into(),
            json!({ "type": "object", "required": ["models"],
                "properties": { "models": { "type": "array", "items": object() } } }),
        ),
        "/v1/models/{model}" => ("What the rows of a model look like".into(), object()),
        "/v1/models/{model}/predict" => (
            format!("Predict `{}` with `{name}`", model.map_or("", target)),
            model.map_or_else(object, predictions_schema),
        ),
        "/v1/models/{model}/explain" => (
            format!("Why `{name}` predicts what it predicts, of up to {EXPLAINED} rows"),
            explanations_schema(),
        ),
        "/invocations" => {
            ("Predict with the only model in MLflow's formats".into(), named("Invoked"))
        }
        "/v1/models/{model}/invocations" => {
            ("Predict in MLflow's formats".into(), named("Invoked"))
        }
        "/v2/models/{model}" => {
            (format!("What goes in and out of `{name}`"), named("ModelMetadata"))
        }
        "/v2/models/{model}/ready" => ("Whether a model answers".into(), flag("ready")),
        "/v2/models/{model}/config" => ("How a model puts requests together".into(), object()),
        "/v2/models/{model}/stats" => {
            ("What a model did, in counts and nanoseconds".into(), named("Statistics"))
        }
        "/v2/models/{model}/infer" => (
            format!("Predict with `{name}` over the Open Inference Protocol"),
            named("InferResponse"),
        ),
        "/v2/repository/index" => {
            ("The models and their versions".into(), json!({ "type": "array", "items": object() }))
        }
        "/v2/repository/models/{model}/load" => ("Load what the folders have".into(), object()),
        "/v2/repository/models/{model}/unload" => ("Take a model away".into(), object()),
        "/v2/repository/models/{model}/rollback" => {
            ("Let the version before answer".into(), object())
        }
        other => unreachable!("nothing is said of {other}: a test asks for all of them"),
    };
    let mut operation = json!({ "summary": summary, "responses": {
        "200": { "description": "the answer",
            "content": { "application/json": { "schema": answer } } } } });
    if plain == "/metrics" {
        operation["responses"]["200"]["content"] =
            json!({ "application/openmetrics-text": { "schema": { "type": "string" } } });
    }
    let mut refused = vec![405];
    if !is_open(address) {
        refused.push(401);
    }
    if address.contains("{model}") {
        refused.extend([400, 404]);
    }
    if let Some(content) = body(&plain, model) {
        operation["requestBody"] = json!({ "required": true, "content": content });
        refused.extend([400, 408, 413, 415, 500, 503]);
    } else if plain.starts_with("/v2/repository/models") {
        refused.extend([403, 500]);
    } else if plain == "/v2/health/ready" {
        operation["responses"]["503"] = json!({ "description": "it cannot, or is about to end",
            "content": { "application/json": { "schema": flag("ready") } } });
    }
    for status in refused {
        operation["responses"][status.to_string()] =
            json!({ "$ref": format!("#/components/responses/{status}") });
    }
    let mut parameters = Vec::new();
    if model.is_none() && address.contains("{model}") {
        parameters.push(json!({ "name": "model", "in": "path", "required": true,
            "schema": { "type": "string", "enum": names } }));
    }
    if address.contains("{version}") {
        parameters.push(json!({ "name": "version", "in": "path", "required": true,
            "schema": { "type": "string", "examples": ["1"] } }));
    }
    if plain.ends_with("/infer") {
        parameters.push(json!({ "name": "Inference-Header-Content-Length", "in": "header",
            "description": "bytes of JSON, where tensors stand behind them as bytes",
            "schema": { "type": "integer", "minimum": 0 } }));
        operation["responses"]["200"]["content"]["application/octet-stream"] = json!({
            "schema": { "type": "string", "format": "binary" } });
    }
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if has_keys && is_open(address) {
        operation["security"] = json!([]);
    }
    operation
}

/// What an address takes, if it takes a body.
fn body(address: &str, model: Option<&Loaded>) -> Option<Value> {
    if address.ends_with("/infer") {
        let schema = json!({ "$ref": "#/components/schemas/InferRequest" });
        return Some(json!({ "application/json": { "schema": schema } }));
    }
    if address.ends_with("/invocations") {
        let schema = json!({ "$ref": "#/components/schemas/Invocation" });
        let table = json!({ "schema": { "type": "string" } });
        return Some(json!({ "application/json": { "schema": schema }, "text/csv": table }));
    }
    let model = model.filter(|_| address.ends_with("/predict") || address.ends_with("/explain"))?;
    let bundle = model.bundle();
    let row = row(model);
    let mut one_or_many = vec![
        row.clone(),
        json!({ "type": "object", "required": ["rows"], "properties": {
            "rows": { "type": "array", "minItems": 1, "items": row } } }),
    ];
    if address.ends_with("/predict") {
        one_or_many.extend(lists::columns(bundle).map(wanted_lists));
    }
    let mut content = json!({ "application/json": { "schema": { "anyOf": one_or_many } } });
    match infer::image_of(bundle) {
        Some(_) => {
            content["multipart/form-data"] = json!({ "schema": { "type": "object",
                "properties": { "file": { "type": "array",
                    "items": { "type": "string", "format": "binary" } } } } });
        }
        None => content["text/csv"] = json!({ "schema": { "type": "string" } }),
    }
    Some(content)
}

fn predictions_schema(model: &Loaded) -> Value {
    let bundle = model.bundle();
    let prediction = match bundle.pipeline.target.labels() {
        [] => json!({ "type": "object", "required": ["prediction"],
            "properties": { "prediction": { "type": ["number", "null"] } } }),
        labels => json!({ "type": "object", "required": ["prediction", "probabilities"],
            "properties": {
                "prediction": { "enum": labels },
                "probabilities": { "type": "object",
                    "additionalProperties": { "type": "number" } } } }),
    };
    let mut answer = json!({ "type": "object", "properties": {
        "model": { "type": "string" }, "version": { "type": "string" },
        "predictions": { "type": "array", "items": prediction } } });
    if lists::columns(bundle).is_some() {
        answer["properties"]["lists"] = list_schema();
    }
    answer
}

/// An object with one value that is true or false.
fn flag(name: &str) -> Value {
    json!({ "type": "object", "required": [name], "properties": { name: { "type": "boolean" } } })
}

/// What is refused, by status.
fn refusals() -> Value {
    let whys = [
        (400, "the request is at fault"),
        (401, "the key is missing or wrong"),
        (403, "clients may not load models here"),
        (404, "there is no such model or version"),
        (405, "the address takes another method"),
        (408, "the body did not arrive in time"),
        (413, "the body is too large"),
        (415, "the body is of a kind that is not read"),
        (500, "the server is at fault, and its log says why"),
        (503, "the server has too much to do"),
    ];
    let refusal = |(status, why): (u16, &str)| {
        let mut refusal = json!({ "description": why, "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Error" } } } });
        if status == 503 {
            refusal["headers"] = json!({ "Retry-After": {
                "description": "seconds until there should be less to do",
                "schema": { "type": "integer", "minimum": 1 } } });
        }
        (status.to_string(), refusal)
    };
    Value::Object(whys.into_iter().map(refusal).collect())
}

fn schemas() -> Value {
    let text = json!({ "type": "string" });
    let size = json!({ "type": "integer", "minimum": 0 });
    let tensor = |required: &[&str], size: Value| {
        json!({ "type": "array", "items": { "type": "object", "required": required,
            "properties": { "name": text, "datatype": text, "parameters": { "type": "object" },
                "shape": { "type": "array", "items": size }, "data": { "type": "array" } } } })
    };
    let answered = tensor(&["name", "shape", "datatype"], size.clone());
    let described = tensor(&["name", "shape", "datatype"], json!({ "type": "integer" }));
    let rows = json!({ "type": "array", "items": { "type": ["object", "array"] } });
    let columns = json!({ "type": ["object", "array"] });
    let one_of = |key: &str, schema: &Value| json!({ "type": "object", "required": [key], "properties": { key: schema } });
    let split = json!({ "type": "object", "required": ["columns", "data"], "properties": {
        "columns": { "type": "array", "items": text }, "data": rows } });
    json!({
        "Error": { "type": "object", "required": ["error"], "properties": { "error": text } },
        "InferRequest": { "type": "object", "required": ["inputs"], "properties": {
            "id": text,
            "parameters": { "type": "object", "properties": {
                "binary_data_output": { "type": "boolean" },
                "timeout": { "type": "integer", "minimum": 0,
                    "description": "microseconds; 0 is none" } } },
            "inputs": tensor(&["name", "shape", "datatype", "data"], size),
            "outputs": { "type": "array", "items": { "type": "object", "required": ["name"],
                "properties": { "name": text } } } } },
        "InferResponse": { "type": "object", "required": ["model_name", "outputs"], "properties": {
            "model_name": text, "model_version": text, "id": text, "outputs": answered } },
        "Invocation": { "anyOf": [one_of("dataframe_split", &split),
            one_of("dataframe_records", &rows), one_of("inputs", &columns),
            one_of("instances", &columns)] },
        "Invoked": { "type": "object", "required": ["predictions"], "properties": {
            "predictions": { "type": "array" } } },
        "ModelMetadata": { "type": "object", "required": ["name", "inputs", "outputs"],
            "properties": { "name": text, "versions": { "type": "array", "items": text },
                "platform": text, "inputs": described, "outputs": described } },
        "Statistics": { "type": "object", "required": ["model_stats"], "properties": {
            "model_stats": { "type": "array", "items": { "type": "object" } } } },
    })
}

/// A body that asks for lists of items.
fn wanted_lists(fitted: &FittedInteractions) -> Value {
    let name = json!({ "type": ["string", "number", "boolean"] });
    let mut user = Map::new();
    user.insert(fitted.user.clone(), name.clone());
    let mut both = user.clone();
    both.insert(fitted.item.clone(), name);
    let rows = |properties: Map<String, Value>| {
        let required: Vec<&String> = properties.keys().collect();
        json!({ "type": "array", "items": {
            "type": "object", "required": required, "properties": properties } })
    };
    let top = json!({ "type": "integer", "minimum": 1, "maximum": lists::MOST,
        "description": "the best items of each user in place of a prediction of each row" });
    let mut one = user.clone();
    one.insert("top".into(), top.clone());
    let required: Vec<&String> = one.keys().collect();
    let one = json!({ "type": "object", "required": required, "properties": one });
    json!({ "anyOf": [one, { "type": "object", "required": ["rows", "top"], "properties": {
        "rows": rows(user), "top": top, "seen": rows(both) } }] })
}

fn list_schema() -> Value {
    json!({ "type": "array", "items": { "type": "object", "properties": {
        "user": { "type": "string" }, "by": { "enum": ["model", "popularity"] },
        "items": { "type": "array", "items": { "type": "object", "properties": {
            "item": { "type": "string" }, "score": { "type": "number" } } } } } } })
}

/// What `tesla explain --json` prints of each row.
fn explanations_schema() -> Value {
    let number = json!({ "type": "number" });
    let text = json!({ "type": "string" });
    let contribution = json!({ "type": "object", "properties": {
        "name": text, "value": text, "amount": number } });
    let explained = json!({ "type": "object", "properties": {
        "of": text, "unit": text, "output": number, "baseline": number, "method": text,
        "contributions": { "type": "array", "items": contribution }, "rest": number,
        "map": { "type": "object", "properties": {
            "height": { "type": "integer" }, "width": { "type": "integer" },
            "amounts": { "type": "array", "items": number } } } } });
    json!({ "type": "object", "properties": { "model": text, "version": text,
        "explanations": { "type": "array", "items": explained } } })
}

fn target(model: &Loaded) -> &str {
    model.bundle().pipeline.target.name()
}

/// What a person has to know of a model to ask it.
pub(crate) fn described(model: &Loaded) -> Value {
    let bundle = model.bundle();
    let lists =
        lists::columns(bundle).map(|fitted| json!({ "user": fitted.user, "item": fitted.item }));
    let image = infer::image_of(bundle)
        .map(|image| json!({ "name": image.name, "height": image.height, "width": image.width }));
    json!({
        "name": model.name,
        "version": model.version.to_string(),
        "kind": bundle.model.kind(),
        "target": target(model),
        "labels": bundle.pipeline.target.labels(),
        "image": image,
        "lists": lists,
        "row": row(model),
    })
}

/// One row as a JSON Schema.
fn row(model: &Loaded) -> Value {
    let contract = &model.bundle().contract;
    let pipeline = &model.bundle().pipeline;
    let properties: Map<String, Value> = contract
        .inputs()
        .map(|rule| (rule.name.clone(), value(rule, pipeline)))
        .collect();
    let required: Vec<&String> = contract.inputs().map(|rule| &rule.name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn value(rule: &ColumnRule, pipeline: &FittedPipeline) -> Value {
    match rule.kind {
        ColumnKind::Numeric => {
            let mut value = json!({ "type": ["number", "null"] });
            if let Some([low, high]) = rule.limits.range {
                (value["minimum"], value["maximum"]) = (json!(low), json!(high));
            }
            if let Some([low, high]) = rule.range {
                value["description"] = json!(format!("{low} to {high} in training"));
                value["examples"] = json!([pipeline.example(rule)]);
            }
            value
        }
        ColumnKind::Category => {
            let mut value = json!({ "type": ["string", "number", "boolean", "null"] });
            if !rule.categories.is_empty() {
                value["examples"] = json!(rule.categories);
            }
            value
        }
        ColumnKind::Text => json!({ "type": ["string", "null"] }),
        ColumnKind::Time => json!({
            "type": ["string", "null"], "examples": ["2024-01-31T12:00:00Z", "2024-01-31"],
        }),
        ColumnKind::Image => json!({ "type": "string", "contentEncoding": "base64" }),
    }
}
