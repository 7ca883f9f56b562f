use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use tesla::evaluate::Options;
use tesla::{Bundle, Config, Dataset, Device, DeviceChoice, Predictor, Report};
use tesla_data::{Selection, Sources, Split, hex_sha256};

use super::{open_device, write_whole};
use crate::report::{Subject, look};
use crate::{page, settings};

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The folder of a run.
    run: PathBuf,
    /// `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
}

const AFTER_HELP: &str = "\
Writes `report.html`, `report.md` and `report.json` into the folder of the run, as training did. What
rests on rows, such as importances and mistakes, is made from the run's data where that is still there
and the same.";

/// The files of a run.
pub(super) const MODEL: &str = "model.tesla";
const REPORT: &str = "report.json";
const PROGRAM: &str = "tesla.toml";

pub(crate) fn run(args: Args) -> Result<()> {
    let path = args.run.join(MODEL);
    let bytes = std::fs::read(&path).with_context(|| {
        format!("cannot read `{}`: expected the folder of a finished run", path.display())
    })?;
    let bundle = Bundle::from_bytes(&path.display().to_string(), &bytes)?;
    let device = open_device(args.device)?;
    let reports = stored(&args.run, &bundle);
    let mut notes = Vec::new();
    let data = match data(&args.run, &bundle) {
        Ok(data) => Some(data),
        Err(why) => {
            notes.push(format!("Importances and mistakes are missing: {why}"));
            None
        }
    };
    let finished = Finished {
        folder: &args.run,
        bundle: &bundle,
        sha256: hex_sha256(&bytes),
        device: &device,
        reports,
        data,
        notes,
    };
    finished.write()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "report {}", args.run.join("report.html").display())?;
    Ok(())
}

/// A run whose model is written.
pub(super) struct Finished<'a> {
    pub(super) folder: &'a Path,
    pub(super) bundle: &'a Bundle,
    pub(super) sha256: String,
    pub(super) device: &'a Device,
    /// The figures of the validation and the test rows.
    pub(super) reports: [Option<Report>; 2],
    /// The rows of the run that its model can be looked at with, and how they are divided.
    pub(super) data: Option<(Dataset, Split)>,
    pub(super) notes: Vec<String>,
}

impl Finished<'_> {
    /// Writes the page, the Markdown and the JSON of the run.
    pub(super) fn write(self) -> Result<()> {
        let [valid, test] = &self.reports;
        let parts = [("test", test), ("validation", valid)].into_iter();
        let mut parts: Vec<(String, Report)> = parts
            .filter_map(|(name, report)| Some((name.to_string(), report.clone()?)))
            .collect();
        let mut notes = self.notes;
        let (mut explanations, mut mistakes) = Default::default();
        if let (Some((data, split)), Some((_, report))) = (&self.data, parts.first_mut()) {
            let frame = &data.frame;
            let rows = match (test, &data.test, &data.valid) {
                (Some(_), Some(own), _) | (None, _, Some(own)) => own.all(),
                (Some(_), None, _) => frame.select(split.test.clone()),
                (None, _, None) => frame.select(split.valid.clone()),
            };
            let predictor = self.bundle.clone().predictor(self.device)?;
            if report.worst.is_empty() {
                refill(&predictor, &rows, report, test.is_some())?;
            }
            let seed = self.bundle.provenance.seed;
            match look(&predictor, self.device, &rows, report, seed) {
                Ok(found) => (explanations, mistakes) = found,
                Err(why) => notes.push(format!("Importances and mistakes are missing: {why}")),
            }
        }
        if parts.is_empty() {
            notes.push("No rows were kept to measure the model on.".into());
        }
        // Like the bundle, it holds nothing of single rows.
        let kept = |report: &Option<Report>| report.as_ref().map(Report::without_rows);
        let json = json!({
            "valid": kept(valid), "test": kept(test), "training": self.bundle.report["training"],
            "explanations": explanations,
        });
        let folder = self.folder.display().to_string();
        let name = std::fs::canonicalize(self.folder).ok();
        let name = name.as_deref().unwrap_or(self.folder).file_name();
        let subject = Subject {
            name: name.map_or_else(|| folder.clone(), |name| name.to_string_lossy().into_owned()),
            command: format!("tesla report {folder}"),
            repeat: Some(format!("tesla train {folder}/{PROGRAM} --out {folder}-again")),
            bundle: self.bundle,
            sha256: Some(self.sha256),
            parts,
            explanations,
            mistakes,
            notes,
        };
        let json = serde_json::to_string_pretty(&json)?;
        for (file, content) in [
            ("report.html", page::report::page(&subject)?),
            ("report.md", page::report::markdown(&subject)?),
            (REPORT, json),
        ] {
            write_whole(&self.folder.join(file), |f| Ok(f.write_all(content.as_bytes())?))?;
        }
        Ok(())
    }
}

/// Looks again for what a report loses in a file: its worst mistakes, and some of its rows.
fn refill(
    predictor: &Predictor,
    rows: &Selection<'_>,
    report: &mut Report,
    is_test: bool,
) -> Result<()> {
    let config = predictor.bundle().provenance.config.clone();
    let config: Option<Config> = serde_json::from_value(config).ok();
    let sequence = config.and_then(|config| config.data.sequence);
    let options = Options {
        only_last: is_test && sequence.is_some_and(|sequence| sequence.evaluate_last),
        ..Default::default()
    };
    let again = tesla_train::evaluate_with(predictor, rows, &options)?;
    report.worst = again.worst;
    if let (Some(own), Some(again)) = (&mut report.curves.residuals, again.curves.residuals) {
        own.sample = again.sample;
    }
    Ok(())
}

/// The figures of a run: from its folder, else from its model.
fn stored(run: &Path, bundle: &Bundle) -> [Option<Report>; 2] {
    let file = std::fs::read(run.join(REPORT)).ok();
    let file: Option<serde_json::Value> = file.and_then(|f| serde_json::from_slice(&f).ok());
    ["valid", "test"].map(|part| {
        let parse = |all: &serde_json::Value| serde_json::from_value(all[part].clone()).ok();
        file.as_ref().and_then(parse).or_else(|| parse(&bundle.report))
    })
}

/// The rows of a run and how they were divided, where its data is there and the same.
fn data(run: &Path, bundle: &Bundle) -> Result<(Dataset, Split)> {
    let config = settings::load(&run.join(PROGRAM))?;
    let data = Sources::open(&config.data, Path::new(""))?
        .with_columns(&config.columns)
        .read()?;
    if data.frame.fingerprint()? != bundle.provenance.data_sha256 {
        anyhow::bail!("`{}` has changed since the training", data.frame.name());
    }
    let data = settled(&config, &data, bundle)?;
    let classes = data.frame.class_ids(&bundle.contract)?;
    let split = data.split(&config.data, classes.as_deref(), config.train.seed)?;
    Ok((data, split))
}

/// The rows that keep the contract of a model.
pub(super) fn settled(config: &Config, data: &Dataset, bundle: &Bundle) -> Result<Dataset> {
    Ok(data.settle(&bundle.contract, &config.data.bad_policy())?)
}
