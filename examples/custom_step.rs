//! A step of your own between a column and the network: learned from training rows, stored in the
//! sealed file, the same when it predicts.
//!
//! `cargo run --release --example custom_step`

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tesla::prepare::{self, Cell, FittedStep, Step};
use tesla::{Config, DeviceChoice, Model, ingest, train};

/// Learns the usual blood pressure, the mean of the training rows.
#[derive(Default)]
struct Excess {
    sum: f64,
    count: f64,
}

/// What was learned: this is what the file holds.
#[derive(Serialize, Deserialize)]
struct FittedExcess {
    usual: f64,
}

impl Step for Excess {
    const NAME: &'static str = "excess";
    type Fitted = FittedExcess;

    fn update(&mut self, value: Cell<'_>) {
        if let Cell::Number(x) = value {
            self.sum += x;
            self.count += 1.0;
        }
    }

    fn finish(self) -> std::result::Result<FittedExcess, String> {
        match self.count > 0.0 {
            true => Ok(FittedExcess {
                usual: self.sum / self.count,
            }),
            false => Err("the column has no number".into()),
        }
    }
}

impl FittedStep for FittedExcess {
    fn names(&self, column: &str) -> Vec<String> {
        vec![format!("{column} above usual"), format!("{column} below usual")]
    }

    fn transform(&self, value: Cell<'_>, out: &mut [f64]) {
        if let Cell::Number(x) = value {
            out[0] = (x / self.usual - 1.0).max(0.0);
            out[1] = (1.0 - x / self.usual).max(0.0);
        }
    }
}

fn main() -> Result<()> {
    // Before a configuration names the step, and before a file that holds it is opened.
    prepare::register::<Excess>()?;
    println!(
        "`excess` is registered: it learns the usual blood pressure and passes on how far a patient is off"
    );

    let mut config = Config::default();
    config.data.target = Some("progression".into());
    let column = prepare::ColumnConfig {
        step: Some(Excess::NAME.into()),
        ..Default::default()
    };
    config.columns.insert("bp".into(), column);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/diabetes/diabetes.csv");
    let model = train::with_config(&config, &ingest::load_csv(path)?, DeviceChoice::Flex)?;

    let file = std::env::temp_dir().join("custom_step.tesla");
    model.save(&file)?;
    let model = Model::load(&file, DeviceChoice::Flex)?;
    let names = model.bundle().pipeline.feature_names();
    println!("so the network sees two columns in place of `bp`: {}", names.join(", "));
    let patient = json!({
        "age": 52, "sex": 1, "bmi": 28.4, "bp": 98, "s1": 190,
        "s2": 115.2, "s3": 49, "s4": 4, "s5": 4.7, "s6": 93,
    });
    println!(
        "from the stored model, with the step as it learned it, disease progression after one year:"
    );
    println!("  {}", model.predict_json(&[patient])?.to_strings()[0]);
    Ok(())
}
