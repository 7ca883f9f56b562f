//! The direction of dependencies between the crates.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::support::repo;

#[test]
fn dependencies_point_one_way() {
    let allowed = |from: &str| -> &'static [&'static str] {
        match from {
            "tesla-data" => &[],
            "tesla-core" => &["tesla-data"],
            "tesla-train" | "tesla-serve" => &["tesla-core", "tesla-data"],
            "tesla" => &["tesla-train", "tesla-serve", "tesla-core", "tesla-data"],
            _ => &["tesla"],
        }
    };
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(repo(""))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(names.len() >= 7, "{names:?}");
    for package in packages {
        let from = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            assert!(
                !names.contains(to) || allowed(from).contains(&to),
                "`{from}` must not depend on `{to}`"
            );
        }
    }
}
