//! Steps that a program adds to those there are.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::arrow::array::{Array, ArrayRef, Float64Array, StringArray};
use crate::arrow::datatypes::DataType;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::ColumnConfig;
use crate::contract::{ColumnKind, ColumnRule};
use crate::error::list;
use crate::frame::downcast;
use crate::{Error, Result};

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// There is none.
    Missing,
    /// A number, or a time in seconds since 1970-01-01 UTC.
    Number(f64),
    /// A category.
    Text(&'a str),
}

/// A step of your own that learns from a column. [`register`] it, and name it in `tesla.toml`:
/// `[columns.NAME] step = "my_step"`.
pub trait Step: Default + Send + 'static {
    /// The name in `tesla.toml` and in bundles.
    const NAME: &'static str;
    /// What was learned.
    type Fitted: FittedStep;

    /// Takes the next training row's value. Rows come in their order, in one pass.
    fn update(&mut self, value: Cell<'_>);

    /// What was learned from all training rows.
    ///
    /// # Errors
    /// When nothing can be learned from them: says why, in a sentence.
    fn finish(self) -> std::result::Result<Self::Fitted, String>;
}

/// What a [`Step`] has learned. Its serialised form is stored in the bundle as JSON.
pub trait FittedStep: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The names of the numbers that become of each value: at least one.
    fn names(&self, column: &str) -> Vec<String> {
        vec![column.to_string()]
    }

    /// Writes the numbers of a value, as many as there are names. They must be finite.
    fn transform(&self, value: Cell<'_>, out: &mut [f64]);
}

/// Makes a step known in this process, before a configuration or a bundle names it. The same step
/// may be registered again.
///
/// # Errors
/// When another step has the name.
pub fn register<S: Step>() -> Result<()> {
    let known = Known {
        id: TypeId::of::<S>(),
        start: || Box::new(S::default()),
        load: |state| {
            let fitted: S::Fitted = serde_json::from_value(state).map_err(|e| e.to_string())?;
            Ok(Arc::new(fitted))
        },
    };
    let mut steps = STEPS.write().unwrap_or_else(PoisonError::into_inner);
    let first = steps.entry(S::NAME).or_insert(known);
    match first.id == TypeId::of::<S>() {
        true => Ok(()),
        false => Err(Error::Config(format!(
            "there is a step `{}` already: give one of the two another name",
            S::NAME
        ))),
    }
}

static STEPS: RwLock<BTreeMap<&'static str, Known>> = RwLock::new(BTreeMap::new());

/// A registered step, whatever its type.
#[derive(Clone, Copy)]
struct Known {
    id: TypeId,
    start: fn() -> Box<dyn Learning>,
    load: fn(Value) -> std::result::Result<Arc<dyn Learned>, String>,
}

fn known(name: &str) -> Result<Known> {
    let steps = STEPS.read().unwrap_or_else(PoisonError::into_inner);
    steps.get(name).copied().ok_or_else(|| {
        let names: Vec<String> = steps.keys().map(|name| name.to_string()).collect();
        let there = match names.is_empty() {
            true => "none is".to_string(),
            false => format!("registered are {}", list(&names)),
        };
        Error::Config(format!(
            "the step `{name}` is not registered in this program ({there}): call `prepare::register` with it first"
        ))
    })
}

trait Learning: Send {
    fn take(&mut self, value: Cell<'_>);
    fn state(self: Box<Self>) -> std::result::Result<Value, String>;
}

impl<S: Step> Learning for S {
    fn take(&mut self, value: Cell<'_>) {
        self.update(value);
    }

    fn state(self: Box<Self>) -> std::result::Result<Value, String> {
        serde_json::to_value(self.finish()?).map_err(|e| e.to_string())
    }
}

trait Learned: Send + Sync {
    fn names_of(&self, column: &str) -> Vec<String>;
    fn write(&self, value: Cell<'_>, out: &mut [f64]);
}

impl<F: FittedStep> Learned for F {
    fn names_of(&self, column: &str) -> Vec<String> {
        self.names(column)
    }

