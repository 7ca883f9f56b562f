//! `tesla predict --top`: a list of items for each user.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use tesla::{Predictor, Ranked, Seen};
use tesla_data::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use tesla_data::source::{Scanned, Source};

use crate::sink::Format;

/// What lists are made of.
pub(super) struct Lists<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) predictor: &'a Predictor,
    /// Items per user.
    pub(super) top: usize,
    pub(super) seen: &'a Seen,
}

impl Lists<'_> {
    /// Writes a list of items for each user, batch by batch: one row per item.
    pub(super) fn write(&self, format: Format, out: &mut (dyn Write + Send)) -> Result<()> {
        let Self {
            source,
            predictor,
            top,
            seen,
        } = *self;
        let bundle = predictor.bundle();
        let Some(fitted) = &bundle.pipeline.interactions else {
            // Says what the model is instead.
            predictor.recommend(&[], top, seen)?;
            return Ok(());
        };
        if seen.is_empty() && !predictor.keeps_seen() {
            note!(
                "note: the model file does not hold what users have, so that lists may repeat it: give `--seen <ratings>`, or train with `keep_seen = true` in `[data.interactions]`"
            );
        }
        let empty = as_rows(&[], &fitted.user, &fitted.item)?;
        let mut sink = format.open(out, &empty.schema())?;
        let (mut users, mut unknown) = (0, 0);
        for batch in source.scan(&source.raw_schema()?)? {
            let Scanned {
                rows: batch,
                mut bad,
            } = batch?;
            if !bad.is_empty() {
                return Err(bad.swap_remove(0).into_error().into());
            }
            let Some(column) = batch.column_by_name(&fitted.user) else {
                let names = batch.schema_ref().fields().iter();
                return Err(tesla_data::Error::MissingColumn {
                    column: fitted.user.clone(),
                    place: format!("`{}`", source.name()),
                    valid: names.map(|field| field.name().clone()).collect(),
                }
                .into());
            };
            let names = bundle.contract.names(&fitted.user, column)?;
            let names: Vec<String> = names.iter().flatten().map(String::from).collect();
            let lists = predictor.recommend(&names, top, seen)?;
            users += lists.len();
            unknown += lists.iter().filter(|list| !list.known).count();
            sink.write(&as_rows(&lists, &fitted.user, &fitted.item)?)?;
        }
        if unknown > 0 {
            note!(
                "note: {unknown} of {users} users are unknown to the model: their lists are the most popular items, with the number of training rows as score"
            );
        }
        sink.finish()
    }
}

/// Lists as rows: user, rank from 1, item, score, and whether the model or popularity ranked.
fn as_rows(lists: &[Ranked], user: &str, item: &str) -> Result<RecordBatch> {
    let all = || {
        let ranked = |list: &'_ Ranked| (0..list.items.len()).collect::<Vec<_>>();
        lists
            .iter()
            .flat_map(move |list| ranked(list).into_iter().map(move |at| (list, at)))
    };
    let texts = |values: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let numbers = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let by = |list: &Ranked| if list.known { "model" } else { "popularity" }.to_string();
    let columns = [
        (user, texts(all().map(|(list, _)| list.user.clone()).collect())),
        ("rank", numbers(all().map(|(_, at)| at as f64 + 1.0).collect())),
        (item, texts(all().map(|(list, at)| list.items[at].0.clone()).collect())),
        ("score", numbers(all().map(|(list, at)| list.items[at].1).collect())),
        ("by", texts(all().map(|(list, _)| by(list)).collect())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
