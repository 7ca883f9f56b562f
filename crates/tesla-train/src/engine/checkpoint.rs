//! Checkpoints: everything a run needs to go on as if it had never stopped.
//!
//! Orders of rows, dropout masks and augmentations are functions of seed, epoch and step, so that no
//! generator's state has to be kept: what is left are tensors and a few numbers.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schedule::Plateau;
use crate::{Error, Result};

/// Where checkpoints are kept, and whether to go on from one.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The folder; it holds one checkpoint, `checkpoint.safetensors`, which is replaced whole.
    pub folder: PathBuf,
    /// Whether to go on from the checkpoint in it, if there is one.
    pub resume: bool,
    /// What to start the run with again, kept for [`Checkpoints::program`].
    pub program: String,
}

/// The numbers of a checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// What must be the same for a run to go on: a hash of configuration, data and device.
    pub(super) run: String,
    pub(super) program: String,
    /// The epoch to go on in, counted from 1, and the steps of it that are done.
    pub(super) epoch: usize,
    pub(super) step: usize,
    pub(super) optimizer_steps: u64,
    pub(super) loss_sum: f64,
    /// What the rows behind the sum weigh together.
    pub(super) loss_weight: f64,
    pub(super) first_loss: Option<f64>,
    pub(super) best: Option<(usize, f64)>,
    pub(super) plateau: Plateau,
    /// The loss where L-BFGS stands.
    #[serde(default)]
    pub(super) lbfgs_value: Option<f64>,
    pub(super) history: Vec<Value>,
}

/// Tensors by name, flat.
pub(super) type Tensors = BTreeMap<String, Tensor<1>>;

const FILE: &str = "checkpoint.safetensors";
const KEY: &str = "tesla";

impl Checkpoints {
    /// What the run in `folder` was started with; `None` when there is no checkpoint.
    ///
    /// # Errors
    /// When the checkpoint is damaged.
    pub fn program(folder: &Path) -> Result<Option<String>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read(&path)?;
        Ok(Some(progress(&bytes).map_err(|why| damaged(&path, &why))?.program))
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Writes a checkpoint beside the old one, then puts it in its place: whatever happens, one of the
    /// two is there and whole.
    pub(super) fn save(&self, progress: &Progress, tensors: Tensors) -> Result<()> {
        let read = |(name, tensor): (String, Tensor<1>)| {
            let data = tensor.try_into_data_as::<f32>().map_err(|e| {
                tesla_core::Error::Device(format!("the device did not deliver the weights: {e}"))
            })?;
            Ok((name, data.shape()[0], data.as_bytes().to_vec()))
        };
        let read: Vec<(String, usize, Vec<u8>)> =
            tensors.into_iter().map(read).collect::<Result<_>>()?;
        let failed =
            |e: &dyn std::fmt::Display| wrong(&self.path(), &format!("cannot be written: {e}"));
        let views = read.iter().map(|(name, length, bytes)| {
            TensorView::new(Dtype::F32, vec![*length], bytes).map(|view| (name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(|e| failed(&e))?;
        let text = serde_json::to_string(progress).map_err(|e| failed(&e))?;
        let about = HashMap::from([(KEY.to_string(), text)]);
        let bytes = safetensors::serialize(views, Some(about)).map_err(|e| failed(&e))?;
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.folder)?;
            let next = self.folder.join(format!("{FILE}.next"));
            let mut file = File::create(&next)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(next, self.path())
        };
        write().map_err(|e| failed(&e))
    }

    /// The checkpoint in the folder, or `None` when there is none or the run starts anew.
    pub(super) fn load(&self, run: &str, device: &Device) -> Result<Option<(Progress, Tensors)>> {
        let path = self.path();
        if !self.resume || !path.exists() {
            return Ok(None);
        }
        let bytes = read(&path)?;
        let progress = progress(&bytes).map_err(|why| damaged(&path, &why))?;
        if progress.run != run {
            return Err(wrong(
                &path,
                "is of another run: the configuration, the data or the device has changed since; put them back, or remove it to start anew",
            ));
        }
        let stored =
            SafeTensors::deserialize(&bytes).map_err(|e| damaged(&path, &e.to_string()))?;
        let tensors = stored.iter().map(|(name, view)| {
            let (chunks, _) = view.data().as_chunks::<4>();
            let values: Vec<f32> = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let shape = [values.len()];
            (name.to_string(), Tensor::from_data(TensorData::new(values, shape), device))
        });
        Ok(Some((progress, tensors.collect())))
    }

    /// Removes the checkpoint of a run whose model is safe.
    pub fn clear(&self) {
        // What stays behind does no harm: it is of this run and replaced by the next.
        let _ = std::fs::remove_file(self.path());
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// The tensors under `prefix.`, without it.
pub(super) fn part(tensors: &Tensors, prefix: &str) -> Tensors {
    let strip = |(name, tensor): (&String, &Tensor<1>)| {
        let name = name.strip_prefix(prefix)?.strip_prefix('.')?;
        Some((name.to_string(), tensor.clone()))
    };
    tensors.iter().filter_map(strip).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| wrong(path, &format!("cannot be read: {e}")))
}

fn progress(bytes: &[u8]) -> Result<Progress, String> {
    let (_, about) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let text = about.metadata().as_ref().and_then(|about| about.get(KEY));
    serde_json::from_str(text.ok_or("it was not written by TESLA")?).map_err(|e| e.to_string())
}

fn wrong(path: &Path, why: &str) -> Error {
    Error::Checkpoint(path.display().to_string(), why.into())
}

fn damaged(path: &Path, why: &str) -> Error {
    wrong(path, &format!("is damaged ({why}): remove it to start anew"))
}
