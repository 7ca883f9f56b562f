//! The preparation of columns, as [`tesla_data::prepare`] does it.

use tesla_data::config::Encode;
use tesla_data::prepare::{
    Curve, FittedCategory, FittedColumn, FittedImage, FittedNumeric, NORMAL_QUANTILE,
    QUANTILE_THRESHOLD,
};

use super::graph::{Graph, Name, int, ints, strings};
use super::proto::element::{DOUBLE, FLOAT, INT64, STRING, UINT8};
use super::{PREDICTION, PROBABILITY, refuse};
use crate::{Bundle, Result};

/// The raw columns as what a network sees, in 32-bit floats: `[rows, width]`, or
/// `[rows, channels, height, width]`.
pub(super) fn features(graph: &mut Graph, bundle: &Bundle) -> Result<Name> {
    let pipeline = &bundle.pipeline;
    if pipeline.sequence.is_some() {
        return Err(refuse("windows of rows that follow each other (`[data.sequence]`)"));
    }
    for name in pipeline.features.iter().map(FittedColumn::name) {
        if name == PREDICTION || name == PROBABILITY || name.is_empty() {
            return Err(refuse(format!(
                "a column `{name}` beside an output of this name: rename the column"
            )));
        }
    }
    let mut parts = Vec::new();
    let mut normals = Vec::new();
    for feature in &pipeline.features {
        match feature {
            FittedColumn::Image(image) => return Ok(pixels(graph, image)),
            FittedColumn::Text(text) => {
                return Err(refuse(format!("the terms or words of the text `{}`", text.name)));
            }
            FittedColumn::Time(time) => {
                return Err(refuse(format!("the times of the column `{}`", time.name)));
            }
            FittedColumn::Custom(_) => {
                return Err(refuse(format!(
                    "the step that a program registered for the column `{}`",
                    feature.name()
                )));
            }
            FittedColumn::Numeric(column) => number(graph, column, &mut parts, &mut normals)?,
            FittedColumn::Category(column) => parts.push(category(graph, column)?),
        }
    }
    // All at once: the graph of a quantile of the normal distribution is large.
    if !normals.is_empty() {
        let shares: Vec<Name> = normals.iter().map(|at: &usize| parts[*at].clone()).collect();
        let all = graph.beside(&shares);
        let all = normal_quantile(graph, &all);
        for (i, at) in normals.into_iter().enumerate() {
            parts[at] = graph.columns(&all, &[i]);
        }
    }
    let mut all = graph.beside(&parts);
    if !pipeline.products.is_empty() {
        all = products(graph, &all, &pipeline.products);
    }
    Ok(graph.cast(&all, FLOAT))
}

/// One number, or one per bin, and whether it is missing. The places in `parts` of shares that are to
/// become quantiles of the normal distribution go to `normals`.
fn number(
    graph: &mut Graph,
    column: &FittedNumeric,
    parts: &mut Vec<Name>,
    normals: &mut Vec<usize>,
) -> Result<()> {
    if column.forward_fill {
        return Err(refuse(format!(
            "`impute = \"forward_fill\"` of column `{}`, which looks at the row before",
            column.name
        )));
    }
    let input = graph.input(&column.name, DOUBLE, &[1], "a number; NaN where it is missing".into());
    let missing = graph.node("IsNaN", &[&input]);
    let mut x = input;
    if let Some([low, high]) = column.clip {
        let (low, high) = (graph.double(low), graph.double(high));
        x = graph.node("Clip", &[&x, &low, &high]);
    }
    let fill = graph.double(column.fill);
    x = graph.node("Where", &[&missing, &fill, &x]);
    let place = parts.len();
    match (&column.bins, &column.curve) {
        (Some(edges), _) => {
            let bin = match edges.as_slice() {
                [] => {
                    let zero = graph.with("Mul", &x, 0.0);
                    graph.cast(&zero, INT64)
                }
                edges => count(graph, edges, "LessOrEqual", &x),
            };
            parts.push(one_hot(graph, &bin, edges.len() + 1));
        }
        (None, curve) => {
            let is_plain = column.mean == 0.0 && column.scale == 1.0;
            match curve {
                Some(Curve::Quantile { quantiles, normal }) => {
                    x = share(graph, quantiles, *normal, &x);
                    if *normal && is_plain {
                        normals.push(place);
                    } else if *normal {
                        x = normal_quantile(graph, &x);
                    }
                }
                Some(Curve::Log1p { least }) => x = log1p(graph, *least, &x),
                Some(Curve::YeoJohnson { lambda }) => x = yeo_johnson(graph, *lambda, &x),
                None => {}
            }
            if !is_plain {
                let centred = graph.with("Sub", &x, column.mean);
                x = graph.with("Div", &centred, column.scale);
            }
            parts.push(x);
        }
    }
    if column.indicator {
        parts.push(graph.cast(&missing, DOUBLE));
    }
    Ok(())
}