    fn write(&self, value: Cell<'_>, out: &mut [f64]) {
        self.transform(value, out);
    }
}

/// A column that a registered step prepares.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct FittedCustom {
    /// The column's name.
    pub name: String,
    /// The step's name.
    pub step: String,
    state: Value,
    names: Vec<String>,
    learned: Arc<dyn Learned>,
}

/// A [`FittedCustom`] in a bundle.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    step: String,
    state: Value,
}

impl From<FittedCustom> for Stored {
    fn from(fitted: FittedCustom) -> Self {
        Self {
            name: fitted.name,
            step: fitted.step,
            state: fitted.state,
        }
    }
}

impl TryFrom<Stored> for FittedCustom {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let wrong = |what: String| {
            Error::Config(format!("column `{}`: the step `{}` {what}", stored.name, stored.step))
        };
        let learned = (known(&stored.step)?.load)(stored.state.clone())
            .map_err(|e| wrong(format!("cannot read what it learned: {e}")))?;
        let names = learned.names_of(&stored.name);
        if names.is_empty() {
            return Err(wrong("names no number: expected at least one".into()));
        }
        Ok(Self {
            name: stored.name,
            step: stored.step,
            state: stored.state,
            names,
            learned,
        })
    }
}

impl PartialEq for FittedCustom {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.step, &self.state) == (&other.name, &other.step, &other.state)
    }
}

impl fmt::Debug for FittedCustom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FittedCustom")
            .field("name", &self.name)
            .field("step", &self.step)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A registered step on its way through the training rows.
pub(super) struct CustomFit {
    name: String,
    step: String,
    learning: Box<dyn Learning>,
}

impl CustomFit {
    /// # Errors
    /// When the step is not registered, or does not go with the column or its other settings.
    pub(super) fn new(rule: &ColumnRule, step: &str, config: &ColumnConfig) -> Result<Self> {
        let wrong = |what: &str| Err(Error::Config(format!("column `{}`: {what}", rule.name)));
        if matches!(rule.kind, ColumnKind::Image | ColumnKind::Text) {
            return wrong(
                "`step` takes numbers, times and categories: expected one of these `kind`s",
            );
        }
        let plain = ColumnConfig {
            step: config.step.clone(),
            kind: config.kind,
            range: config.range,
            categories: config.categories.clone(),
            required: config.required,
            remove_outliers: config.remove_outliers,
            ..Default::default()
        };
        if *config != plain {
            return wrong("`step` prepares it alone: remove the other settings, or `step`");
        }
        Ok(Self {
            name: rule.name.clone(),
            step: step.to_string(),
            learning: (known(step)?.start)(),
        })
    }

    pub(super) fn update(&mut self, values: &ArrayRef) -> Result<()> {
        for_each(values, |_, value| {
            self.learning.take(value);
            Ok(())
        })
    }

    pub(super) fn finish(self) -> Result<FittedCustom> {
        let Self {
            name,
            step,
            learning,
        } = self;
        let state = learning.state().map_err(|e| {
            Error::Config(format!("column `{name}`: the step `{step}` learned nothing: {e}"))
        })?;
        // What transforms is what a bundle holds, from here on.
        Stored { name, step, state }.try_into()
    }
}

