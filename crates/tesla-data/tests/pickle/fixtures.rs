//! Files that `make.py` wrote, and the tables they are.

use std::path::Path;

use tesla_data::arrow::array::{Array, AsArray, RecordBatch};

use super::{load, names, texts};

/// A file per protocol that holds the same table; or, after `! `, the start of the reason why none.
fn check(stem: &str, protocols: &[u8], expected: &str) {
    let files: Vec<String> = match protocols {
        [] => vec![stem.to_string()],
        _ => protocols.iter().map(|p| format!("{stem}.p{p}.pkl")).collect(),
    };
    for file in files {
        let shown = shown(&file);
        match expected.strip_prefix("! ") {
            Some(reason) => {
                let start = format!("`{file}` {reason}");
                assert!(shown.starts_with(&start), "{file}: {shown}");
                assert!(shown.contains(": "), "{file}: no word of what to do in {shown}");
            }
            None => assert_eq!(shown, expected, "{file}"),
        }
    }
}

/// One line a column: name, type, values; or the reason why there is none.
fn shown(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pickle/fixtures")
        .join(name);
    let rows: RecordBatch = match load(&path) {
        Ok(rows) => rows,
        Err(error) => return error.to_string(),
    };
    let line = |name: String| {
        let values = rows.column_by_name(&name).unwrap();
        let shown = match values.as_binary_opt::<i64>() {
            Some(images) => images.iter().map(|i| format!("{:?}…", &i.unwrap()[..6])).collect(),
            None => texts(&rows, &name),
        };
        let metadata = rows.schema().field_with_name(&name).unwrap().metadata().clone();
        let layout: String = metadata.values().map(|v| format!(" {v}")).collect();
        format!("{name}: {}{layout} {}", values.data_type(), shown.join("|"))
    };
    names(&rows).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn frames_of_pandas_1_and_3() {
    check(
        "pandas0-layout",
        &[4],
        "\
whole: Int64 1||3
small: UInt8 1|2|3
single: Float32 1.0|2.0|
text: Utf8 x||z",
    );
    check(
        "pandas1-bunch",
        &[2, 4],
        "\
alcohol: Float64 14.23|13.2|13.16
malic_acid: Float64 1.71|1.78|2.36
ash: Float64 2.43|2.14|2.67
alcalinity_of_ash: Float64 15.6|11.2|18.6
magnesium: Float64 127.0|100.0|101.0
total_phenols: Float64 2.8|2.65|2.8
flavanoids: Float64 3.06|2.76|3.24
nonflavanoid_phenols: Float64 0.28|0.26|0.3
proanthocyanins: Float64 2.29|1.28|2.81
color_intensity: Float64 5.64|4.38|5.68
hue: Float64 1.04|1.05|1.03
od280/od315_of_diluted_wines: Float64 3.92|3.4|3.17
proline: Float64 1065.0|1050.0|1185.0
label: Int64 0|0|0",
    );
    check(
        "pandas1-date_index",
        &[4],
        "\
index: Timestamp(ns) 2020-01-01T00:00:00|2020-01-02T00:00:00
v: Int64 1|2",
    );
    check(
        "pandas1-filtered",
        &[4],
        "\
index: Int64 1|2
small: UInt8 2|3",
    );
    check(
        "pandas1-frame_and_series",
        &[4],
        "\
small: UInt8 1|2|3
7: Int64 1|2|3
target: Int64 0|1|0",
    );
    check(
        "pandas1-kinds",
        &[0, 2, 4, 5],
        "\
whole: Int64 1||3
truth: Boolean true||false
real: Float64 1.5||-2.0
string: Utf8 a||é☃
text: Utf8 x||z
when: Timestamp(ns) 2020-02-29T12:00:00||1912-04-10T00:00:00
zoned: Timestamp(ns, \"+00:00\") 2019-12-31T23:00:00Z|2020-01-01T23:00:00Z|
lasts: Float64 1.5||3.0
level: Utf8 low||high
number_level: Int64 30|10|30
single: Float32 1.0|2.0|
small: UInt8 1|2|3
mixed: Utf8 1|two|3.5
7: Int64 1|2|3",
    );
    check(
        "pandas1-named_index",
        &[0, 2, 4, 5],
        "\
key: Utf8 a|b
v: Int64 1|2",
    );
    check("pandas1-period", &[4], "! calls for `pandas.core.arrays.period.PeriodArray`");
    check(
        "pandas1-reordered",
        &[2, 5],
        "\
text: Utf8 z||x
small: UInt8 3|2|1
whole: Int64 3||1",
    );
    check("pandas1-two_level_columns", &[4], "! has columns in several levels");
    check("pandas1-unnamed_series", &[4], "c1: Float64 1.5|2.5");
    check(
        "pandas3-date_index",
        &[4],
        "\
index: Timestamp(µs) 2020-01-01T00:00:00|2020-01-02T00:00:00
v: Int64 1|2",
    );
    check("pandas3-filtered", &[4], "small: UInt8 2|3");
    check(
        "pandas3-frame_and_series",
        &[4],
        "\
small: UInt8 1|2|3
7: Int64 1|2|3
target: Int64 0|1|0",
    );
    check(
        "pandas3-kinds",
        &[0, 2, 4, 5],
        "\
whole: Int64 1||3
truth: Boolean true||false
real: Float64 1.5||-2.0
string: Utf8 a||é☃
text: Utf8 x||z
when: Timestamp(µs) 2020-02-29T12:00:00||1912-04-10T00:00:00
zoned: Timestamp(µs, \"+00:00\") 2019-12-31T23:00:00Z|2020-01-01T23:00:00Z|
lasts: Float64 1.5||3.0
level: Utf8 low||high
number_level: Int64 30|10|30
single: Float32 1.0|2.0|
small: UInt8 1|2|3
mixed: Utf8 1|two|3.5
7: Int64 1|2|3",
    );
    check(
        "pandas3-named_index",
        &[0, 2, 4, 5],
        "\
key: Utf8 a|b
v: Int64 1|2",
    );
    check("pandas3-period", &[4], "! calls for `pandas.arrays.PeriodArray`");
    check(
        "pandas3-reordered",
        &[2, 5],
        "\
text: Utf8 z||x
small: UInt8 3|2|1
whole: Int64 3||1",
    );
    check("pandas3-two_level_columns", &[4], "! has columns in several levels");
    check("pandas3-unnamed_series", &[4], "c1: Float64 1.5|2.5");
}

#[test]
fn texts_that_pandas_keeps_in_arrays_of_pyarrow() {
    check(
        "arrow-texts",
        &[0, 2, 4, 5],
        "\
key: Utf8 a|b|c|d
text: Utf8 ab|||é☃
n: Int64 1|2|3|4
string: Utf8 ab|||é☃
none: Utf8 |||
level: Utf8 low|high||low
full: Utf8 w|x|y|z",
    );
    check(
        "arrow-sliced",
        &[2, 5],
        "\
text: Utf8 |
full: Utf8 x|y",
    );
    check("arrow-empty", &[4], "text: Utf8 ");
    check(
        "arrow-chunks",
        &[4],
        "\
text: Utf8 ab|||é☃
n: Int64 1|2|3|4",
    );
    check(
        "arrow-numbers",
        &[2, 4],
        "! calls for `pandas.arrays.ArrowExtensionArray`: of the arrays of pyarrow only columns",
    );
    check("arrow-array", &[4], "! holds values that are not columns of one length (`a`");
    // An empty text is not a missing one.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pickle/fixtures");
    let rows = load(&path.join("arrow-texts.p5.pkl")).unwrap();
    assert_eq!(rows["text"].null_count(), 1);
}

#[test]
fn values_of_python() {
    check(
        "pandas3-bunch",
        &[2, 4],
        "\
alcohol: Float64 14.23|13.2|13.16
malic_acid: Float64 1.71|1.78|2.36
ash: Float64 2.43|2.14|2.67
alcalinity_of_ash: Float64 15.6|11.2|18.6
magnesium: Float64 127.0|100.0|101.0
total_phenols: Float64 2.8|2.65|2.8
flavanoids: Float64 3.06|2.76|3.24
nonflavanoid_phenols: Float64 0.28|0.26|0.3
proanthocyanins: Float64 2.29|1.28|2.81
color_intensity: Float64 5.64|4.38|5.68
hue: Float64 1.04|1.05|1.03
od280/od315_of_diluted_wines: Float64 3.92|3.4|3.17
proline: Float64 1065.0|1050.0|1185.0
label: Int64 0|0|0",
    );
    check(
        "pandas3-cifar",
        &[2, 4],
        "\
image: LargeBinary 16x16x3 [0, 0, 0, 1, 1, 1]…|[0, 0, 0, 1, 1, 1]…
label: Int64 3|5
filenames: Utf8 a.png|b.png",
    );
    check("pandas3-counter", &[2], "! holds values that are not columns of one length (`x`");
    check(
        "pandas3-defaultdict",
        &[0, 2, 4, 5],
        "\
a: Int64 1|2
b: Float64 3.0|4.0",
    );
    check("pandas3-function", &[0, 4], "! calls for `numpy.sum`");
    check(
        "pandas3-list_pair",
        &[4],
        "\
x1: Int64 1|3|5
x2: Int64 2|4|6
label: Utf8 u|v|u",
    );
    check(
        "pandas3-lists",
        &[0, 4],
        "\
c1: Int64 1|3
c2: Float64 2.5|4.0
c3: Utf8 a|",
    );
    check(
        "pandas3-png_bytes",
        &[4],
        "\
image: LargeBinary encoded [137, 80, 78, 71, 13, 10]…|[137, 80, 78, 71, 13, 10]…
label: Utf8 a|b",
    );
    check(
        "pandas3-rows",
        &[0, 2, 4, 5],
        "\
a: Int64 1|
b: Utf8 x|naïve
☃
when: Timestamp(µs) 2020-02-29T12:30:01.000005|
day: Timestamp(µs) 1999-12-31T00:00:00|
at: Timestamp(µs, \"+00:00\") 2019-12-31T22:00:00Z|
lasts: Float64 86402.0|
price: Float64 1.25|
stamp: Timestamp(µs) 2021-01-01T00:00:01|
big: Float64 1.1805916207174113e21|-3.0
extra: Boolean |true",
    );
    check("pandas3-train_and_test", &[4], "! holds 2 pairs (X, y), as of training and test");
}

#[test]
fn arrays_of_numpy() {
    check(
        "big_endian.npy",
        &[],
        "\
c1: Int16 1|3
c2: Int16 2|4",
    );
    check(
        "columns.npz",
        &[],
        "\
a: Float32 0.0|2.0|4.0
b: Utf8 u|v|w
c_1: Float32 0.0|2.0|4.0
c_2: Float32 1.0|3.0|5.0",
    );
    check("objects.npy", &[], "c1: Utf8 a|1.5|");
    check(
        "objects.npz",
        &[],
        "\
a: Utf8 u|
b: Int64 1|2",
    );
    check(
        "padded.npy",
        &[],
        "\
f0: UInt8 1
f1: Float64 2.5",
    );
    check(
        "pair.npz",
        &[],
        "\
x1: Float32 0.0|2.0|4.0
x2: Float32 1.0|3.0|5.0
label: Int64 0|1|0",
    );
    check("pandas3-complex", &[4], "! has an array of type `<c16`");
    check("pandas3-days", &[4], "c1: Timestamp(s) 2020-02-29T00:00:00|");
    check(
        "pandas3-float_images",
        &[4],
        "! holds an array of shape [2, 4, 4, 3] that is not of type `uint8`",
    );
    check(
        "pandas3-fortran_objects",
        &[0, 2, 4, 5],
        "\
c1: Utf8 a|b|c
c2: Int64 1|2|3",
    );
    check("pandas3-halves", &[4], "c1: Float32 1.0|-2.5|");
    check("pandas3-months", &[4], "c1: Timestamp(s) 2020-02-01T00:00:00|1969-12-01T00:00:00");
    check(
        "pandas3-planar_images",
        &[5],
        "\
image: LargeBinary 4x5x3 [0, 20, 40, 1, 21, 41]…|[60, 80, 100, 61, 81, 101]…
label: Int64 1|0",
    );
    check(
        "pandas3-record",
        &[4],
        "\
a: Int32 1
b: Float64 2.5",
    );
    check("scalar.npy", &[], "! holds a single value");
    check("split.npz", &[], "! holds training and test rows (`x_train`");
    check(
        "structured.npy",
        &[],
        "\
a: Int32 1
b: Utf8 é
c: Utf8 x",
    );
    check(
        "train.npz",
        &[],
        "\
x1: Float32 0.0|2.0|4.0
x2: Float32 1.0|3.0|5.0
label: Int64 0|1|0",
    );
    check("uneven.npz", &[], "! holds values that are not columns of one length (`a`");
    check("version3.npy", &[], "☃: Int32 1");
}
