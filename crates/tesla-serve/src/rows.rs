//! `/v1/models/{name}/predict`: plain JSON rows in, plain predictions out.

use serde_json::{Map, Value, json};
use tesla_core::Predictions;
use tesla_data::Contract;
use tesla_data::arrow::array::RecordBatch;

use crate::error::Failure;

/// The rows of a body: `{"rows": [{…}]}`, `[{…}]` or one `{…}`.
pub(crate) fn parse(body: &[u8], contract: &Contract) -> Result<RecordBatch, Failure> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|e| Failure::bad_request(format!("the body is not JSON: {e}")))?;
    let expected = || {
        Failure::bad_request(
            "the body holds no rows: expected one object with a value per column, an array of them, or `{\"rows\": […]}`",
        )
    };
    let rows = match body {
        Value::Array(rows) => rows,
        Value::Object(mut object) => match object.remove("rows") {
            Some(Value::Array(rows)) if object.is_empty() => rows,
            Some(_) => return Err(expected()),
            None => vec![Value::Object(object)],
        },
        _ => return Err(expected()),
    };
    let rows = rows
        .into_iter()
        .map(|row| match row {
            Value::Object(row) => Ok(row),
            _ => Err(expected()),
        })
        .collect::<Result<Vec<Map<_, _>>, _>>()?;
    if rows.is_empty() {
        return Err(expected());
    }
    Ok(contract.from_json(&rows)?)
}

/// `{"predictions": [{"prediction": …, "probabilities": {…}}]}`.
pub(crate) fn respond(predictions: &Predictions) -> Value {
    let rows: Vec<Value> = match predictions {
        Predictions::Values(values) => values.iter().map(|v| json!({ "prediction": v })).collect(),
        Predictions::Classes {
            labels,
            probabilities,
            ..
        } => std::iter::zip(predictions.to_strings(), probabilities.chunks_exact(labels.len()))
            .map(|(best, row)| {
                let each: Map<String, Value> = std::iter::zip(labels.iter(), row)
                    .map(|(label, p)| (label.clone(), json!(p)))
                    .collect();
                json!({ "prediction": best, "probabilities": each })
            })
            .collect(),
    };
    json!({ "predictions": rows })
}
