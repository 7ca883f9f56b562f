//! What the predictions rest on, and the worst mistakes.

use minijinja::Value;
use serde::Serialize;
use tesla_train::explain::{Explained, Method};

use super::cut;
use crate::figures::{count, figure as shown, number};
use crate::page::html;
use crate::report::{Shown, Subject};

#[derive(Serialize)]
pub(super) struct Importances {
    note: String,
    rows: Vec<Importance>,
}

#[derive(Serialize)]
struct Importance {
    column: String,
    width: f64,
    mean: String,
    spread: String,
}

#[derive(Serialize)]
pub(super) struct Words {
    of: String,
    note: String,
    rows: Vec<Importance>,
}

#[derive(Serialize)]
pub(super) struct Mistake {
    place: String,
    truth: String,
    predicted: String,
    sure: String,
    values: Vec<(String, String)>,
    text: Option<String>,
    picture: Option<Picture>,
    why: String,
    because: Vec<Because>,
}

#[derive(Serialize)]
struct Because {
    name: String,
    value: String,
    amount: String,
    speaks_for: bool,
    width: f64,
}

#[derive(Serialize)]
struct Picture {
    /// A `data:` address: base64 needs no escaping.
    uri: Value,
    width: usize,
    height: usize,
    /// Parts of the picture, in units of the map.
    map: [usize; 2],
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    x: usize,
    y: usize,
    speaks_for: bool,
    opacity: f64,
}

const IMPORTANCES: usize = 20;

/// What is shown of a mistake.
const VALUES: usize = 14;
const BECAUSE: usize = 5;
const LETTERS: usize = 400;

pub(super) fn importances(subject: &Subject<'_>) -> Option<Importances> {
    let all = subject.explanations.importances.as_ref()?;
    let most = all.columns.first().map_or(0.0, |c| c.mean).max(f64::MIN_POSITIVE);
    let rows = all.columns.iter().take(IMPORTANCES).map(|c| Importance {
        column: c.column.clone(),
        width: (1000.0 * (c.mean / most).clamp(0.0, 1.0)).round() / 10.0,
        mean: shown(c.mean),
        spread: shown(c.spread),
    });
    let mut note = format!(
        "By how much the {} of {} rows ({}) grows when the values of one column change places among them, and the standard deviation over {} times. Columns that tell the same share what they are worth.",
        all.metric,
        count(all.rows),
        shown(all.base),
        all.repeats
    );
    if all.columns.len() > IMPORTANCES {
        let rest = all.columns.len() - IMPORTANCES;
        note += &format!(" {} less important columns are left out.", count(rest));
    }
    Some(Importances {
        rows: rows.collect(),
        note,
    })
}

pub(super) fn words(subject: &Subject<'_>) -> Vec<Words> {
    let of = |words: &tesla_train::explain::Words| {
        let most = words
            .words
            .iter()
            .map(|(_, a)| a.abs())
            .fold(f64::MIN_POSITIVE, f64::max);
        let row = |(word, amount): &(String, f64)| Importance {
            column: word.clone(),
            width: (1000.0 * amount.abs() / most).round() / 10.0,
            mean: shown(*amount),
            spread: String::new(),
        };
        Words {
            of: words.of.clone(),
            note: format!("{} texts that are predicted so", count(words.rows)),
            rows: words.words.iter().filter(|(_, a)| *a != 0.0).map(row).collect(),
        }
    };
    subject.explanations.words.iter().map(of).collect()
}

