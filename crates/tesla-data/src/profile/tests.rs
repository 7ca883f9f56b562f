use super::*;
use crate::config::{ColumnConfig, CsvConfig};
use crate::source::{CsvSource, ImageFolder, Input, open};

fn of(text: &str, target: Option<&str>) -> Profile {
    let input = Input::from_bytes("t.csv", text.as_bytes());
    let source = CsvSource::open(input, CsvConfig::default()).unwrap();
    let frame = Frame::read_all(Box::new(source)).unwrap();
    let data = DataConfig {
        target: target.map(String::from),
        ..Default::default()
    };
    profile(&frame, &data, &Default::default()).unwrap()
}

/// The columns that a kind of warning is about.
fn warned(profile: &Profile, kind: WarningKind) -> Vec<&str> {
    let of_kind = profile.warnings.iter().filter(|warning| warning.kind == kind);
    of_kind
        .map(|warning| warning.column.as_deref().unwrap_or_default())
        .collect()
}

#[test]
fn a_table_by_hand() {
    let p = of("x,city,y\n1,a,no\n2,b,yes\n,a,no\n4,a,yes\n4,a,yes\n5\n", Some("y"));
    assert_eq!((p.rows, p.quarantined, p.duplicates), (5, 1, 1));
    assert_eq!((p.target.as_deref(), p.task), (Some("y"), Some(Task::Classification)));
    assert_eq!(p.reasons[0].first, "`t.csv` line 7");

    let [x, city, y] = p.columns.as_slice() else {
        panic!("three columns")
    };
    assert_eq!(
        (x.kind, x.missing, x.distinct),
        (
            ColumnKind::Numeric,
            1,
            Distinct {
                count: 3,
                exact: true
            }
        )
    );
    let n = x.numbers.as_ref().unwrap();
    assert_eq!((n.mean, n.min, n.p25, n.p50, n.p75, n.max), (2.75, 1.0, 1.75, 3.0, 4.0, 4.0));
    assert!((n.std.unwrap() - 1.5).abs() < 1e-12);
    assert_eq!((n.whole, &n.histogram.counts[..]), (true, &[1, 1, 0, 2][..]));
    // {1} against {2, 4, 4}: within 8/3, total 6.75; 1 - (8/3 / 2) / (6.75 / 3).
    let eta = x.relation.unwrap();
    assert_eq!(eta.measure, Measure::CorrelationRatio);
    assert!((eta.value - (1.0f64 - (4.0 / 3.0) / 2.25).sqrt()).abs() < 1e-12);

    let level = |value: &str, count| Level {
        value: value.into(),
        count,
    };
    assert_eq!(city.top, [level("a", 4), level("b", 1)]);
    assert_eq!(city.relation.unwrap().measure, Measure::CramersV);
    assert_eq!((y.role, y.kind), (Role::Target, ColumnKind::Category));
    assert_eq!((&y.top, y.relation), (&vec![level("yes", 3), level("no", 2)], None));
    let back: Profile = serde_json::from_str(&serde_json::to_string(&p).unwrap()).unwrap();
    assert_eq!(back, p);
}

/// The figures of `benches/peers/describe.py`.
#[test]
fn diabetes_is_described_as_pandas_does() {
    let text = include_str!("../../../../datasets/diabetes/diabetes.csv");
    let expected: serde_json::Value =
        serde_json::from_str(include_str!("../../../../benches/peers/describe.json")).unwrap();
    let p = of(text, Some("progression"));
    assert_eq!((p.columns.len(), p.task), (11, Some(Task::Regression)));
    for column in &p.columns {
        let n = column.numbers.as_ref().unwrap();
        let pearson = column.relation.map_or(1.0, |relation| relation.value);
        let figures = [
            ("count", (p.rows - column.missing) as f64),
            ("mean", n.mean),
            ("std", n.std.unwrap()),
            ("min", n.min),
            ("1%", n.p1),
            ("5%", n.p5),
            ("25%", n.p25),
            ("50%", n.p50),
            ("75%", n.p75),
            ("95%", n.p95),
            ("99%", n.p99),
            ("max", n.max),
            ("distinct", column.distinct.count as f64),
            ("pearson", pearson),
        ];
        for (name, found) in figures {
            let expected = expected["columns"][&column.name][name].as_f64().unwrap();
            let close = (found - expected).abs() <= 1e-12 * expected.abs().max(1.0);
            assert!(close, "{} {name}: {found} is not {expected}", column.name);
        }
    }
    assert_eq!(p.warnings, []);
}

