//! The models of a server: found in files and folders, loaded, replaced and rolled back while
//! requests go on.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use serde::Serialize;
use tesla_core::{Bundle, Device, Predictor};

use crate::config::Config;
use crate::error::{Error, Failure, Result};
use crate::metrics::Metrics;
use crate::model::Loaded;

/// The models of a server. A request takes the model it finds, and keeps it until it is answered,
/// whatever happens to the store meanwhile.
pub struct Store {
    served: RwLock<Arc<Served>>,
    /// Held while models are loaded, so that only one thread does.
    loader: Mutex<Loader>,
    /// Where models of files go; a store without files has none.
    device: Option<Device>,
    config: Config,
    pub(crate) metrics: Arc<Metrics>,
}

type Served = BTreeMap<String, Arc<Entry>>;

/// A model in its versions.
#[derive(Clone, Default)]
struct Entry {
    versions: BTreeMap<u64, Arc<Loaded>>,
    /// The version that answers in place of the newest.
    pinned: Option<u64>,
    /// Why the newest file is not served.
    failed: Option<String>,
}

impl Entry {
    fn current(&self) -> Option<&Arc<Loaded>> {
        let pinned = self.pinned.and_then(|version| self.versions.get(&version));
        pinned.or_else(|| self.versions.values().next_back())
    }
}

/// Where models come from, and what is known of the files.
#[derive(Default)]
struct Loader {
    roots: Vec<Root>,
    files: BTreeMap<PathBuf, File>,
    /// Files that were new, changed or gone at the last look, and how they looked.
    unsettled: BTreeMap<PathBuf, Option<Stamp>>,
    /// Models that a client unloaded: they stay away until one loads them.
    unloaded: BTreeSet<String>,
}

struct Root {
    path: PathBuf,
    /// What to call the one model that is there.
    name: Option<String>,
}

/// A model file as it was when it was loaded, or could not be.
struct File {
    stamp: Stamp,
    name: String,
    /// The version it became.
    version: Option<u64>,
}

/// Size and time of a file: when both are the same, so is the file.
type Stamp = (u64, Option<SystemTime>);

/// A model file in a folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    name: String,
    /// The number of its folder, if it has one.
    version: Option<u64>,
    path: PathBuf,
}

/// One line of the list of models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The model's name.
    pub name: String,
    /// The version's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `READY`, or `UNAVAILABLE`.
    pub state: &'static str,
    /// Whether it answers when no version is named.
    pub current: bool,
    /// Why the newest file is not served; empty when it is.
    pub reason: String,
}

impl Store {
    /// A store whose models go to `device`; it has none yet.
    pub fn new(device: Device, config: Config) -> Self {
        Self {
            device: Some(device),
            ..Self::without_files(config)
        }
    }

    /// A store of models that come with their devices.
    pub fn without_files(config: Config) -> Self {
        Self {
            served: RwLock::default(),
            loader: Mutex::default(),
            device: None,
            config,
            metrics: Arc::default(),
        }
    }

    /// Adds a model file, or a folder of models, and loads what is there: `NAME.tesla`,
    /// `NAME/model.tesla` or `NAME/VERSION/model.tesla`. `name` renames the model of a file.
    ///
    /// # Errors
    /// When a file cannot be loaded, or a folder has no model that can.
    pub fn add(&self, path: &Path, name: Option<&str>) -> Result<()> {
        let mut loader = self.loader();
        std::fs::metadata(path).map_err(|source| Error::Io {
            action: "read",
            what: path.display().to_string(),
            source,
        })?;
        let root = Root {
            path: path.to_path_buf(),
            name: name.map(str::to_string),
        };
        let found = root.find()?;
        loader.roots.push(root);
        if found.is_empty() {
            return Err(Error::Config(format!(
                "`{}` holds no models: expected `NAME.tesla`, `NAME/model.tesla` or `NAME/VERSION/model.tesla`",
                path.display()
            )));
        }
        let failures = self.look(&mut loader, false, None);
        let is_any = found.iter().any(|found| self.find(&found.name, None).is_ok());
        match failures.into_iter().next() {
            Some(first) if !is_any => Err(first),
            _ => Ok(()),
        }
    }

    /// Adds a model that is in memory.
    ///
    /// # Errors
    /// When the system has no thread left for it.
    pub fn insert(&self, name: &str, predictor: Predictor) -> Result<()> {
        let _loader = self.loader();
        self.publish(name, predictor, None).map(|_| ())
    }

    /// Looks for models that are new, changed or gone. A file counts once it looks the same twice: it
    /// may still be on its way.
    pub fn refresh(&self) {
        let mut loader = self.loader();
        self.look(&mut loader, true, None);
    }

