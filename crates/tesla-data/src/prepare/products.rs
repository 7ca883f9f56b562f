use super::FittedColumn;
use crate::config::ColumnConfigs;
use crate::{Error, Result};

/// The most products that a row may have.
const MOST: usize = 100_000;

/// The products of the columns that ask for a `degree`, in the order of scikit-learn's
/// `PolynomialFeatures(include_bias=False)`, without those of one factor: the columns themselves.
pub(super) fn products(
    features: &[FittedColumn],
    columns: &ColumnConfigs,
) -> Result<Vec<Vec<usize>>> {
    let mut first = 0;
    let mut places = Vec::new();
    let mut degree: Option<usize> = None;
    for feature in features {
        if let Some(asked) = columns.get(feature.name()).and_then(|config| config.degree) {
            if !(2..=3).contains(&asked) || degree.is_some_and(|degree| degree != asked) {
                return Err(Error::Config(format!(
                    "column `{}` has `degree = {asked}`: expected 2 or 3, the same for all columns that are multiplied",
                    feature.name()
                )));
            }
            degree = Some(asked);
            places.push(first);
        }
        first += feature.width();
    }
    let mut products = Vec::new();
    let mut shorter: Vec<Vec<usize>> = places.iter().map(|at| vec![*at]).collect();
    for _ in 2..=degree.unwrap_or(1) {
        let mut longer = Vec::new();
        for factors in &shorter {
            let rest = places.iter().filter(|at| Some(*at) >= factors.last());
            longer.extend(rest.map(|at| factors.iter().chain([at]).copied().collect::<Vec<_>>()));
            if products.len() + longer.len() > MOST {
                let message = format!(
                    "`degree` asks for more than {MOST} products of {} columns: ask for it on fewer",
                    places.len()
                );
                return Err(Error::Config(message));
            }
        }
        products.extend_from_slice(&longer);
        shorter = longer;
    }
    Ok(products)
}
