//! `/v1/models/{name}/predict` with `top`: the items to show users next, in place of a prediction of
//! each row.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tesla_core::{Bundle, Predictor, Ranked, Seen};
use tesla_data::FittedInteractions;
use tesla_data::arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::json::{self, Unread};
use crate::error::Failure;
use crate::model::Loaded;

/// The key that asks for lists.
const TOP: &str = "top";
/// Items of a list, at most.
pub(crate) const MOST: usize = 1000;

/// Lists that are asked for.
pub(crate) struct Lists {
    /// Items of each.
    top: usize,
    users: Vec<String>,
    /// Rows of users and of items they have, which their lists leave out.
    seen: Option<RecordBatch>,
}

/// The columns of users and items, where a model ranks items. A model with a column called `top` has
/// no lists: the word is a value of its rows.
pub(crate) fn columns(bundle: &Bundle) -> Option<&FittedInteractions> {
    let fitted = bundle.pipeline.interactions.as_ref()?;
    let is_ranked = matches!(bundle.model.kind(), "mf" | "bpr");
    let is_free = bundle.contract.inputs().all(|column| column.name != TOP);
    (is_ranked && is_free).then_some(fitted)
}

/// Whether a body is worth looking at: most ask for predictions.
pub(crate) fn may_ask(body: &[u8], bundle: &Bundle) -> bool {
    let quoted = format!("\"{TOP}\"");
    columns(bundle).is_some() && body.windows(quoted.len()).any(|part| part == quoted.as_bytes())
}

/// Reads `{"USER": …, "top": 10}` or `{"rows": [{"USER": …}], "top": 10}`, both with `"seen"`, rows of
/// users and items, where a client has them. `None` where nothing asks for lists.
///
/// # Errors
/// When something does, and not like that.
pub(crate) fn parse(body: &[u8], bundle: &Bundle, most: usize) -> Result<Option<Lists>, Failure> {
    let Some(fitted) = columns(bundle) else {
        return Ok(None);
    };
    // As many users as items of lists, and as many rows that say what they have.
    let mut body = match json::read(body, most.saturating_mul(2)) {
        Ok(Value::Object(body)) => body,
        Err(Unread::TooMany) => {
            return Err(Failure::bad_request(format!(
                "the request has more than {} rows: this server takes up to {most} in `rows` and as many in `seen`",
                most.saturating_mul(2)
            )));
        }
        _ => return Ok(None),
    };
    let Some(top) = body.remove(TOP) else {
        return Ok(None);
    };
    let top = top
        .as_u64()
        .filter(|top| (1..=MOST as u64).contains(top))
        .ok_or_else(|| {
            Failure::bad_request(format!("`{TOP}` is no number of items: expected 1 to {MOST}"))
        })?;
    let seen = match body.remove("seen") {
        None | Some(Value::Null) => None,
        Some(rows) => Some(rows_of("seen", rows, &[&fitted.user, &fitted.item])?),
    };
    let rows = match body.remove("rows") {
        None => Value::Array(vec![Value::Object(body)]),
        Some(rows) => rows,
    };
    let users = rows_of("rows", rows, &[&fitted.user])?;
    let users = bundle.contract.names(&fitted.user, users.column(0))?;
    Ok(Some(Lists {
        top: top as usize,
        users: users.iter().flatten().map(String::from).collect(),
        seen,
    }))
}

/// JSON objects as rows of names: each must have one for every column.
fn rows_of(key: &str, rows: Value, columns: &[&str]) -> Result<RecordBatch, Failure> {
    let named = columns.iter().map(|column| format!("`{column}`"));
    let expected = named.collect::<Vec<_>>().join(" and ");
    let bad = |at: usize| {
        Failure::bad_request(format!(
            "row {} of `{key}` lacks a name: expected one for {expected}",
            at + 1
        ))
    };
    let rows: Vec<Map<String, Value>> = serde_json::from_value(rows).map_err(|_| {
        Failure::bad_request(format!("`{key}` holds no rows: expected objects with {expected}"))
    })?;
    if rows.is_empty() && key == "rows" {
        return Err(Failure::bad_request(format!(
            "`{key}` is empty: expected objects with {expected}"
        )));
    }
    let text = |name: &str, (at, row): (usize, &Map<String, Value>)| match row.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        _ => Err(bad(at)),
    };
    let mut arrays: Vec<(&str, ArrayRef)> = Vec::new();
    for name in columns {
        let texts = rows.iter().enumerate().map(|row| text(name, row));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        arrays.push((name, Arc::new(StringArray::from(texts))));
    }
    RecordBatch::try_from_iter(arrays).map_err(|e| tesla_data::Error::from(e).into())
}

impl Lists {
    /// Ranks the items of every user, as long as that makes no more than `most` items.
    ///
    /// # Errors
    /// When it would, or the device fails.
    pub(crate) fn rank(&self, predictor: &Predictor, most: usize) -> Result<Vec<Ranked>, Failure> {
        if self.users.len().saturating_mul(self.top) > most {
            return Err(Failure::bad_request(format!(
                "{} lists of {} items are asked for: this server gives up to {most} items at a time",
                self.users.len(),
                self.top
            )));
        }
        let seen = match &self.seen {
            Some(rows) => predictor.seen(rows)?,
            None => Seen::default(),
        };
        Ok(predictor.recommend(&self.users, self.top, &seen)?)
    }
}

/// `{"model": …, "version": …, "lists": [{"user": …, "by": …, "items": [{"item": …, "score": …}]}]}`.
pub(crate) fn respond(model: &Loaded, lists: Vec<Ranked>) -> Value {
    let list = |list: Ranked| {
        let items = list.items.into_iter();
        let items = items.map(|(item, score)| json!({ "item": item, "score": score }));
        json!({
            "user": list.user,
            "by": if list.known { "model" } else { "popularity" },
            "items": items.collect::<Vec<_>>(),
        })
    };
    json!({
        "model": model.name,
        "version": model.version.to_string(),
        "lists": lists.into_iter().map(list).collect::<Vec<_>>(),
    })
}
