use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::{ColumnConfig, CsvConfig, DataConfig};
use crate::samples::Samples;
use crate::source::{CsvSource, Input};
use crate::{FittedPipeline, Frame, Pipeline};

fn array(texts: &[impl AsRef<str>]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn fit_in(config: &TextConfig, texts: &[impl AsRef<str>], batch: usize) -> Result<FittedText> {
    let mut fit = TextFit::new("t", config)?;
    for texts in texts.chunks(batch) {
        fit.update(&array(texts))?;
    }
    fit.finish()
}

fn fit(config: &TextConfig, texts: &[impl AsRef<str>]) -> FittedText {
    fit_in(config, texts, usize::MAX).unwrap()
}

fn encoded(encode: TextEncoding) -> TextConfig {
    TextConfig {
        encode: Some(encode),
        ..Default::default()
    }
}

/// One configuration of each encoding.
fn configs() -> [TextConfig; 4] {
    [
        TextConfig {
            ngrams: [1, 2],
            also: Some(AlsoTerms {
                analyzer: Analyzer::CharWb,
                ngrams: [2, 4],
            }),
            max_terms: Some(30),
            accents: Accents::Strip,
            ..Default::default()
        },
        TextConfig {
            hash_size: 64,
            norm: Norm::L1,
            ..encoded(TextEncoding::Hash)
        },
        encoded(TextEncoding::Words),
        TextConfig {
            vocabulary: 300,
            ..encoded(TextEncoding::Subwords)
        },
    ]
}

#[test]
fn bags_equal_those_of_scikit_learn() {
    #[derive(Deserialize)]
    struct Reference {
        texts: Vec<String>,
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        name: String,
        config: TextConfig,
        texts: usize,
        terms: Vec<String>,
        rows: Vec<(Vec<u32>, Vec<f64>)>,
    }

    let reference: Reference =
        serde_json::from_str(include_str!("../../../../../benches/peers/text.json")).unwrap();
    for case in reference.cases {
        let texts = &reference.texts[..case.texts];
        let fitted = fit(&case.config, texts);
        if case.config.encoding() != TextEncoding::Hash {
            assert_eq!(fitted.names(), case.terms, "{}", case.name);
        }
        let matrix = fitted.matrix(&array(texts)).unwrap();
        assert_eq!(matrix.rows(), case.rows.len(), "{}", case.name);
        for (row, (columns, values)) in case.rows.iter().enumerate() {
            let (found_columns, found) = matrix.row(row);
            assert_eq!(found_columns, columns, "{}: {:?}", case.name, texts[row]);
            for (found, expected) in std::iter::zip(found, values) {
                assert!((found - expected).abs() < 1e-6, "{}: {:?}", case.name, texts[row]);
            }
        }
    }
}

#[test]
fn words_are_numbered_by_how_often_they_are_seen() {
    let texts = ["to be or not to be", "not me", ""];
    let fitted = fit(&encoded(TextEncoding::Words), &texts);
    // Equally frequent words come by name: be, not, to, me, or.
    let tokens = fitted.transform(&array(&["Or NOT to see a", ""])).unwrap();
    assert_eq!((tokens.vocabulary, tokens.length), (7, 6));
    assert_eq!(tokens.row(0), (&[6, 3, 4, 1][..], None));
    assert_eq!(tokens.row(1), (&[][..], None));
    let short = TextConfig {
        length: Some(2),
        max_terms: Some(2),
        ..encoded(TextEncoding::Words)
    };
    let tokens = fit(&short, &texts).transform(&array(&texts)).unwrap();
    assert_eq!(tokens.row(0).0, [1, 2]);
    assert_eq!((tokens.vocabulary, tokens.length), (4, 2));
}

#[test]
fn subwords_spell_what_training_did_not_see() {
    let texts = ["low lower lowest", "new newer newest", "wide wider widest"].repeat(5);
    let config = TextConfig {
        vocabulary: 290,
        ..encoded(TextEncoding::Subwords)
    };
    let fitted = fit(&config, &texts);
    // Once every word is one part there is nothing left to merge.
    assert_eq!(fitted.vocabulary(), 278);
    let tokens = fitted.transform(&array(&["lower", "slower", "日本 🙂"])).unwrap();
    assert_eq!(tokens.row(0).0.len(), 1);
    assert!(tokens.ids.iter().all(|id| (2..278).contains(id)), "{tokens:?}");
    assert!(tokens.row(1).0.len() > 1 && tokens.row(2).0.len() <= fitted.width());
}

#[test]
fn training_subwords_again_gives_the_same() {
    let texts: Vec<String> = (0..400u64)
        .map(|i| {
            let word = |k: u64| (i * k % 97).to_string() + &"abcab".repeat((i * k % 3) as usize);
            format!("{} {} {}", word(7), word(31), word(53))
        })
        .collect();
    let config = TextConfig {
        vocabulary: 1000,
        ..encoded(TextEncoding::Subwords)
    };
    let first = serde_json::to_string(&fit(&config, &texts)).unwrap();
    for _ in 0..8 {
        assert!(serde_json::to_string(&fit(&config, &texts)).unwrap() == first);
    }
}

#[test]
fn missing_and_strange_texts_are_empty_or_unknown() {
    let train = array(&["a word", "another word"]);
    let strange: ArrayRef = Arc::new(StringArray::from(vec![
        None,
        Some(""),
        Some("\0 \u{feff}"),
        Some("nothing known"),
    ]));
    for config in configs() {
        let mut fit = TextFit::new("t", &config).unwrap();
        fit.update(&train).unwrap();
        let fitted = fit.finish().unwrap();
        let tokens = fitted.transform(&strange).unwrap();
        assert_eq!((tokens.rows(), tokens.row(0).0.len(), tokens.row(1).0.len()), (4, 0, 0));
        assert!(tokens.weights.iter().flatten().all(|w| w.is_finite()));
        assert!(tokens.ids.iter().all(|id| (*id as usize) < tokens.vocabulary));
        assert_eq!(fitted.names().len(), fitted.width());
    }
}

#[test]
fn a_long_document_takes_time_with_its_length() {
    let long = "lorem ipsum dolor ".repeat(50_000) + &"x".repeat(1 << 20);
    let texts = [long.as_str(), "lorem"];
    for config in configs() {
        // A word of 1 MB would take hours if its length counted squared.
        let start = Instant::now();
        let fitted = fit(&config, &texts);
        let tokens = fitted.transform(&array(&texts)).unwrap();
        assert_eq!(tokens.rows(), 2);
        assert!(start.elapsed() < Duration::from_secs(120), "{:?}", config.encoding());
    }
}

/// Samples of a table of which every text column is a feature, as `text` says.
fn samples(table: &str, text: &[(&str, TextConfig)]) -> Result<(FittedPipeline, Samples)> {
    let input = Input::from_bytes("t.csv", table.as_bytes());
    let source = CsvSource::open(input, CsvConfig::default())?;
    let frame = Frame::read_all(Box::new(source))?;
    let data = DataConfig {
        target: Some("y".into()),
        ..Default::default()
    };
    let column = |(name, text): &(&str, TextConfig)| {
        let config = ColumnConfig {
            kind: Some(ColumnKind::Text),
            text: Some(text.clone()),
            ..Default::default()
        };
        (name.to_string(), config)
    };
    let columns: ColumnConfigs = text.iter().map(column).collect();
    let contract = Contract::infer(&frame, &data, &columns)?;
    let frame = frame.settle(&contract, &Default::default())?;
    let fitted = Pipeline::new(&contract, &columns)?.fit(&frame.all())?;
    let samples = fitted.collect(&frame.all())?;
    Ok((fitted, samples))
}

#[test]
fn a_table_of_texts_becomes_samples() {
    let counts = TextConfig {
        norm: Norm::None,
        ..Default::default()
    };
    let table = "a,b,y\nfree tea,no,yes\n,no way,no\n";
    let both = [("a", counts.clone()), ("b", counts)];
    let (fitted, rows) = samples(table, &both).unwrap();
    assert_eq!(fitted.feature_names(), ["a:word:free", "a:word:tea", "b:word:no", "b:word:way"]);
    assert_eq!((rows.inputs.row_shape(), rows.target.classes().unwrap()), (vec![4], &[1, 0][..]));
    // A term in one of two rows weighs ln(3 / 2) + 1, one in both weighs 1.
    let rare = (1.5f64.ln() + 1.0) as f32;
    let dense = rows.inputs.gather(&[1, 0]).unwrap();
    assert_eq!(dense, [0.0, 0.0, 1.0, rare, rare, rare, 1.0, 0.0]);

    let json = serde_json::to_string(&fitted).unwrap();
    assert_eq!(serde_json::from_str::<FittedPipeline>(&json).unwrap(), fitted);

    let words = encoded(TextEncoding::Words);
    let (fitted, rows) = samples("a,y\nfree tea,yes\ntea,no\n", &[("a", words.clone())]).unwrap();
    assert_eq!(fitted.feature_names(), ["a:0", "a:1"]);
    assert_eq!(rows.inputs.gather(&[0, 1]).unwrap(), [3.0, 2.0, 2.0, 0.0]);

    let parts = encoded(TextEncoding::Subwords);
    let (fitted, _) = samples("a,y\nfree tea,yes\ntea,no\n", &[("a", parts)]).unwrap();
    let json = serde_json::to_string(&fitted).unwrap();
    assert_eq!(serde_json::from_str::<FittedPipeline>(&json).unwrap(), fitted);

    let refused = |table: &str, text: &[_]| samples(table, text).err().unwrap().to_string();
    let error = refused(table, &[("a", words.clone()), ("b", words.clone())]);
    assert!(error.contains("`a` becomes a sequence"), "{error}");
    let error = refused("a,x,y\nto be,1,u\nor not,2,v\n", &[("a", words)]);
    assert!(error.contains("put `a` or `x` in `drop`"), "{error}");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let refused = |config: &str| {
        let config: TextConfig = serde_json::from_str(config).unwrap();
        fit_in(&config, &["a text"], 1).unwrap_err().to_string()
    };
    assert_eq!(
        refused(r#"{"ngrams": [2, 1]}"#),
        "column `t`: `text.ngrams` is [2, 1]: expected the least and the most in a term, from 1 to 20"
    );
    assert_eq!(
        refused(r#"{"encode": "words", "sublinear": true}"#),
        "column `t`: `text.sublinear` has no effect where `encode` is `words`: remove it, or encode by `tfidf`"
    );
    assert!(refused(r#"{"min_count": 0}"#).contains("is 0: expected at least 1"));
    assert!(refused(r#"{"encode": "subwords", "vocabulary": 9}"#).contains("from 258 to"));
    assert!(refused(r#"{"min_count": 2}"#).contains("no term is left"));
    assert!(serde_json::from_str::<TextConfig>(r#"{"ngram": [1, 2]}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_and_json_change_nothing(
        texts in prop::collection::vec("[a-cA-Cé ]{0,12}|\\PC{0,8}", 1..40),
        batch in 1usize..12,
    ) {
        for config in configs() {
            let Ok(whole) = fit_in(&config, &texts, usize::MAX) else {
                // No text has a word.
                prop_assert!(fit_in(&config, &texts, batch).is_err());
                continue;
            };
            prop_assert_eq!(&fit_in(&config, &texts, batch).unwrap(), &whole);
            let json = serde_json::to_string(&whole).unwrap();
            let loaded: FittedText = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&loaded, &whole);
            let tokens = whole.transform(&array(&texts)).unwrap();
            prop_assert_eq!(&loaded.transform(&array(&texts)).unwrap(), &tokens);
            let mut parts = loaded.transform(&array(&texts[..0])).unwrap();
            for texts in texts.chunks(batch) {
                parts.append(loaded.transform(&array(texts)).unwrap());
            }
            prop_assert_eq!(parts, tokens);
        }
    }
}
