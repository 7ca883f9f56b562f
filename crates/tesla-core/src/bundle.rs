//! The bundle: one sealed file that holds everything a prediction needs, and nothing that runs.
//!
//! `model.tesla` is an uncompressed zip of `manifest.json`, `pipeline.json`, `model.json`,
//! `weights.safetensors`, `report.json` and `probe.json`, which older bundles have not. The manifest
//! carries the SHA-256 of every other entry; the archive's comment carries the SHA-256 of the whole
//! file before it, so that a truncated or altered file is refused before any of it is used. The bytes
//! depend on the model alone: there is no time stamp, no path and no training row inside.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tesla_data::{Contract, FittedPipeline, hex_sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::{Decision, Device, Error, ModelConfig, Network, Predictor, Probe, Result, Signature};

/// The newest format that this version reads. It writes the oldest that says all there is to say: 1,
/// or 2 for a model with a [`Decision`], which a reader of format 1 would pass over.
pub const FORMAT: u32 = 2;

/// A trained model with all that a prediction needs.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What goes in and out of the network.
    pub signature: Signature,
    /// What every column is.
    pub contract: Contract,
    /// How columns become numbers.
    pub pipeline: FittedPipeline,
    /// Which network it is.
    pub model: ModelConfig,
    /// Where the model comes from.
    pub provenance: Provenance,
    /// How probabilities become what is said.
    pub decision: Decision,
    /// The figures of the training run.
    pub report: Value,
    /// Made-up rows with what the model says of them. Bundles of older versions have none.
    pub probe: Option<Probe>,
    weights: Vec<u8>,
}

/// Where a model comes from, so that the run can be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The source's name, without directories.
    pub source: String,
    /// SHA-256 of the source's bytes.
    pub data_sha256: String,
    /// SHA-256 of the sources of validation and test rows, where they are apart from the training rows'.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apart_sha256: BTreeMap<String, String>,
    /// Rows used to train, validate and test.
    pub rows: [usize; 3],
    /// Rows that could not be read or broke the contract, and were set apart.
    pub quarantined: usize,
    /// The seed of the run.
    pub seed: u64,
    /// The backend it ran on.
    pub device: String,
    /// The resolved configuration.
    pub config: Value,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    engine: String,
    signature: Signature,
    contract: Contract,
    labels: Vec<String>,
    #[serde(default, skip_serializing_if = "Decision::is_none")]
    decision: Decision,
    provenance: Provenance,
    entries: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    sha256: String,
    bytes: usize,
}

const MANIFEST: &str = "manifest.json";
const PIPELINE: &str = "pipeline.json";
const MODEL: &str = "model.json";
const WEIGHTS: &str = "weights.safetensors";
const REPORT: &str = "report.json";
const PROBE: &str = "probe.json";

/// What the archive's comment starts with; 64 hexadecimal digits follow and end the file.
const SEAL: &str = "TESLA bundle sha256:";
const DIGITS: usize = 64;

impl Bundle {
    /// Joins the parts of a finished training run.
    ///
    /// # Errors
    /// When the device does not deliver the weights.
    pub fn new(
        signature: Signature,
        contract: Contract,
        pipeline: FittedPipeline,
        model: ModelConfig,
        network: &Network,
        provenance: Provenance,
    ) -> Result<Self> {
        Ok(Self {
            signature,
            contract,
            pipeline,
            model,
            provenance,
            decision: Decision::default(),
            report: Value::Null,
            probe: None,
            weights: network.to_safetensors()?,
        })
    }

    /// The network's weights in SafeTensors format.
    pub fn weights(&self) -> &[u8] {
        &self.weights
    }