/// Rows of which each warning has a column to find.
fn suspicious() -> String {
    let mut text = String::from("id,code,leak,double,one,empty,rare,x,y\n");
    for i in 0..200 {
        let y = i % 10 == 3;
        let leak = if y { ["a", "b"][i % 2] } else { "c" };
        let rare = if i % 4 == 0 { "seen" } else { "" };
        let double = if y { 900 } else { i % 7 };
        text += &format!("{i},k{i:05},{leak},{double},1,,{rare},{},{}\n", i * i % 23, u8::from(y));
    }
    text
}

#[test]
fn what_is_suspicious_is_named() {
    let p = of(&suspicious(), Some("y"));
    assert_eq!(warned(&p, WarningKind::PerfectPredictor), ["leak", "double"]);
    assert_eq!(warned(&p, WarningKind::Constant), ["one", "empty"]);
    assert_eq!(warned(&p, WarningKind::IdLike), ["id", "code"]);
    assert_eq!(warned(&p, WarningKind::MostlyMissing), ["rare"]);
    assert_eq!(warned(&p, WarningKind::Imbalance), Vec::<&str>::new());
    assert_eq!(p.warnings[0].kind, WarningKind::PerfectPredictor);
    assert_eq!(
        p.warnings[0].message,
        "`leak` alone tells the target: drop the column, unless it is known when it is time to predict"
    );
}

#[test]
fn a_number_that_is_the_target_in_another_unit_is_suspicious() {
    let mut text = String::from("same,log,noise,y\n");
    for i in 1..100 {
        let y = f64::from(i) + f64::from(i * 7 % 11) / 100.0;
        text += &format!("{},{},{},{y}\n", y * 1.8 + 32.0, y.powi(9), i * 37 % 101);
    }
    let p = of(&text, Some("y"));
    assert_eq!(warned(&p, WarningKind::PerfectPredictor), ["same", "log"]);
}

#[test]
fn a_value_that_gives_a_rare_class_away_is_suspicious() {
    let mut text = String::from("cause,x,failed\n");
    for i in 0..1000 {
        let failed = i % 20 == 0;
        text +=
            &format!("{},{},{}\n", u8::from(failed && i % 40 == 0), i * 37 % 101, u8::from(failed));
    }
    let p = of(&text, Some("failed"));
    assert_eq!(warned(&p, WarningKind::PerfectPredictor), ["cause"]);
    assert!(
        p.warnings[0].message.starts_with("a value of `cause` alone tells"),
        "{:?}",
        p.warnings[0]
    );
}

#[test]
fn imbalance_names_both_ends() {
    let mut text = String::from("x,y\n");
    (0..99).for_each(|i| text += &format!("{},no\n", i * 31 % 17));
    text += "5,yes\n";
    let p = of(&text, Some("y"));
    let warning = p.warnings.iter().find(|w| w.kind == WarningKind::Imbalance).unwrap();
    assert_eq!(
        warning.message,
        "the classes of `y` are uneven: the commonest has 99 rows (99 %), the rarest 1; judge a model by more than its accuracy"
    );
}

#[test]
fn texts_have_lengths_and_kinds_can_be_said() {
    let text: String = std::iter::once("t\n".to_string())
        .chain((0..30).map(|i| format!("word {}\n", "é".repeat(i % 5) + &i.to_string())))
        .collect();
    let p = of(&text, None);
    let column = &p.columns[0];
    assert_eq!(column.kind, ColumnKind::Text);
    let lengths = column.lengths.as_ref().unwrap();
    assert_eq!((lengths.min, lengths.max), (6.0, 11.0));
    assert!(column.top.is_empty() && column.note.is_some() && p.warnings.is_empty(), "{p:?}");

    let input = Input::from_bytes("t.csv", text.as_bytes());
    let frame =
        Frame::read_all(Box::new(CsvSource::open(input, CsvConfig::default()).unwrap())).unwrap();
    let said = ColumnConfig {
        kind: Some(ColumnKind::Category),
        ..Default::default()
    };
    let p = profile(&frame, &Default::default(), &[("t".to_string(), said)].into()).unwrap();
    assert_eq!((p.columns[0].kind, p.columns[0].lengths.is_none()), (ColumnKind::Category, true));
}