impl FittedCustom {
    /// Numbers per row.
    pub(super) fn width(&self) -> usize {
        self.names.len()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Writes the column from place `at` of each row of `out` on, which holds zeros.
    ///
    /// # Errors
    /// When a number is not finite.
    pub(super) fn transform(
        &self,
        values: &ArrayRef,
        out: &mut [f64],
        width: usize,
        at: usize,
    ) -> Result<()> {
        for_each(values, |row, value| {
            let out = &mut out[row * width + at..][..self.names.len()];
            self.learned.write(value, out);
            match out.iter().position(|number| !number.is_finite()) {
                None => Ok(()),
                Some(i) => Err(Error::Config(format!(
                    "column `{}`: the step `{}` makes {} of {value:?} (`{}`): expected a finite number",
                    self.name, self.step, out[i], self.names[i]
                ))),
            }
        })
    }
}

/// Each value of a column that conforms, in order, with its place.
fn for_each(values: &ArrayRef, mut take: impl FnMut(usize, Cell<'_>) -> Result<()>) -> Result<()> {
    match values.data_type() {
        DataType::Float64 => {
            let values = downcast::<Float64Array>(values)?.iter().enumerate();
            values
                .map(|(row, value)| (row, value.map_or(Cell::Missing, Cell::Number)))
                .try_for_each(|(row, value)| take(row, value))
        }
        _ => {
            let values = downcast::<StringArray>(values)?.iter().enumerate();
            values
                .map(|(row, value)| (row, value.map_or(Cell::Missing, Cell::Text)))
                .try_for_each(|(row, value)| take(row, value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrow::array::RecordBatch;
    use crate::config::ColumnConfigs;
    use crate::prepare::FittedPipeline;
    use crate::source::{CsvSource, Input};
    use crate::{Contract, DataConfig, Frame, Pipeline};

    /// The square of the distance to the largest training value.
    #[derive(Default)]
    struct ToLargest {
        largest: Option<f64>,
    }

    #[derive(Serialize, Deserialize)]
    struct Largest(f64);

    impl Step for ToLargest {
        const NAME: &'static str = "to_largest";
        type Fitted = Largest;

        fn update(&mut self, value: Cell<'_>) {
            if let Cell::Number(x) = value {
                self.largest = Some(self.largest.map_or(x, |largest| largest.max(x)));
            }
        }

        fn finish(self) -> std::result::Result<Largest, String> {
            self.largest.map(Largest).ok_or_else(|| "there is no number".into())
        }
    }

    impl FittedStep for Largest {
        fn names(&self, column: &str) -> Vec<String> {
            vec![format!("to_largest({column})"), format!("{column}=(missing)")]
        }

        fn transform(&self, value: Cell<'_>, out: &mut [f64]) {
            match value {
                Cell::Number(x) => out[0] = (self.0 - x).powi(2),
                _ => out[1] = 1.0,
            }
        }
    }

    fn fit(config: Value) -> Result<(FittedPipeline, RecordBatch)> {
        let text = "x,c,y\n0.1,a,1.5\n,b,2\n2.1,a,3\n";
        let source =
            CsvSource::open(Input::from_bytes("t.csv", text.as_bytes()), Default::default())?;
        let frame = Frame::read_all(Box::new(source))?;
        let data = DataConfig {
            target: Some("y".into()),
            drop: vec!["c".into()],
            ..Default::default()
        };
        let columns: ColumnConfigs =
            serde_json::from_value(serde_json::json!({ "x": config })).unwrap();
        let contract = Contract::infer(&frame, &data, &columns)?;
        let fitted = Pipeline::new(&contract, &columns)?.fit(&frame.all())?;
        Ok((fitted, frame.settle(&contract, &data.bad_policy())?.to_batch()?))
    }

    #[test]
    fn a_registered_step_is_fitted_stored_and_found_again() {
        let error = fit(serde_json::json!({ "step": "nobody's" }))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("the step `nobody's` is not registered"), "{error}");
        register::<ToLargest>().unwrap();
        register::<ToLargest>().unwrap();
        let (fitted, rows) = fit(serde_json::json!({ "step": "to_largest" })).unwrap();
        assert_eq!(fitted.feature_names(), ["to_largest(x)", "x=(missing)"]);
        let found = fitted.matrix(&rows).unwrap();
        assert_eq!(found, [4.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        let text = serde_json::to_string(&fitted).unwrap();
        let loaded: FittedPipeline = serde_json::from_str(&text).unwrap();
        assert_eq!((&loaded, loaded.matrix(&rows).unwrap()), (&fitted, found));
        let stranger = text.replace("\"to_largest\"", "\"gone\"");
        let error = serde_json::from_str::<FittedPipeline>(&stranger)
            .unwrap_err()
            .to_string();
        assert!(error.contains("the step `gone` is not registered"), "{error}");
        let both = fit(serde_json::json!({ "step": "to_largest", "scale": "none" }));
        let error = both.unwrap_err().to_string();
        assert!(error.contains("remove the other settings"), "{error}");
    }
}