/// How many of `values` are below `x` (`Less`), or not above it (`LessOrEqual`): `[rows, 1]`.
fn count(graph: &mut Graph, values: &[f64], op: &str, x: &str) -> Name {
    let values = graph.doubles(&[1, values.len()], values);
    let each = graph.node(op, &[&values, x]);
    let each = graph.cast(&each, INT64);
    let axes = graph.integers(&[1], &[1]);
    graph.node("ReduceSum", &[&each, &axes])
}

/// 1 at the place, 0 elsewhere: `[rows, width]`. A place of `width` is none.
fn one_hot(graph: &mut Graph, place: &str, width: usize) -> Name {
    let depth = graph.integers(&[1], &[width as i64]);
    let values = graph.floats(&[2], &[0.0, 1.0]);
    let hot = graph.node("OneHot", &[place, &depth, &values]);
    let hot = graph.squeeze(&hot);
    graph.cast(&hot, DOUBLE)
}

fn log1p(graph: &mut Graph, least: f64, x: &str) -> Name {
    let low = graph.double(-1.0);
    let has_one = graph.node("Greater", &[x, &low]);
    let least = graph.double(least);
    let x = graph.node("Where", &[&has_one, x, &least]);
    let x = graph.with("Add", &x, 1.0);
    graph.node("Log", &[&x])
}

fn yeo_johnson(graph: &mut Graph, lambda: f64, x: &str) -> Name {
    let size = graph.node("Abs", &[x]);
    let size = graph.with("Add", &size, 1.0);
    let log = graph.node("Log", &[&size]);
    let mut power = |exponent: f64| {
        if exponent.abs() < f64::EPSILON {
            return log.clone();
        }
        let x = graph.with("Mul", &log, exponent);
        let x = graph.node("Exp", &[&x]);
        let x = graph.with("Sub", &x, 1.0);
        graph.with("Div", &x, exponent)
    };
    let (above, below) = (power(lambda), power(2.0 - lambda));
    let below = graph.node("Neg", &[&below]);
    let zero = graph.double(0.0);
    let is_below = graph.node("Less", &[x, &zero]);
    graph.node("Where", &[&is_below, &below, &above])
}

