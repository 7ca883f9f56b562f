//! `/openapi.json` and the two pages that are made from it.

use std::sync::Arc;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Map, Value, json};
use tesla_data::ColumnKind;
use tesla_data::contract::ColumnRule;

use crate::model::Loaded;
use crate::protocol::infer;

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
pub(crate) fn document(models: &[Arc<Loaded>]) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for model in models {
        let bundle = model.bundle();
        let row = row(model);
        let name = &model.name;
        let one_or_many = json!({ "oneOf": [
            row,
            { "type": "object", "required": ["rows"], "properties": {
                "rows": { "type": "array", "minItems": 1, "items": row } } },
        ] });
        let mut content = json!({ "application/json": { "schema": one_or_many } });
        match infer::image_of(bundle) {
            Some(_) => {
                content["multipart/form-data"] = json!({ "schema": { "type": "object",
                    "properties": { "file": { "type": "array",
                        "items": { "type": "string", "format": "binary" } } } } });
            }
            None => content["text/csv"] = json!({ "schema": { "type": "string" } }),
        }
        let labels = bundle.pipeline.target.labels();
        let prediction = match labels {
            [] => json!({ "type": "object", "required": ["prediction"],
                "properties": { "prediction": { "type": ["number", "null"] } } }),
            labels => json!({ "type": "object", "required": ["prediction", "probabilities"],
                "properties": {
                    "prediction": { "enum": labels },
                    "probabilities": { "type": "object",
                        "additionalProperties": { "type": "number" } } } }),
        };
        let answer = json!({ "type": "object", "properties": {
            "model": { "type": "string" }, "version": { "type": "string" },
            "predictions": { "type": "array", "items": prediction } } });
        paths.insert(
            format!("/v1/models/{name}/predict"),
            operation(
                "post",
                &format!("Predict `{}` with `{name}`", target(model)),
                Some(content),
                answer,
            ),
        );
        paths.insert(
            format!("/v2/models/{name}/infer"),
            operation(
                "post",
                &format!("Predict with `{name}` over the Open Inference Protocol"),
                Some(json!({ "application/json": { "schema": { "$ref": "#/components/schemas/InferRequest" } } })),
                json!({ "type": "object" }),
            ),
        );
        paths.insert(
            format!("/v2/models/{name}"),
            operation(
                "get",
                &format!("What goes in and out of `{name}`"),
                None,
                json!({ "type": "object" }),
            ),
        );
    }
    for (path, what) in [
        ("/v2", "What the server is"),
        ("/v2/health/live", "Whether the server answers"),
        ("/v2/health/ready", "Whether the server can predict"),
        ("/v2/repository/index", "The models and their versions"),
    ] {
        paths.insert(path.into(), operation("get", what, None, json!({})));
    }
    schemas.insert(
        "Error".into(),
        json!({ "type": "object", "required": ["error"],
        "properties": { "error": { "type": "string" } } }),
    );
    schemas.insert(
        "InferRequest".into(),
        json!({ "type": "object", "required": ["inputs"], "properties": {
        "id": { "type": "string" },
        "inputs": { "type": "array", "items": { "type": "object",
            "required": ["name", "shape", "datatype", "data"], "properties": {
                "name": { "type": "string" },
                "shape": { "type": "array", "items": { "type": "integer", "minimum": 0 } },
                "datatype": { "type": "string" },
                "data": { "type": "array" } } } },
        "outputs": { "type": "array", "items": { "type": "object", "required": ["name"],
            "properties": { "name": { "type": "string" } } } } } }),
    );
    let names: Vec<Value> = models.iter().map(|m| described(m)).collect();
    json!({
        "openapi": "3.1.0",
        "info": { "title": "TESLA", "version": env!("CARGO_PKG_VERSION"),
            "description": "Predictions of sealed models" },
        "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": {
            "key": { "type": "http", "scheme": "bearer" } } },
        "x-models": names,
    })
}

fn target(model: &Loaded) -> &str {
    model.bundle().pipeline.target.name()
}

/// What the playground shows of a model.
fn described(model: &Loaded) -> Value {
    let bundle = model.bundle();
    let image = infer::image_of(bundle)
        .map(|image| json!({ "name": image.name, "height": image.height, "width": image.width }));
    json!({
        "name": model.name,
        "version": model.version.to_string(),
        "kind": bundle.model.kind(),
        "target": target(model),
        "labels": bundle.pipeline.target.labels(),
        "image": image,
        "row": row(model),
    })
}

/// One row as a JSON Schema.
fn row(model: &Loaded) -> Value {
    let contract = &model.bundle().contract;
    let properties: Map<String, Value> = contract
        .inputs()
        .map(|rule| (rule.name.clone(), value(rule)))
        .collect();
    let required: Vec<&String> = contract.inputs().map(|rule| &rule.name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn value(rule: &ColumnRule) -> Value {
    match rule.kind {
        ColumnKind::Numeric => {
            let mut value = json!({ "type": ["number", "null"] });
            if let Some([low, high]) = rule.limits.range {
                (value["minimum"], value["maximum"]) = (json!(low), json!(high));
            }
            if let Some([low, high]) = rule.range {
                value["description"] = json!(format!("{low} to {high} in training"));
                value["examples"] = json!([low, high]);
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
        ColumnKind::Image => json!({ "type": "string", "contentEncoding": "base64" }),
    }
}

fn operation(method: &str, summary: &str, content: Option<Value>, answer: Value) -> Value {
    let error = |what: &str| {
        json!({ "description": what, "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Error" } } } })
    };
    let mut operation = json!({
        "summary": summary,
        "responses": {
            "200": { "description": "the answer", "content": { "application/json": { "schema": answer } } },
            "400": error("the request is at fault"),
            "401": error("the key is missing or wrong"),
            "404": error("there is no such model"),
            "413": error("the body is too large"),
            "415": error("the body is of a kind that is not read"),
            "503": error("the server has too much to do; `Retry-After` says when to come back"),
        },
    });
    if let Some(content) = content {
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    json!({ method: operation })
}