    /// Loads what the folders have under `name`, also if it was unloaded.
    ///
    /// # Errors
    /// When there is none, or it cannot be loaded; what was served before, if anything, still is.
    pub(crate) fn load(&self, name: &str) -> Result<(), Failure> {
        let mut loader = self.loader();
        loader.unloaded.remove(name);
        let failures = self.look(&mut loader, false, Some(name));
        if let Some(failure) = failures.into_iter().next() {
            return Err(Failure::bad_request(format!("{failure}{}", self.still(name))));
        }
        self.edit(name, |entry| entry.pinned = None);
        self.announce(name);
        self.find(name, None).map(|_| ())
    }

    /// Takes a model away. Requests that have it are still answered.
    ///
    /// # Errors
    /// When there is no such model.
    pub(crate) fn unload(&self, name: &str) -> Result<(), Failure> {
        let mut loader = self.loader();
        self.find(name, None)?;
        loader.unloaded.insert(name.into());
        loader.files.retain(|_, file| file.name != name);
        self.edit(name, |entry| entry.versions.clear());
        self.announce(name);
        tracing::info!(model = name, "unloaded");
        Ok(())
    }

    /// Lets the version before the current one answer, until a newer one comes.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn roll_back(&self, name: &str) -> Result<u64, Failure> {
        let _loader = self.loader();
        let current = self.find(name, None)?.version;
        let mut before = None;
        self.edit(name, |entry| {
            before = entry
                .versions
                .range(..current)
                .next_back()
                .map(|(version, _)| *version);
            entry.pinned = before.or(entry.pinned);
        });
        let version = before.ok_or_else(|| {
            Failure::bad_request(format!("`{name}` has no version before {current}"))
        })?;
        self.announce(name);
        tracing::info!(model = name, version, "rolled back");
        Ok(version)
    }

    /// The model under a name: the version that is asked for, or the current one.
    pub(crate) fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Loaded>, Failure> {
        let served = self.served();
        let Some((entry, current)) =
            served.get(name).and_then(|entry| Some((entry, entry.current()?)))
        else {
            let names: Vec<&String> = served.keys().collect();
            let shown: String = name.chars().take(100).collect();
            let near = tesla_data::nearest(&shown, &names)
                .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            return Err(Failure::not_found(format!(
                "no model `{shown}`{near}: `/v2/repository/index` lists what there is"
            )));
        };
        let Some(version) = version else {
            return Ok(current.clone());
        };
        let wanted = version
            .parse()
            .ok()
            .and_then(|number: u64| entry.versions.get(&number));
        wanted.cloned().ok_or_else(|| {
            let shown: String = version.chars().take(40).collect();
            let have: Vec<String> =
                entry.versions.keys().map(|number| format!("`{number}`")).collect();
            Failure::not_found(format!(
                "no version `{shown}` of `{name}`: this server has {}",
                have.join(", ")
            ))
        })
    }

    /// The only model, when there is one only.
    pub(crate) fn only(&self) -> Result<Arc<Loaded>, Failure> {
        let served = self.served();
        let mut models = served.values().filter_map(|entry| entry.current());
        match (models.next(), models.next()) {
            (Some(model), None) => Ok(model.clone()),
            _ => Err(Failure::bad_request(
                "this server has not exactly one model: ask `/v1/models/NAME/invocations`",
            )),
        }
    }

    /// The loaded versions of a model, ascending.
    pub(crate) fn versions(&self, name: &str) -> Vec<String> {
        let served = self.served();
        let versions = served.get(name).map(|entry| entry.versions.keys());
        versions.into_iter().flatten().map(u64::to_string).collect()
    }

    /// The current version of every model.
    pub(crate) fn current(&self) -> Vec<Arc<Loaded>> {
        self.served()
            .values()
            .filter_map(|entry| entry.current().cloned())
            .collect()
    }

    /// Every model and version.
    pub fn list(&self) -> Vec<Listed> {
        let mut lines = Vec::new();
        for (name, entry) in self.served().iter() {
            let current = entry.current().map(|model| model.version);
            let line = |version: Option<u64>| Listed {
                name: name.clone(),
                version: version.map(|version| version.to_string()),
                state: if version.is_some() {
                    "READY"
                } else {
                    "UNAVAILABLE"
                },
                current: version.is_some() && version == current,
                reason: entry.failed.clone().unwrap_or_default(),
            };
            lines.extend(entry.versions.keys().map(|version| line(Some(*version))));
            if entry.versions.is_empty() {
                lines.push(line(None));
            }
        }
        lines
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    fn served(&self) -> Arc<Served> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn loader(&self) -> MutexGuard<'_, Loader> {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the folders with what is served. With `settled`, only files that looked the same at
    /// the last look; with `only`, only that model, and again what failed before.
    fn look(&self, loader: &mut Loader, settled: bool, only: Option<&str>) -> Vec<Error> {
        let mut failures = Vec::new();
        let mut found = Vec::new();
        for root in &loader.roots {
            match root.find() {
                Ok(some) => found.extend(some),
                Err(error) => {
                    tracing::warn!(%error, "a folder of models cannot be read");
                    return vec![error];
                }
            }
        }
        newest(&mut found, self.config.versions);
        found.retain(|f| !loader.unloaded.contains(&f.name) && only.is_none_or(|n| n == f.name));
        let before = std::mem::take(&mut loader.unsettled);
        for found in &found {
            let Some(stamp) = stamp(&found.path) else {
                continue;
            };
            let retry = |file: &File| only.is_some() && file.version.is_none();
            if loader
                .files
                .get(&found.path)
                .is_some_and(|f| f.stamp == stamp && !retry(f))
            {
                continue;
            }
            if settled && before.get(&found.path) != Some(&Some(stamp)) {
                loader.unsettled.insert(found.path.clone(), Some(stamp));
                continue;
            }
            let loaded = self.load_file(found);
            let file = File {
                stamp,
                name: found.name.clone(),
                version: loaded.as_ref().ok().copied(),
            };
            loader.files.insert(found.path.clone(), file);
            failures.extend(loaded.err());
        }
        if only.is_none() {
            self.drop_absent(loader, &found, settled, &before);
        }
        failures
    }

    /// Takes away the versions whose files are gone.
    fn drop_absent(
        &self,
        loader: &mut Loader,
        found: &[Found],
        settled: bool,
        before: &BTreeMap<PathBuf, Option<Stamp>>,
    ) {
        let absent = |path: &PathBuf| !found.iter().any(|f| f.path == *path);
        let gone: Vec<PathBuf> = loader.files.keys().filter(|path| absent(path)).cloned().collect();
        for path in gone {
            if settled && before.get(&path) != Some(&None) {
                loader.unsettled.insert(path, None);
                continue;
            }
            let Some(file) = loader.files.remove(&path) else {
                continue;
            };
            let is_last = !loader.files.values().any(|other| other.name == file.name);
            self.edit(&file.name, |entry| match (is_last, file.version) {
                (true, _) => *entry = Entry::default(),
                (false, Some(version)) => {
                    entry.versions.remove(&version);
                }
                (false, None) => entry.failed = None,
            });
            self.announce(&file.name);
            tracing::info!(model = file.name, version = file.version, "gone with its file");
        }
    }

    /// Loads a file beside what is served, checks it, and only then lets it answer.
    fn load_file(&self, found: &Found) -> Result<u64> {
        let ready = || -> Result<Predictor> {
            let none = || Error::Config("a store without a device cannot load files".into());
            let device = self.device.as_ref().ok_or_else(none)?;
            let predictor = Bundle::load(&found.path)?.predictor(device)?;
            predictor.self_check()?;
            Ok(predictor)
        };
        let ready = catch_unwind(AssertUnwindSafe(ready)).unwrap_or_else(|_| {
            Err(Error::Config(format!("`{}` cannot be loaded: a panic", found.path.display())))
        });
        let loaded =
            ready.and_then(|predictor| self.publish(&found.name, predictor, found.version));
        self.metrics.loaded(&found.name, loaded.is_ok());
        match &loaded {
            Ok(version) => tracing::info!(model = found.name, version, "loaded"),
            Err(error) => {
                tracing::error!(model = found.name, %error, "not loaded{}", self.still(&found.name));
                self.edit(&found.name, |entry| entry.failed = Some(error.to_string()));
            }
        }
        loaded
    }

    /// What to say beside a failure of whoever asks for `name`.
    fn still(&self, name: &str) -> &'static str {
        match self.find(name, None) {
            Ok(_) => "; what was served before still is",
            Err(_) => "; there is no earlier version that could answer",
        }
    }

    /// Lets a model answer from now on.
    fn publish(&self, name: &str, predictor: Predictor, version: Option<u64>) -> Result<u64> {
        let last = self
            .served()
            .get(name)
            .and_then(|e| e.versions.keys().next_back().copied());
        let version = version.unwrap_or(last.unwrap_or(0) + 1);
        let loaded = Loaded::new(name, version, predictor, self.config.batching, &self.metrics)
            .map_err(|source| Error::Io {
                action: "start a thread for",
                what: name.into(),
                source,
            })?;
        self.edit(name, |entry| {
            if last.is_none_or(|last| version >= last) {
                entry.pinned = None;
            }
            entry.failed = None;
            entry.versions.insert(version, Arc::new(loaded));
            while entry.versions.len() > self.config.versions.max(1) {
                entry.versions.pop_first();
            }
        });
        self.announce(name);
        Ok(version)
    }

    /// Changes an entry: whoever looks sees the old one or the new one. An entry without versions and
    /// without a failure to tell is no more.
    fn edit(&self, name: &str, change: impl FnOnce(&mut Entry)) {
        let mut served = Served::clone(&self.served());
        let mut entry = served.get(name).map(|e| Entry::clone(e)).unwrap_or_default();
        change(&mut entry);
        match entry.versions.is_empty() && entry.failed.is_none() {
            true => served.remove(name),
            false => served.insert(name.into(), Arc::new(entry)),
        };
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }

    fn announce(&self, name: &str) {
        let served = self.served();
        let current = served.get(name).and_then(|entry| entry.current());
        self.metrics.version(name, current.map(|model| model.version));
    }
}