/// The share of training rows below `x`, kept off 0 and 1 where it is to become a quantile.
fn share(graph: &mut Graph, quantiles: &[f64], normal: bool, x: &str) -> Name {
    let (Some(first), Some(last)) = (quantiles.first(), quantiles.last()) else {
        return graph.with("Mul", x, 0.0);
    };
    let (lowest, highest) = (graph.double(0.0), graph.double(1.0));
    let (first, last) = (graph.double(*first), graph.double(*last));
    let mut is_first = graph.node("LessOrEqual", &[x, &first]);
    let mut is_last = graph.node("GreaterOrEqual", &[x, &last]);
    if normal {
        let less = graph.with("Sub", x, QUANTILE_THRESHOLD);
        let less = graph.node("Less", &[&less, &first]);
        is_first = graph.node("Or", &[&is_first, &less]);
        let more = graph.with("Add", x, QUANTILE_THRESHOLD);
        let more = graph.node("Greater", &[&more, &last]);
        is_last = graph.node("Or", &[&is_last, &more]);
    }
    let mut share = highest.clone();
    if quantiles.len() > 1 {
        let step = 1.0 / (quantiles.len() - 1) as f64;
        let below = count(graph, quantiles, "Less", x);
        let not_above = count(graph, quantiles, "LessOrEqual", x);
        let between = graph.node("Equal", &[&below, &not_above]);
        // Outside of the quantiles the places do not matter, but must be there.
        let (zero, most) =
            (graph.integers(&[], &[0]), graph.integers(&[], &[quantiles.len() as i64 - 1]));
        let one = graph.integers(&[], &[1]);
        let before = graph.node("Sub", &[&below, &one]);
        let at_low = graph.node("Clip", &[&before, &zero, &most]);
        let at_high = graph.node("Clip", &[&below, &zero, &most]);
        let table = graph.doubles(&[quantiles.len()], quantiles);
        let low = graph.node("Gather", &[&table, &at_low]);
        let high = graph.node("Gather", &[&table, &at_high]);
        let above = graph.node("Sub", &[x, &low]);
        let gap = graph.node("Sub", &[&high, &low]);
        let part = graph.node("Div", &[&above, &gap]);
        let before = graph.cast(&before, DOUBLE);
        let inside = graph.node("Add", &[&before, &part]);
        let ends = graph.node("Add", &[&below, &not_above]);
        let ends = graph.node("Sub", &[&ends, &one]);
        let ends = graph.cast(&ends, DOUBLE);
        let tied = graph.with("Div", &ends, 2.0);
        let found = graph.node("Where", &[&between, &inside, &tied]);
        share = graph.with("Mul", &found, step);
    }
    let share = graph.node("Where", &[&is_last, &highest, &share]);
    let share = graph.node("Where", &[&is_first, &lowest, &share]);
    if !normal {
        return share;
    }
    let low = graph.double(QUANTILE_THRESHOLD);
    let high = graph.double(1.0 - QUANTILE_THRESHOLD);
    graph.node("Clip", &[&share, &low, &high])
}

/// The quantile function of the normal distribution (algorithm AS 241), of shares off 0 and 1.
fn normal_quantile(graph: &mut Graph, p: &str) -> Name {
    let [centre, middle, far] = NORMAL_QUANTILE;
    let q = graph.with("Sub", p, 0.5);
    let square = graph.node("Mul", &[&q, &q]);
    let from = graph.double(0.180625);
    let r = graph.node("Sub", &[&from, &square]);
    let near = ratio(graph, &r, &centre);
    let near = graph.node("Mul", &[&q, &near]);

    let zero = graph.double(0.0);
    let is_low = graph.node("Less", &[&q, &zero]);
    let one = graph.double(1.0);
    let rest = graph.node("Sub", &[&one, p]);
    let tail = graph.node("Where", &[&is_low, p, &rest]);
    let tail = graph.node("Log", &[&tail]);
    let tail = graph.node("Neg", &[&tail]);
    let r = graph.node("Sqrt", &[&tail]);
    let inner = graph.with("Sub", &r, 1.6);
    let inner = ratio(graph, &inner, &middle);
    let outer = graph.with("Sub", &r, 5.0);
    let outer = ratio(graph, &outer, &far);
    let five = graph.double(5.0);
    let is_inner = graph.node("LessOrEqual", &[&r, &five]);
    let size = graph.node("Where", &[&is_inner, &inner, &outer]);
    let opposite = graph.node("Neg", &[&size]);
    let signed = graph.node("Where", &[&is_low, &opposite, &size]);

    let distance = graph.node("Abs", &[&q]);
    let border = graph.double(0.425);
    let is_near = graph.node("LessOrEqual", &[&distance, &border]);
    graph.node("Where", &[&is_near, &near, &signed])
}

/// A numerator and a denominator in `r`, from the highest power down.
fn ratio(graph: &mut Graph, r: &str, terms: &[[f64; 8]; 2]) -> Name {
    let [above, below] = terms.map(|terms| {
        let mut sum = graph.double(terms[0]);
        for term in &terms[1..] {
            sum = graph.node("Mul", &[&sum, r]);
            sum = graph.with("Add", &sum, *term);
        }
        sum
    });
    graph.node("Div", &[&above, &below])
}

