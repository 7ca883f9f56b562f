//! How arrays and columns become one table: the rules that pickles and `.npz` files share.

use std::collections::HashSet;
use std::sync::Arc;

use crate::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use crate::arrow::datatypes::{DataType, Field, Schema};

use super::IMAGE_KEY;
use super::dtype::{Kind, Read};
use super::ndarray::NdArray;

/// Something that may be a table or a part of one.
pub(crate) enum Part<'a> {
    Array(NdArray<'a>),
    /// One value a row.
    Column(ArrayRef),
    /// Columns without names: the fields of rows that are lists.
    Columns(Vec<ArrayRef>),
    /// Columns with names: a data frame, or rows that are dicts.
    Table(Vec<(String, ArrayRef)>),
    /// Neither; in a few words.
    Other(String),
}

/// What the shapes of data are called, to end a message with.
pub(crate) const SHAPES: &str = "expected a data frame, an array of one or two dimensions, images \
    (`uint8`, of shape (n, height, width) or with 1 or 3 channels), a dict of arrays of one \
    length, a pair (X, y), or a list of dicts or of rows";

const MAX_COLUMNS: usize = 100_000;
/// The largest height or width of an image, in pixels.
const MAX_SIDE: usize = 16_384;

/// Names that mean the features of a data set, and its target.
const FEATURES: [&str; 7] = ["x", "data", "images", "image", "features", "inputs", "imgs"];
const TARGETS: [&str; 6] = ["y", "label", "labels", "target", "targets", "fine_labels"];

type Columns = Vec<(Field, ArrayRef)>;

/// A value that stands alone: its columns are `c1`, `c2`, …, images are `image`.
pub(crate) fn single(part: Part<'_>) -> Read<RecordBatch> {
    let name = if is_images(&part) { "image" } else { "c1" };
    batch(expand(part, name, "c")?)
}

/// `(X, y)`: columns `x1`, `x2`, … or `image`, and `label`.
pub(crate) fn pair(x: Part<'_>, y: Part<'_>) -> Read<RecordBatch> {
    let [x_rows, y_rows] = [rows(&x), rows(&y)];
    if x_rows != y_rows {
        return Err(format!(
            "holds a pair of {} and {} rows: expected as many rows in `X` as in `y`",
            x_rows.unwrap_or(0),
            y_rows.unwrap_or(0)
        ));
    }
    let mut columns = features(x, None)?;
    columns.extend(expand(y, "label", "y")?);
    batch(columns)
}

/// Whether two parts are the `X` and `y` of a data set.
pub(crate) fn is_pair(x: &Part<'_>, y: &Part<'_>) -> bool {
    let wide = match x {
        Part::Array(array) => array.rank() >= 2,
        Part::Columns(_) => true,
        Part::Table(columns) => columns.len() > 1,
        Part::Column(_) | Part::Other(_) => false,
    };
    let narrow = match y {
        Part::Array(array) => array.rank() == 1 || array.rank() == 2,
        Part::Column(_) => true,
        Part::Table(columns) => columns.len() == 1,
        Part::Columns(_) | Part::Other(_) => false,
    };
    wide && narrow
}

