//! Audits data sets: `cargo run -p tesla-data --example audit -- FOLDER CONFIG…`. Each configuration
//! is a `tesla.toml`; the paths in it start at the folder. `[data]`, `[columns]` and `[audit]` are read.
//! Ends with 1 when a finding would stop training.

use std::path::Path;

use serde::Deserialize;
use tesla_data::audit::{Severity, audit};
use tesla_data::config::ColumnConfigs;
use tesla_data::contract::Role;
use tesla_data::{AuditConfig, ColumnConfig, ColumnKind, Contract, DataConfig, Dataset};

#[derive(Deserialize)]
struct File {
    data: DataConfig,
    #[serde(default)]
    columns: ColumnConfigs,
    #[serde(default)]
    audit: AuditConfig,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("say a folder, then configurations")?;
    let mut stop = false;
    for path in arguments {
        let file: File = toml::from_str(&std::fs::read_to_string(&path)?)?;
        stop |= one(&path, file, Path::new(&folder))?;
    }
    std::process::exit(i32::from(stop));
}

fn one(path: &str, mut file: File, folder: &Path) -> Result<bool, Box<dyn std::error::Error>> {
    let data = Dataset::load(&file.data, folder)?;
    // A column that is free text is audited as such even where no model takes it.
    let texts: Vec<String> = file
        .columns
        .iter()
        .filter(|(_, column)| column.kind == Some(ColumnKind::Text))
        .map(|(name, _)| name.clone())
        .collect();
    for name in &texts {
        let column = ColumnConfig {
            kind: Some(ColumnKind::Category),
            ..Default::default()
        };
        file.columns.insert(name.clone(), column);
    }
    let mut contract = Contract::infer(&data.frame, &file.data, &file.columns)?;
    for rule in contract.columns.iter_mut().filter(|rule| texts.contains(&rule.name)) {
        (rule.kind, rule.role) = (ColumnKind::Text, Role::Feature);
        rule.categories.clear();
    }
    let data = data.settle(&contract, &file.data.bad_policy())?;
    let classes = data.frame.class_ids(&contract)?;
    let split = data.split(&file.data, classes.as_deref(), 1)?;
    let start = std::time::Instant::now();
    let found = audit(&data, &contract, &split, &file.audit, &file.data, &file.columns)?;
    println!("{path}: {} findings in {:.1} s", found.len(), start.elapsed().as_secs_f64());
    for finding in &found {
        println!("  {:?}: {finding}", finding.severity);
    }
    Ok(found.iter().any(|finding| finding.severity == Severity::Stop))
}