fn category(graph: &mut Graph, column: &FittedCategory) -> Result<Name> {
    let name = &column.name;
    if column.forward_fill {
        return Err(refuse(format!(
            "`impute = \"forward_fill\"` of column `{name}`, which looks at the row before"
        )));
    }
    if column.encode == Encode::Hash {
        return Err(refuse(format!("`encode = \"hash\"` of column `{name}`")));
    }
    // Places: the levels, one for rare and unknown ones, one for missing values.
    let levels = column.levels.len();
    let unknown = column.rare.then_some(levels);
    let missing = column.missing.or(unknown);
    let own = levels + usize::from(column.rare);
    let places = own + usize::from(column.missing == Some(own));
    let id = |place: Option<usize>| match column.encode {
        Encode::Ordinal => place.map_or(-1, |place| place as i64),
        Encode::Embedding => place.filter(|p| *p < own).map_or(0, |place| place as i64 + 1),
        _ => place.unwrap_or(places) as i64,
    };
    let empty = column.levels.iter().position(|level| level.is_empty());
    if empty.is_some() && empty != missing {
        return Err(refuse(format!(
            "the empty name among the values of column `{name}` beside a missing value"
        )));
    }
    let doc = format!(
        "one of {}, as written here; empty where it is missing",
        column.levels.iter().take(12).cloned().collect::<Vec<_>>().join(", ")
    );
    let input = graph.input(name, STRING, &[1], doc);
    let no_level = empty.is_none().then_some("");
    let keys = column.levels.iter().map(String::as_str).chain(no_level);
    let ids = (0..levels).map(Some).chain(no_level.map(|_| missing));
    let encode = vec![
        strings("keys_strings", keys),
        ints("values_int64s", ids.map(id).collect()),
        int("default_int64", id(unknown)),
    ];
    let place = graph.node_with("LabelEncoder", &[&input], encode);
    Ok(match column.encode {
        Encode::OneHot if places == 0 => graph.doubles(&[1, 0], &[]),
        Encode::OneHot => one_hot(graph, &place, places),
        Encode::Ordinal | Encode::Embedding => graph.cast(&place, DOUBLE),
        Encode::Frequency | Encode::Target => {
            let [mean, scale] = column.units.unwrap_or([0.0, 1.0]);
            let values: Vec<f64> = column.values.iter().map(|v| (v - mean) / scale).collect();
            let table = graph.doubles(&[places + 1, values.len() / (places + 1)], &values);
            let found = graph.node("Gather", &[&table, &place]);
            graph.squeeze(&found)
        }
        Encode::Hash => unreachable!("refused above"),
    })
}

/// The numbers, then the products of those at the given places.
fn products(graph: &mut Graph, numbers: &str, products: &[Vec<usize>]) -> Name {
    let mut parts = vec![numbers.to_string()];
    // Products of as many factors follow each other.
    for same in products.chunk_by(|a, b| a.len() == b.len()) {
        let factor = |graph: &mut Graph, at: usize| {
            let places: Vec<usize> = same.iter().map(|factors| factors[at]).collect();
            graph.columns(numbers, &places)
        };
        let mut product = factor(graph, 0);
        for at in 1..same[0].len() {
            let next = factor(graph, at);
            product = graph.node("Mul", &[&product, &next]);
        }
        parts.push(product);
    }
    graph.beside(&parts)
}

/// Pixels, normalised per channel.
fn pixels(graph: &mut Graph, image: &FittedImage) -> Name {
    let channels = usize::from(image.channels);
    let shape = [channels, image.height as usize, image.width as usize];
    let colour = if channels == 1 {
        "grey"
    } else {
        "red, green, blue"
    };
    let doc = format!(
        "the pixels of a decoded image of {}x{} pixels (height by width), {colour}, 0 to 255",
        image.height, image.width
    );
    let input = graph.input(&image.name, UINT8, &shape, doc);
    let x = graph.cast(&input, FLOAT);
    let whole = graph.floats(&[], &[255.0]);
    let x = graph.node("Div", &[&x, &whole]);
    let mean = graph.floats(&[1, channels, 1, 1], &image.mean);
    let x = graph.node("Sub", &[&x, &mean]);
    let std = graph.floats(&[1, channels, 1, 1], &image.std);
    graph.node("Div", &[&x, &std])
}
