//! `/openapi.json` and the two pages that are made from it.

use std::sync::Arc;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Map, Value, json};
use tesla_data::contract::ColumnRule;
use tesla_data::{ColumnKind, FittedInteractions};

use crate::model::{EXPLAINED, Loaded};
use crate::protocol::{infer, lists};

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
        let mut one_or_many = vec![
            row.clone(),
            json!({ "type": "object", "required": ["rows"], "properties": {
                "rows": { "type": "array", "minItems": 1, "items": row } } }),
        ];
        let mut content = json!({ "application/json": { "schema": { "anyOf": one_or_many } } });
        match infer::image_of(bundle) {
            Some(_) => {
                content["multipart/form-data"] = json!({ "schema": { "type": "object",
                    "properties": { "file": { "type": "array",
                        "items": { "type": "string", "format": "binary" } } } } });
            }
            None => content["text/csv"] = json!({ "schema": { "type": "string" } }),
        }
        paths.insert(
            format!("/v1/models/{name}/explain"),
            operation(
                "post",
                &format!("Why `{name}` predicts what it predicts, of up to {EXPLAINED} rows"),
                Some(content.clone()),
                explanations_schema(),
            ),
        );
        let lists = lists::columns(bundle).map(wanted_lists);
        if let Some(lists) = &lists {
            one_or_many.push(lists.clone());
            content["application/json"]["schema"] = json!({ "anyOf": one_or_many });
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
        let mut answer = json!({ "type": "object", "properties": {
            "model": { "type": "string" }, "version": { "type": "string" },
            "predictions": { "type": "array", "items": prediction } } });
        if lists.is_some() {
            answer["properties"]["lists"] = list_schema();
        }
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
        ("/v1/models", "The models that answer, with what their rows look like"),
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
        ColumnKind::Time => json!({
            "type": ["string", "null"], "examples": ["2024-01-31T12:00:00Z", "2024-01-31"],
        }),
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