pub(super) fn mistake(shown_row: &Shown) -> Mistake {
    let Shown {
        mistake,
        values,
        why,
        picture,
    } = shown_row;
    let as_number = |text: &str| text.parse().map_or_else(|_| text.to_string(), number);
    let (truth, predicted, sure) = match (mistake.probability, mistake.error) {
        (Some(p), _) => {
            let mut sure = crate::figures::percent(p);
            if let Some(own) = mistake.truth_probability {
                sure += &format!(", the true class {}", crate::figures::percent(own));
            }
            (mistake.truth.clone(), mistake.predicted.clone(), sure)
        }
        (None, error) => (
            as_number(&mistake.truth),
            as_number(&mistake.predicted),
            error.map_or_else(String::new, |e| {
                format!("{}{} away", if e > 0.0 { "+" } else { "" }, number(e))
            }),
        ),
    };
    let text = match values.as_slice() {
        [(_, text)] if text.chars().count() > 30 => Some(cut(text, LETTERS)),
        _ => None,
    };
    let shown_values = values.iter().take(VALUES).map(|(name, value)| {
        let value = if value.is_empty() {
            "missing".into()
        } else {
            cut(value, 60)
        };
        (name.clone(), value)
    });
    Mistake {
        place: mistake.place.clone(),
        truth,
        predicted,
        sure,
        values: if text.is_some() {
            Vec::new()
        } else {
            shown_values.collect()
        },
        text,
        because: why.as_ref().map_or_else(Vec::new, because),
        picture: picture.as_ref().map(|picture| with_map(picture, why.as_ref())),
        why: why.as_ref().map_or_else(String::new, |why| why.of.clone()),
    }
}

fn because(why: &Explained) -> Vec<Because> {
    let most = why
        .contributions
        .iter()
        .map(|c| c.amount.abs())
        .fold(f64::MIN_POSITIVE, f64::max);
    let row = |c: &tesla_train::explain::Contribution| Because {
        name: c.name.clone(),
        value: c.value.parse().map_or_else(|_| cut(&c.value, 30), number),
        amount: format!("{}{}", if c.amount > 0.0 { "+" } else { "" }, shown(c.amount)),
        speaks_for: c.amount > 0.0,
        width: (1000.0 * c.amount.abs() / most).round() / 10.0,
    };
    why.contributions
        .iter()
        .filter(|c| c.amount != 0.0)
        .take(BECAUSE)
        .map(row)
        .collect()
}

fn with_map((uri, [width, height]): &(String, [usize; 2]), why: Option<&Explained>) -> Picture {
    let map = why.and_then(|why| why.map.as_ref());
    let parts = map.map_or_else(Vec::new, |map| {
        let most = map.amounts.iter().map(|a| a.abs()).fold(f64::MIN_POSITIVE, f64::max);
        let part = |(at, amount): (usize, &f64)| Part {
            x: at % map.width,
            y: at / map.width,
            speaks_for: *amount > 0.0,
            opacity: (70.0 * amount.abs() / most).round() / 100.0,
        };
        map.amounts
            .iter()
            .enumerate()
            .map(part)
            .filter(|p| p.opacity > 0.02)
            .collect()
    });
    Picture {
        uri: html(uri.clone()),
        width: *width,
        height: *height,
        map: map.map_or([1, 1], |map| [map.width, map.height]),
        parts,
    }
}

pub(super) fn mistakes_note(subject: &Subject<'_>) -> String {
    let Some(why) = subject.mistakes.iter().find_map(|m| m.why.as_ref()) else {
        return String::new();
    };
    let unit = match why.unit.as_str() {
        "log-odds" => "in log-odds of the predicted class".to_string(),
        unit if unit.starts_with("score") => {
            "in the score of the predicted class above the mean of the others".into()
        }
        unit => format!("in units of `{unit}`"),
    };
    match why.method {
        Method::Occlusion => "Blue parts speak for the predicted class, orange ones against it: what its score loses without them.".into(),
        Method::WordRemoval => format!("A word's number is what is lost when it is taken out, {unit}."),
        Method::Exact if subject.bundle.signature.vocabulary > 0 => format!("A word's number is what its terms added to the prediction, exactly, {unit}: the word itself, and its share of pairs and pieces."),
        Method::Exact => format!("A number beside a value is what it added to the prediction, exactly, {unit}."),
        Method::IntegratedGradients => format!("A number beside a value is what it added to the prediction (integrated gradients), {unit}."),
        Method::Shapley => format!("A number beside a value is what it added to the prediction (Shapley values), {unit}."),
    }
}