    /// The bundle's bytes. The same model gives the same bytes.
    ///
    /// # Errors
    /// When the archive cannot be written, which memory alone decides.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut parts = vec![
            (PIPELINE, json(&self.pipeline)),
            (MODEL, json(&self.model)),
            (WEIGHTS, self.weights.clone()),
            (REPORT, json(&self.report)),
        ];
        parts.extend(self.probe.as_ref().map(|probe| (PROBE, json(probe))));
        let manifest = Manifest {
            format: if self.decision.is_none() { 1 } else { FORMAT },
            engine: env!("CARGO_PKG_VERSION").into(),
            signature: self.signature.clone(),
            contract: self.contract.clone(),
            labels: self.pipeline.target.labels().to_vec(),
            decision: self.decision.clone(),
            provenance: self.provenance.clone(),
            entries: parts
                .iter()
                .map(|(name, bytes)| {
                    let entry = Entry {
                        sha256: hex_sha256(bytes),
                        bytes: bytes.len(),
                    };
                    (name.to_string(), entry)
                })
                .collect(),
        };
        let write = || -> zip::result::ZipResult<Vec<u8>> {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .last_modified_time(DateTime::default())
                .unix_permissions(0o644);
            let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
            for (name, bytes) in std::iter::once((MANIFEST, json(&manifest))).chain(parts) {
                archive.start_file(name, options)?;
                archive.write_all(&bytes)?;
            }
            archive.set_comment(format!("{SEAL}{}", "0".repeat(DIGITS)))?;
            Ok(archive.finish()?.into_inner())
        };
        let mut bytes = write().map_err(|e| Error::Bundle {
            name: "model.tesla".into(),
            reason: format!("cannot be sealed: {e}"),
        })?;
        let body = bytes.len() - DIGITS;
        let seal = hex_sha256(&bytes[..body]);
        bytes[body..].copy_from_slice(seal.as_bytes());
        Ok(bytes)
    }

    /// Opens a bundle from its bytes; `name` is for messages.
    ///
    /// # Errors
    /// When the bytes are not a bundle, are truncated or altered, or are of a newer format.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        let bad = |reason: String| Error::Bundle {
            name: name.to_string(),
            reason,
        };
        if !bytes.starts_with(b"PK") {
            return Err(bad(
                "is not a TESLA bundle: expected the `model.tesla` of `tesla train`".into()
            ));
        }
        let body = bytes.len().saturating_sub(DIGITS);
        if !bytes[..body].ends_with(SEAL.as_bytes()) {
            let reason = "is truncated or not a TESLA bundle: its seal is missing; copy it again from where it was trained";
            return Err(bad(reason.into()));
        }
        if hex_sha256(&bytes[..body]).as_bytes() != &bytes[body..] {
            let reason = "has been altered: its bytes do not match its seal; copy it again from where it was trained";
            return Err(bad(reason.into()));
        }
        let damaged = |e: zip::result::ZipError| bad(format!("is damaged: {e}"));
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        let mut read = |entry: &str| -> Result<Vec<u8>> {
            let mut file = archive.by_name(entry).map_err(damaged)?;
            // Entries are stored, so none can be larger than the file that holds it.
            if file.compression() != CompressionMethod::Stored || file.size() > bytes.len() as u64 {
                return Err(bad(format!("has an entry `{entry}` that is not stored plainly")));
            }
            let mut content = Vec::with_capacity(file.size() as usize);
            file.read_to_end(&mut content)
                .map_err(|e| bad(format!("is damaged: {e}")))?;
            Ok(content)
        };

        // The format first: a newer manifest may have another shape.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
            engine: String,
        }
        let manifest = read(MANIFEST)?;
        let version: Version = parse(name, MANIFEST, &manifest)?;
        if version.format > FORMAT {
            return Err(bad(format!(
                "has bundle format {}, written by TESLA {}: this version reads up to format {FORMAT}; update TESLA",
                version.format, version.engine
            )));
        }
        let manifest: Manifest = parse(name, MANIFEST, &manifest)?;
        let mut part = |entry: &str| -> Result<Vec<u8>> {
            let content = read(entry)?;
            match manifest.entries.get(entry) {
                Some(e) if e.sha256 == hex_sha256(&content) => Ok(content),
                _ => Err(bad(format!("has an entry `{entry}` that does not match its manifest"))),
            }
        };
        let probe = match manifest.entries.contains_key(PROBE) {
            true => Some(parse(name, PROBE, &part(PROBE)?)?),
            false => None,
        };
        let pipeline: FittedPipeline = parse(name, PIPELINE, &part(PIPELINE)?)?;
        if let Some(fault) = manifest.decision.fault(pipeline.target.labels().len()) {
            return Err(bad(format!("has {fault}")));
        }
        Ok(Self {
            probe,
            pipeline,
            model: parse(name, MODEL, &part(MODEL)?)?,
            report: parse(name, REPORT, &part(REPORT)?)?,
            weights: part(WEIGHTS)?,
            signature: manifest.signature,
            contract: manifest.contract,
            provenance: manifest.provenance,
            decision: manifest.decision,
        })
    }

    /// Writes the bundle; the file appears whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let fail = |source| Error::Io {
            action: "write",
            path: path.to_path_buf(),
            source,
        };
        let part = path.with_extension("tesla.part");
        let write = |bytes: &[u8]| -> std::io::Result<()> {
            let mut file = std::fs::File::create(&part)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&part, path)
        };
        let bytes = self.to_bytes()?;
        write(&bytes).map_err(|e| {
            let _ = std::fs::remove_file(&part);
            fail(e)
        })
    }

    /// Reads a bundle from a file: a `model.tesla`, or a program with a model behind it.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`Bundle::from_bytes`].
    pub fn load(path: &Path) -> Result<Self> {
        // The folder of a run is its model, too.
        let inside = path.join("model.tesla");
        let path = if path.is_dir() && inside.is_file() {
            &inside
        } else {
            path
        };
        let bytes = match crate::app::find(path)? {
            Some(model) => model,
            None => std::fs::read(path).map_err(|source| Error::Io {
                action: "read",
                path: path.to_path_buf(),
                source,
            })?,
        };
        let name = path.file_name().unwrap_or(path.as_os_str());
        Self::from_bytes(&name.to_string_lossy(), &bytes)
    }

    /// Puts the network on a device, ready to predict.
    ///
    /// # Errors
    /// When the stored weights are not those of the stored model.
    pub fn predictor(self, device: &Device) -> Result<Predictor> {
        let network = self.model.load(&self.signature, &self.weights, device)?;
        Ok(Predictor::new(self, network, device))
    }

    /// The weights and intercepts of a linear or logistic model in the units of the columns: for
    /// each output its name, its intercept and one `(feature, coefficient)` per feature. `None`
    /// for other models, and for images, whose pixels have no names.
    pub fn coefficients(&self) -> Option<Vec<Coefficients>> {
        let is_linear = matches!(self.model, ModelConfig::Linear(_) | ModelConfig::Logistic(_));
        let is_table = self.signature.input.len() == 1;
        if !is_linear || !is_table {
            return None;
        }
        let tensors = safetensors::SafeTensors::deserialize(&self.weights).ok()?;
        let floats = |suffix: &str| -> Option<Vec<f64>> {
            let name = tensors.names().into_iter().find(|n| n.ends_with(suffix))?;
            let bytes = tensors.tensor(name).ok()?;
            let (chunks, _) = bytes.data().as_chunks::<4>();
            Some(chunks.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect())
        };
        let (weight, bias) = (floats("weight")?, floats("bias")?);
        Some(crate::model::in_column_units(&self.pipeline, &weight, &bias))
    }
}

/// One output of a linear model in the units of the columns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coefficients {
    /// The class, or the target column.
    pub output: String,
    /// The output where every feature is 0.
    pub intercept: f64,
    /// Each feature and how much one unit of it adds.
    pub features: Vec<(String, f64)>,
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("the bundle's own types serialise")
}

fn parse<T: DeserializeOwned>(name: &str, entry: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::Bundle {
        name: name.to_string(),
        reason: format!("has an entry `{entry}` that cannot be read: {e}"),
    })
}
