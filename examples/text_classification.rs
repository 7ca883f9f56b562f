//! Two kinds of texts: messages that are spam or not, and what a user of an assistant wants.
//!
//! `cargo run --release --example text_classification`, on generated messages that ship with TESLA.
//! With `-- --data DIR`, on the SMS Spam Collection in `DIR/sms-spam` and on CLINC150 in `DIR/clinc150`
//! (`tesla datasets get sms-spam --out DIR`, and so on).

use anyhow::{Context, Result};
use examples::{open, out, serve};
use serde_json::json;
use tesla::evaluate::{Classification, Metrics};
use tesla::{DeviceChoice, Model, train};

fn main() -> Result<()> {
    println!("1. Is a message spam?");
    let spam = learn("messages", "sms-spam")?;
    let figures = figures(&spam)?;
    let of = |label: &str| figures.classes.iter().find(|c| c.label == label);
    let caught = of("spam").context("there is spam")?;
    // Accuracy alone says little where most messages are no spam. What counts is how much spam is
    // caught, and how many messages are lost for it.
    println!("  of 100 spam messages {:.0} are caught", 100.0 * caught.recall);
    println!("  of 100 messages it calls spam, {:.0} are not", 100.0 - 100.0 * caught.precision);
    ask(
        &spam,
        &[
            "Congratulations! You have won a free holiday, text WIN to 80082 now",
            "Running late, can you bring the keys?",
        ],
    )?;
    keep(&spam, "spam", "Final notice: claim your prize today only")?;

    println!("\n2. What does the user want?");
    let intents = learn("intents", "clinc150")?;
    let figures = self::figures(&intents)?;
    println!(
        "  right in {:.1} % of cases, among {} intents",
        100.0 * figures.accuracy,
        figures.classes.len()
    );
    // The intents it gets wrong most often need more examples, or should be one intent.
    let mut hardest: Vec<_> = figures.classes.iter().collect();
    hardest.sort_by(|a, b| a.f1.total_cmp(&b.f1));
    for class in hardest.iter().take(3) {
        println!("  hardest: `{}` with F1 {:.2}", class.label, class.f1);
    }
    ask(&intents, &["how do you say good morning in french", "my card was stolen"])?;

    keep(&intents, "intents", "wake me up at seven")?;
    println!("accuracy: spam {:.4}, intents {:.4}", accuracy(&spam)?, accuracy(&intents)?);
    Ok(())
}

/// Trains as the settings say: words, pairs of words and pieces of words are weighed by how rare they
/// are, and logistic regression is solved exactly. Pieces of words see through typing mistakes.
fn learn(shipped: &str, full: &str) -> Result<Model> {
    let (config, data) = open(shipped, full)?;
    let model = train::with_config(&config, &data, DeviceChoice::Flex)?;
    let test = model.test().context("the settings keep test rows")?;
    println!("  measured on {} texts that training has not seen", test.rows);
    Ok(model)
}

fn figures(model: &Model) -> Result<&Classification> {
    match model.test().map(|test| &test.metrics) {
        Some(Metrics::Classification(figures)) => Ok(figures),
        _ => anyhow::bail!("a class is predicted, and test rows are kept"),
    }
}

fn accuracy(model: &Model) -> Result<f64> {
    Ok(figures(model)?.accuracy)
}

/// Words and weights go into one file: nothing else is needed to serve it.
fn keep(model: &Model, name: &str, text: &str) -> Result<()> {
    let file = out("text_classification")?.join(format!("{name}.tesla"));
    model.save(&file)?;
    serve(&file, "application/json", &json!({ "text": text }).to_string())?;
    Ok(())
}

/// Predicts new texts inside this program.
fn ask(model: &Model, texts: &[&str]) -> Result<()> {
    let rows: Vec<_> = texts.iter().map(|text| json!({ "text": text })).collect();
    for (text, answer) in texts.iter().zip(model.predict_json(&rows)?.to_strings()) {
        println!("  \"{text}\": {answer}");
    }
    Ok(())
}