impl Root {
    fn find(&self) -> Result<Vec<Found>> {
        if !self.path.is_dir() {
            return Ok(vec![Found {
                name: self.name.clone().unwrap_or_else(|| name_of(&self.path)),
                version: None,
                path: self.path.clone(),
            }]);
        }
        let mut found = Vec::new();
        for (name, path) in entries(&self.path)? {
            let model = path.join("model.tesla");
            if let (Some(stem), true) = (name.strip_suffix(".tesla"), path.is_file()) {
                // `runs/digits` is a folder of one model, which is called `digits`.
                let name = if stem == "model" {
                    name_of(&path)
                } else {
                    stem.to_string()
                };
                found.push(Found {
                    name,
                    version: None,
                    path,
                });
            } else if model.is_file() {
                found.push(Found {
                    name,
                    version: None,
                    path: model,
                });
            } else if path.is_dir() {
                for (version, path) in entries(&path)? {
                    let model = path.join("model.tesla");
                    if let (Ok(version), true) = (version.parse(), model.is_file()) {
                        let name = name.clone();
                        found.push(Found {
                            name,
                            version: Some(version),
                            path: model,
                        });
                    }
                }
            }
        }
        if let (Some(given), [only]) = (&self.name, found.as_mut_slice()) {
            only.name = given.clone();
        }
        Ok(found)
    }
}