#[test]
fn images_have_sizes_and_repeat_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        let class = folder.path().join(class);
        std::fs::create_dir(&class).unwrap();
        for (i, side) in [2, 2, 3].into_iter().enumerate() {
            image::GrayImage::new(side, 4)
                .save(class.join(format!("{i}.png")))
                .unwrap();
        }
    }
    std::fs::write(folder.path().join("b/broken.png"), "no image").unwrap();
    let frame = Frame::read_all(Box::new(ImageFolder::open(folder.path()).unwrap())).unwrap();
    let p = profile(&frame, &Default::default(), &Default::default()).unwrap();
    assert_eq!(p.target.as_deref(), Some("label"));
    let column = &p.columns[1];
    let images = column.images.as_ref().unwrap();
    assert_eq!((images.sizes[0].value.as_str(), images.sizes[0].count), ("2x4", 4));
    assert_eq!((images.distinct_sizes, images.unreadable, p.quarantined), (2, 0, 1));
    assert_eq!(
        images.formats,
        [Level {
            value: "Png".into(),
            count: 6
        }]
    );
    assert_eq!(column.distinct.count, 2);
    assert_eq!(p.warnings[0].kind, WarningKind::Quarantined);
    assert_eq!(warned(&p, WarningKind::Duplicates), ["image"]);

    let digits =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/digits/digits-images-idx3-ubyte");
    let frame = Frame::read_all(open(digits.as_ref(), &DataConfig::default()).unwrap()).unwrap();
    let p = profile(&frame, &Default::default(), &Default::default()).unwrap();
    let images = p.columns.iter().find_map(|column| column.images.as_ref()).unwrap();
    assert_eq!((images.sizes[0].value.as_str(), images.sizes[0].count), ("8x8", 1797));
}

#[test]
fn what_does_not_exist_is_said() {
    let input = Input::from_bytes("t.csv", "age,y\n1,2\n".as_bytes());
    let frame =
        Frame::read_all(Box::new(CsvSource::open(input, CsvConfig::default()).unwrap())).unwrap();
    let data = DataConfig {
        target: Some("agee".into()),
        ..Default::default()
    };
    let error = profile(&frame, &data, &Default::default()).unwrap_err().to_string();
    assert_eq!(error, "no column `agee` in `t.csv` (did you mean `age`?): it has `age`, `y`");
}

#[test]
fn a_file_without_a_header_and_numbers_out_of_this_world() {
    let rows: String = (0..40)
        .map(|i| format!("{}.5,{},{}\n", i, i % 7, ["a", "b"][i % 2]))
        .collect();
    let p = of(&format!("3.5,2,a\n{rows}"), None);
    assert_eq!(warned(&p, WarningKind::NoHeader), [""]);
    assert!(p.warnings[0].message.contains("called `3.5`, `2`, `a`"), "{:?}", p.warnings[0]);
    // Years may be names of columns, and one name alone may be a value.
    for header in ["2019,2020,a", "x,y,a"] {
        assert_eq!(warned(&of(&format!("{header}\n{rows}"), None), WarningKind::NoHeader), [""; 0]);
    }
    let p = of(&format!("x,n,c\n{rows}-1e308,1,a\n1e308,2,b\n"), None);
    assert_eq!(warned(&p, WarningKind::Extreme), ["x"]);
    assert!(
        p.warnings
            .iter()
            .any(|w| w.message.starts_with("`x` goes from -1e308 to 1e308: "))
    );
    assert_eq!(warned(&of(&format!("x,n,c\n{rows}"), None), WarningKind::Extreme), [""; 0]);
}
