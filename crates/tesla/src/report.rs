//! What the report of a model says: gathered once, shown as a page, as Markdown and as JSON.

use anyhow::Result;
use tesla::{Bundle, Device, Predictor, Report};
use tesla_data::arrow::array::RecordBatch;
use tesla_data::contract::Need;
use tesla_data::{ColumnKind, Inputs, Selection};
use tesla_train::explain::{Explained, Explainer, Explanations, Sample, cell, explanations};

/// What a report is about.
pub(crate) struct Subject<'a> {
    /// The run or the data.
    pub(crate) name: String,
    /// Makes the report again.
    pub(crate) command: String,
    /// Makes the model again, where that is known.
    pub(crate) repeat: Option<String>,
    pub(crate) bundle: &'a Bundle,
    /// SHA-256 of the model's file.
    pub(crate) sha256: Option<String>,
    /// The figures by part, the part to look at first in front.
    pub(crate) parts: Vec<(String, Report)>,
    pub(crate) explanations: Explanations,
    pub(crate) mistakes: Vec<Shown>,
    /// What the reader should know.
    pub(crate) notes: Vec<String>,
}

/// A row that the model is very wrong about, with its values: it belongs to the data, and never goes
/// into a bundle.
pub(crate) struct Shown {
    pub(crate) mistake: tesla_train::evaluate::Mistake,
    /// The values by column, the important ones first; no pictures.
    pub(crate) values: Vec<(String, String)>,
    /// Why it was predicted as it was.
    pub(crate) why: Option<Explained>,
    /// A picture as a `data:` address, with its width and height.
    pub(crate) picture: Option<(String, [usize; 2])>,
}

/// Mistakes that are shown, of tables and of pictures.
const MISTAKES: usize = 8;
const PICTURES: usize = 12;

/// The explanations of a model and its worst mistakes, by the rows of the first part.
///
/// # Errors
/// When the rows break the contract.
pub(crate) fn look(
    predictor: &Predictor,
    device: &Device,
    rows: &Selection<'_>,
    report: &Report,
    seed: u64,
) -> Result<(Explanations, Vec<Shown>)> {
    let found = explanations(predictor, device, rows, seed)?;
    let shown = mistakes(predictor, device, rows, report, &found)?;
    Ok((found, shown))
}

fn mistakes(
    predictor: &Predictor,
    device: &Device,
    rows: &Selection<'_>,
    report: &Report,
    explanations: &Explanations,
) -> Result<Vec<Shown>> {
    let bundle = predictor.bundle();
    let is_image = bundle.contract.features().any(|rule| rule.kind == ColumnKind::Image);
    let most = if is_image { PICTURES } else { MISTAKES };
    let worst: Vec<(usize, &tesla_train::evaluate::Mistake)> = report
        .worst
        .iter()
        .filter_map(|m| Some((place_of(rows, rows.frame().row_of(m.row)?)?, m)))
        .take(most)
        .collect();
    if worst.is_empty() {
        return Ok(Vec::new());
    }
    let mut wanted: Vec<usize> = worst.iter().map(|(at, _)| *at).collect();
    wanted.sort_unstable();
    let sample = Sample::around(predictor, rows, wanted)?;
    let at: Vec<usize> = worst
        .iter()
        .filter_map(|(at, _)| sample.rows.binary_search(at).ok())
        .collect();
    let place = |row: usize| rows.place(sample.rows[row]);
    let why = Explainer::new(bundle, device)?.explain(&sample.batch, &at, &place)?;
    let pictures = pictures(bundle, &sample.batch, &at, &place)?;
    let order = columns(bundle, explanations);
    let all = worst.into_iter().zip(at).zip(why.into_iter().zip(pictures));
    Ok(all
        .map(|(((_, mistake), at), (why, picture))| Shown {
            mistake: mistake.clone(),
            values: values(&sample.batch, at, &order),
            why: Some(why),
            picture,
        })
        .collect())
}

/// The place that a row of the frame has in a selection of it.
fn place_of(rows: &Selection<'_>, row: usize) -> Option<usize> {
    let (mut low, mut high) = (0, rows.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match rows.row(middle) < row {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    (low < rows.len() && rows.row(low) == row).then_some(low)
}

/// The columns that have values to show, the important ones first.
fn columns(bundle: &Bundle, explanations: &Explanations) -> Vec<String> {
    let mut columns: Vec<String> = explanations
        .importances
        .iter()
        .flat_map(|all| all.columns.iter().map(|c| c.column.clone()))
        .collect();
    let inputs = bundle.contract.inputs().filter(|rule| rule.kind != ColumnKind::Image);
    for rule in inputs {
        if !columns.contains(&rule.name) {
            columns.push(rule.name.clone());
        }
    }
    columns
}

fn values(rows: &RecordBatch, at: usize, columns: &[String]) -> Vec<(String, String)> {
    let value = |name: &String| Some((name.clone(), cell(rows.column_by_name(name)?, at)));
    columns.iter().filter_map(value).collect()
}

/// A `data:` address, and width and height in pixels.
type Picture = (String, [usize; 2]);

/// The pictures of rows; none where the model sees no pictures.
fn pictures(
    bundle: &Bundle,
    rows: &RecordBatch,
    wanted: &[usize],
    place: &(dyn Fn(usize) -> String + Sync),
) -> Result<Vec<Option<Picture>>> {
    if bundle.contract.features().all(|rule| rule.kind != ColumnKind::Image) {
        return Ok(vec![None; wanted.len()]);
    }
    let rows = bundle.contract.conform(rows, Need::Features, place)?;
    let samples = bundle.pipeline.samples(&rows, place)?;
    let Inputs::Images(set) = &samples.inputs else {
        return Ok(vec![None; wanted.len()]);
    };
    let one = |row: &usize| Ok(Some((set.data_uri(*row)?, [set.width, set.height])));
    wanted.iter().map(one).collect()
}