/// `runs/digits/model.tesla` is called `digits`, `digits.tesla` too.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = path.parent().and_then(Path::file_name);
    match (stem.as_ref(), folder) {
        ("model", Some(folder)) => folder.to_string_lossy().into_owned(),
        (stem, _) => stem.to_string(),
    }
}

/// What is in a folder, by name. Hidden entries are left out, and names that are not UTF-8.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let fail = |source| Error::Io {
        action: "read",
        what: folder.display().to_string(),
        source,
    };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

/// Of every model that has numbered versions the newest `count`, in ascending order, and nothing
/// beside them.
fn newest(found: &mut Vec<Found>, count: usize) {
    found.sort();
    let mut kept: Vec<Found> = Vec::new();
    for model in std::mem::take(found).into_iter().rev() {
        let of_name = kept.iter().filter(|k| k.name == model.name).count();
        let room = if model.version.is_some() {
            count.max(1)
        } else {
            1
        };
        if of_name < room {
            kept.push(model);
        }
    }
    kept.reverse();
    *found = kept;
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.len(), data.modified().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path, name: Option<&str>) -> Vec<(String, Option<u64>)> {
        let root = Root {
            path: root.into(),
            name: name.map(str::to_string),
        };
        let mut found = root.find().unwrap();
        newest(&mut found, 2);
        found.into_iter().map(|f| (f.name, f.version)).collect()
    }

    #[test]
    fn a_folder_of_models_is_read_by_its_names() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "iris.tesla",
            "adult/1/model.tesla",
            "adult/2/model.tesla",
            "adult/10/model.tesla",
            "adult/last/model.tesla",
            "digits/model.tesla",
            "digits/report.html",
            ".part/model.tesla",
            "notes.txt",
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let named = |name: &str, version| (name.to_string(), version);
        assert_eq!(
            names(root.path(), None),
            [
                named("adult", Some(2)),
                named("adult", Some(10)),
                named("digits", None),
                named("iris", None),
            ]
        );
        assert_eq!(names(&root.path().join("digits"), None), [named("digits", None)]);
        assert_eq!(names(&root.path().join("iris.tesla"), Some("x")), [named("x", None)]);
    }
}