/// Parts under names: either a data set of features and more, or columns of one length.
pub(crate) fn named(mut parts: Vec<(String, Part<'_>)>) -> Read<RecordBatch> {
    let train: Vec<bool> = parts.iter().map(|(n, _)| side(n) == Some("train")).collect();
    if train.contains(&true) {
        if parts
            .iter()
            .any(|(n, p)| matches!(side(n), Some("test" | "valid")) && rows(p).is_some())
        {
            return Err(format!(
                "holds training and test rows ({}): save each part as a file of its own, and name \
                 them as `source` and `test`",
                names(&parts)
            ));
        }
        for (name, _) in parts.iter_mut() {
            *name = stem(name);
        }
    }
    let is_features = |(name, part): &(String, Part<'_>)| {
        let wide = match part {
            Part::Array(array) => array.rank() >= 2,
            Part::Table(_) | Part::Columns(_) => true,
            _ => false,
        };
        wide && FEATURES.contains(&name.to_lowercase().as_str())
    };
    match parts.iter().position(is_features) {
        Some(at) => data_set(parts, at),
        None => equal_columns(parts),
    }
}

/// Features with what belongs to each row: targets, file names. Other entries describe the set.
fn data_set(mut parts: Vec<(String, Part<'_>)>, at: usize) -> Read<RecordBatch> {
    let (name, x) = parts.remove(at);
    let n = rows(&x);
    let target = |name: &str| TARGETS.contains(&name.to_lowercase().as_str());
    let labelled = parts.iter().find(|(n, p)| target(n) && rows(p).is_some());
    if let Some((label, part)) = labelled
        && rows(part) != n
    {
        return Err(format!(
            "holds {} rows in `{name}` and {} in `{label}`: expected as many",
            n.unwrap_or(0),
            rows(part).unwrap_or(0)
        ));
    }
    let flat = labelled.is_some();
    let feature_names = parts
        .iter()
        .find(|(name, _)| name == "feature_names")
        .and_then(|(_, part)| texts(part));
    let x = match x {
        Part::Array(array) if flat => Part::Array(unflattened(array)),
        x => x,
    };
    let mut columns = features(x, feature_names)?;
    let mut unlabelled = true;
    for (name, part) in parts {
        let describes = matches!(name.as_str(), "feature_names" | "target_names" | "label_names");
        if describes || rows(&part) != n || matches!(part, Part::Other(_)) {
            continue;
        }
        let is_target = unlabelled && target(&name);
        unlabelled &= !is_target;
        let single = if is_target { "label" } else { &name };
        columns.extend(expand(part, single, &format!("{name}_"))?);
    }
    batch(columns)
}

fn equal_columns(parts: Vec<(String, Part<'_>)>) -> Read<RecordBatch> {
    let first = parts.first().and_then(|(_, part)| rows(part));
    if first.is_none() || parts.iter().any(|(_, part)| rows(part) != first) {
        return Err(format!(
            "holds values that are not columns of one length ({}): {SHAPES}",
            names(&parts)
        ));
    }
    let mut columns = Vec::new();
    for (name, part) in parts {
        columns.extend(expand(part, &name, &format!("{name}_"))?);
        check_width(columns.len())?;
    }
    batch(columns)
}

fn features(part: Part<'_>, names: Option<Vec<String>>) -> Read<Columns> {
    let name = if is_images(&part) { "image" } else { "x1" };
    let columns = expand(part, name, "x")?;
    Ok(match names {
        Some(names) if names.len() == columns.len() => std::iter::zip(columns, names)
            .map(|((field, values), name)| (field.with_name(name), values))
            .collect(),
        _ => columns,
    })
}

/// The columns of a part: `name` where it is one, `prefix1`, `prefix2`, … where they have no
/// names of their own.
fn expand(part: Part<'_>, name: &str, prefix: &str) -> Read<Columns> {
    let numbered = |columns: Vec<ArrayRef>| -> Columns {
        let columns = columns.into_iter().enumerate();
        columns
            .map(|(i, values)| field(&format!("{prefix}{}", i + 1), values))
            .collect()
    };
    match part {
        Part::Column(values) => Ok(vec![field(name, values)]),
        Part::Columns(columns) => Ok(numbered(columns)),
        Part::Table(columns) => Ok(match <[_; 1]>::try_from(columns) {
            // A series without a name takes the one of its place.
            Ok([(own, values)]) if own.is_empty() => vec![field(name, values)],
            Ok([(own, values)]) => vec![field(&own, values)],
            Err(columns) => columns.into_iter().map(|(n, v)| field(&n, v)).collect(),
        }),
        Part::Array(array) => {
            if let Some(fields) = structured(&array)? {
                return Ok(fields);
            }
            match array.rank() {
                1 => Ok(vec![field(name, array.column(0)?)]),
                2 if array.shape[1] == 1 => Ok(vec![field(name, array.column(0)?)]),
                2 => {
                    check_width(array.shape[1])?;
                    let columns = (0..array.shape[1]).map(|at| array.column(at));
                    Ok(numbered(columns.collect::<Read<_>>()?))
                }
                3 | 4 => images(array, name),
                rank => Err(format!(
                    "holds an array of {rank} dimensions, of shape {:?}: {SHAPES}",
                    array.shape
                )),
            }
        }
        Part::Other(found) => Err(format!("holds {found}: {SHAPES}")),
    }
}

fn structured(array: &NdArray<'_>) -> Read<Option<Columns>> {
    if !matches!(array.dtype.kind, Kind::Struct(_)) {
        return Ok(None);
    }
    if array.rank() != 1 {
        return Err("holds an array of records in a grid: expected one dimension".into());
    }
    let fields = array.fields()?.unwrap_or_default();
    Ok(Some(fields.into_iter().map(|(n, v)| field(&n, v)).collect()))
}

/// An image column. Channels may stand last (as in PIL and TensorFlow) or first (as in PyTorch).
fn images(array: NdArray<'_>, name: &str) -> Read<Columns> {
    if !array.is_bytes() {
        return Err(format!(
            "holds an array of shape {:?} that is not of type `uint8`: {SHAPES}; scale images to \
             0…255 and convert them with `astype('uint8')`",
            array.shape
        ));
    }
    let shape = array.shape.clone();
    let array = match shape[..] {
        [_, _, _] => array.grey(),
        [_, _, _, 1 | 3] => array,
        [_, 1 | 3, _, _] => array.transpose(&[0, 2, 3, 1])?,
        _ => {
            return Err(format!(
                "holds images of shape {shape:?}: expected 1 or 3 channels, as the second or the \
                 last axis"
            ));
        }
    };
    let [_, height, width, channels] = array.shape[..] else {
        unreachable!("every branch above gives four axes");
    };
    if !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) {
        return Err(format!("holds images of {height}x{width} pixels: expected 1 to {MAX_SIDE}"));
    }
    let layout = format!("{height}x{width}x{channels}");
    let field = Field::new(name, DataType::LargeBinary, false)
        .with_metadata([(IMAGE_KEY.to_string(), layout)].into());
    Ok(vec![(field, array.images())])
}

/// Images that were flattened to rows of bytes, as CIFAR-10 (3 planes of a square) and the MNIST
/// family (one square) are; other rows are left as they are.
fn unflattened(array: NdArray<'_>) -> NdArray<'_> {
    const SMALLEST: usize = 16;
    let [rows, width] = array.shape[..] else {
        return array;
    };
    if !array.is_bytes() {
        return array;
    }
    let square = |n: usize| Some(n.isqrt()).filter(|s| s * s == n && *s >= SMALLEST);
    let shape = match (square(width), square(width / 3)) {
        (Some(side), _) => vec![rows, 1, side, side],
        (_, Some(side)) if width % 3 == 0 => vec![rows, 3, side, side],
        _ => return array,
    };
    array.clone().reshape(shape).unwrap_or(array)
}

fn is_images(part: &Part<'_>) -> bool {
    matches!(part, Part::Array(array) if array.rank() > 2)
}

/// The rows of a part.
fn rows(part: &Part<'_>) -> Option<usize> {
    match part {
        Part::Array(array) => array.shape.first().copied(),
        Part::Column(values) => Some(values.len()),
        Part::Columns(columns) => columns.first().map(|c| c.len()),
        Part::Table(columns) => columns.first().map(|(_, c)| c.len()),
        Part::Other(_) => None,
    }
}

fn texts(part: &Part<'_>) -> Option<Vec<String>> {
    let values = match part {
        Part::Column(values) => values.clone(),
        Part::Array(array) if array.rank() == 1 => array.column(0).ok()?,
        _ => return None,
    };
    let texts = crate::frame::as_strings(&values).ok()?;
    (values.data_type() == &DataType::Utf8).then_some(())?;
    texts.iter().map(|t| t.map(String::from)).collect()
}

fn field(name: &str, values: ArrayRef) -> (Field, ArrayRef) {
    let field = Field::new(name, values.data_type().clone(), true);
    match values.data_type() {
        // The files of images, as `cells` recognised them.
        DataType::LargeBinary => {
            let encoded = [(IMAGE_KEY.to_string(), "encoded".to_string())];
            (field.with_metadata(encoded.into()), values)
        }
        _ => (field, values),
    }
}

/// `train` for `x_train`, `X_train`, `train_images`; likewise `test`, and `valid` for `x_val`.
fn side(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let (first, last) = (name.split('_').next()?, name.rsplit('_').next()?);
    [first, last].into_iter().find_map(|word| match word {
        "train" => Some("train"),
        "test" => Some("test"),
        "val" | "valid" | "validation" => Some("valid"),
        _ => None,
    })
}

/// `x` for `x_train`, `images` for `train_images`.
fn stem(name: &str) -> String {
    let lower = name.to_lowercase();
    let stem = lower.strip_suffix("_train").or(lower.strip_prefix("train_"));
    stem.map_or(name.to_string(), String::from)
}

fn names(parts: &[(String, Part<'_>)]) -> String {
    let shown = parts.iter().take(8).map(|(name, part)| {
        let name: String = name.chars().take(60).collect();
        match (part, rows(part)) {
            (Part::Array(a), _) => format!("`{name}`: an array of shape {:?}", a.shape),
            (Part::Other(found), _) => format!("`{name}`: {found}"),
            (_, Some(n)) => format!("`{name}`: {n} rows"),
            (_, None) => format!("`{name}`: nothing"),
        }
    });
    let more = if parts.len() > 8 { ", …" } else { "" };
    shown.collect::<Vec<_>>().join(", ") + more
}

fn check_width(columns: usize) -> Read<()> {
    match columns <= MAX_COLUMNS {
        true => Ok(()),
        false => {
            Err(format!("has more than {MAX_COLUMNS} columns: expected fewer, is it transposed?"))
        }
    }
}

fn batch(columns: Columns) -> Read<RecordBatch> {
    check_width(columns.len())?;
    let rows = columns.first().map(|(_, values)| values.len());
    let Some(rows) = rows else {
        return Err("has no columns: expected at least one".into());
    };
    let mut seen = HashSet::new();
    for (field, values) in &columns {
        if !seen.insert(field.name().clone()) {
            return Err(format!("has two columns named `{}`: rename one", field.name()));
        }
        if values.len() != rows {
            return Err(format!(
                "has {} values in column `{}` and {rows} in `{}`: expected as many",
                values.len(),
                field.name(),
                columns[0].0.name()
            ));
        }
    }
    let (fields, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), values, &options)
        .map_err(|e| format!("cannot become a table: {e}"))
}
