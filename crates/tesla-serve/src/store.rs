//! The models of a server: loaded from what `folders.rs` finds, replaced and rolled back while
//! requests go on.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::Serialize;
use tesla_core::{Bundle, Device, Predictor};

use crate::config::Config;
use crate::error::{Error, Failure, Result};
use crate::folders::{self, Found, Root, Seen, Stamp, stamp};
use crate::metrics::Metrics;
use crate::model::Loaded;

/// The models of a server. A request takes the model it finds, and keeps it until it is answered,
/// whatever happens to the store meanwhile.
pub struct Store {
    served: RwLock<Arc<Served>>,
    /// Held while what is served changes, so that only one thread changes it.
    known: Mutex<Known>,
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

    /// Keeps the newest versions, and the one that answers.
    fn trim(&mut self, most: usize) {
        let current = self.current().map(|model| model.version);
        let newest: BTreeSet<u64> = self.versions.keys().rev().take(most.max(1)).copied().collect();
        self.versions
            .retain(|version, _| newest.contains(version) || Some(*version) == current);
    }
}

/// Where models come from, and what is known of the files.
#[derive(Default)]
struct Known {
    roots: Vec<Root>,
    files: BTreeMap<PathBuf, File>,
    /// Files that were new, changed or gone at the last look, and how they looked.
    unsettled: BTreeMap<PathBuf, Option<Stamp>>,
    /// Folders that could not be read at the last look, and why.
    unread: BTreeMap<PathBuf, String>,
    /// Models that a client unloaded: they stay away until one loads them.
    unloaded: BTreeSet<String>,
    /// The last number of every model there ever was: none is given twice.
    numbers: BTreeMap<String, u64>,
    /// Versions that were replaced, while requests still have them. Whoever changes the store frees
    /// them, so that one thread gives back the memory that it took.
    retired: Vec<Arc<Loaded>>,
}

/// A model file as it was when it was loaded, or could not be.
struct File {
    stamp: Stamp,
    name: String,
    /// The version it became when it could last be loaded.
    version: Option<u64>,
    /// Why it could not.
    failed: Option<String>,
}

/// How a look goes.
struct Look<'a> {
    /// Only files count that looked the same at the last look, as in `before`.
    settled: bool,
    before: BTreeMap<PathBuf, Option<Stamp>>,
    /// Only this model, and again what failed before.
    only: Option<&'a str>,
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
            known: Mutex::default(),
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
        let mut known = self.known();
        let root = Root::new(path, name)?;
        let found = root.find(&mut BTreeMap::new());
        known.roots.push(root);
        if found.is_empty() {
            return Err(Error::Config(format!(
                "`{}` holds no models: expected `NAME.tesla`, `NAME/model.tesla` or `NAME/VERSION/model.tesla`",
                path.display()
            )));
        }
        let failures = self.look(&mut known, false, None);
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
        self.publish(&mut self.known(), name, predictor, None).map(|_| ())
    }

    /// Looks for models that are new, changed or gone. A file counts once it looks the same twice: it
    /// may still be on its way.
    pub fn refresh(&self) {
        self.look(&mut self.known(), true, None);
    }

    /// Loads what the folders have under `name`, also if it was unloaded.
    ///
    /// # Errors
    /// When there is none, or it cannot be loaded; what was served before, if anything, still is.
    pub(crate) fn load(&self, name: &str) -> Result<(), Failure> {
        let mut known = self.known();
        known.unloaded.remove(name);
        let failures = self.look(&mut known, false, Some(name));
        if let Some(failure) = failures.into_iter().next() {
            return Err(Failure::bad_request(format!("{failure}{}", self.still(name))));
        }
        self.edit(&mut known, name, |entry| entry.pinned = None);
        self.find(name, None).map(|_| ())
    }

    /// Takes a model away. Requests that have it are still answered.
    ///
    /// # Errors
    /// When there is no such model.
    pub(crate) fn unload(&self, name: &str) -> Result<(), Failure> {
        let mut known = self.known();
        self.find(name, None)?;
        known.unloaded.insert(name.into());
        known.files.retain(|_, file| file.name != name);
        self.edit(&mut known, name, |entry| *entry = Entry::default());
        tracing::info!(model = name, "unloaded");
        Ok(())
    }

    /// Lets the version before the current one answer, until a newer one comes.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn roll_back(&self, name: &str) -> Result<u64, Failure> {
        let mut known = self.known();
        let current = self.find(name, None)?.version;
        let mut before = None;
        self.edit(&mut known, name, |entry| {
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
        tracing::info!(model = name, version, "rolled back");
        Ok(version)
    }

    /// Frees the versions that no request has any more, and says whether others are left.
    pub(crate) fn sweep(&self) -> bool {
        let mut known = self.known();
        known.sweep();
        !known.retired.is_empty()
    }

    /// What `read` makes of the only model, when there is one only.
    pub fn of_only<T>(&self, read: impl FnOnce(&str, &Bundle) -> T) -> Option<T> {
        let only = self.only().ok()?;
        Some(read(&only.name, only.bundle()))
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

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, name: &str, version: u64) -> bool {
        self.served()
            .get(name)
            .is_some_and(|entry| entry.versions.contains_key(&version))
    }

    /// Compares the folders with what is served, all of them or those of one model. The failures are
    /// those of the newest files.
    fn look(&self, known: &mut Known, settled: bool, only: Option<&str>) -> Vec<Error> {
        let seen = folders::look(&known.roots);
        let unread = known.note_unread(&seen);
        let look = Look {
            settled,
            // Who asks for one model does not wait for its files, and leaves the others as they are.
            before: match only {
                None => std::mem::take(&mut known.unsettled),
                Some(_) => BTreeMap::new(),
            },
            only,
        };
        let mut failures = Vec::new();
        if only.is_some_and(|only| !seen.models.contains_key(only)) {
            failures.extend(unread);
        }
        for (name, files) in &seen.models {
            if only.is_none_or(|only| only == name) && !known.unloaded.contains(name) {
                failures.extend(self.load_newest(known, name, files, &look));
            }
        }
        if only.is_none() {
            self.drop_absent(known, &seen, &look);
        }
        known.sweep();
        failures
    }

    /// Loads the files of a model, the newest first, until as many versions are there as may be. A file
    /// that cannot be loaded does not count: it must not push out one that can.
    fn load_newest(
        &self,
        known: &mut Known,
        name: &str,
        files: &[Found],
        look: &Look<'_>,
    ) -> Option<Error> {
        let mut failure = None;
        let mut good = 0;
        for (at, found) in files.iter().enumerate() {
            // A file without a number is nothing beside those that have one.
            if good == self.config.versions.max(1) || (found.version.is_none() && good > 0) {
                break;
            }
            let Some(stamp) = stamp(&found.path) else {
                continue;
            };
            let file = known.files.get(&found.path);
            let is_loaded =
                file.is_some_and(|file| file.version.is_some_and(|v| self.has(name, v)));
            let is_done =
                file.filter(|file| file.stamp == stamp)
                    .is_some_and(|file| match file.failed {
                        Some(_) => look.only.is_none(),
                        None => is_loaded,
                    });
            let is_settled = !look.settled || look.before.get(&found.path) == Some(&Some(stamp));
            let is_good = match (is_done, is_settled) {
                (true, _) => is_loaded,
                (false, false) => {
                    known.unsettled.insert(found.path.clone(), Some(stamp));
                    is_loaded
                }
                (false, true) => match self.load_file(known, found, stamp) {
                    Ok(_) => true,
                    Err(error) => {
                        if at == 0 {
                            failure = Some(error);
                        }
                        is_loaded
                    }
                },
            };
            good += usize::from(is_good);
        }
        let newest = files.first().and_then(|found| known.files.get(&found.path));
        let failed = newest.and_then(|file| file.failed.clone());
        if self.served().get(name).is_none_or(|entry| entry.failed != failed) {
            self.edit(known, name, |entry| entry.failed = failed);
        }
        failure
    }

    /// Takes away the versions whose files are gone.
    fn drop_absent(&self, known: &mut Known, seen: &Seen, look: &Look<'_>) {
        let gone: Vec<PathBuf> =
            known.files.keys().filter(|path| seen.lacks(path)).cloned().collect();
        for path in gone {
            if look.settled && look.before.get(&path) != Some(&None) {
                known.unsettled.insert(path, None);
                continue;
            }
            let Some(file) = known.files.remove(&path) else {
                continue;
            };
            let is_last = !known.files.values().any(|other| other.name == file.name);
            // Another folder may hold the same version.
            let is_elsewhere =
                |other: &File| other.name == file.name && other.version == file.version;
            let is_only = !known.files.values().any(is_elsewhere);
            let version = file
                .version
                .filter(|version| is_only && self.has(&file.name, *version));
            self.edit(known, &file.name, |entry| {
                if let Some(version) = version {
                    entry.versions.remove(&version);
                }
                if is_last {
                    *entry = Entry::default();
                }
            });
            if version.is_some() {
                tracing::info!(model = file.name, version, "gone with its file");
            }
        }
    }

    /// Loads a file beside what is served, checks it, and only then lets it answer.
    fn load_file(&self, known: &mut Known, found: &Found, stamp: Stamp) -> Result<u64> {
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
            ready.and_then(|predictor| self.publish(known, &found.name, predictor, found.version));
        self.metrics.loaded(&found.name, loaded.is_ok());
        match &loaded {
            Ok(version) => tracing::info!(model = found.name, version, "loaded"),
            Err(error) => {
                tracing::error!(model = found.name, %error, "not loaded{}", self.still(&found.name));
            }
        }
        let before = known.files.remove(&found.path).and_then(|file| file.version);
        let file = File {
            stamp,
            name: found.name.clone(),
            version: loaded.as_ref().ok().copied().or(before),
            failed: loaded.as_ref().err().map(Error::to_string),
        };
        known.files.insert(found.path.clone(), file);
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
    fn publish(
        &self,
        known: &mut Known,
        name: &str,
        predictor: Predictor,
        version: Option<u64>,
    ) -> Result<u64> {
        let last = known.numbers.get(name).copied().unwrap_or(0);
        let version = version.unwrap_or(last.saturating_add(1));
        let loaded = Loaded::new(name, version, predictor, self.config.batching, &self.metrics)
            .map_err(|source| Error::Io {
                action: "start a thread for",
                what: name.into(),
                source,
            })?;
        known.numbers.insert(name.into(), last.max(version));
        self.edit(known, name, |entry| {
            if entry
                .versions
                .keys()
                .next_back()
                .is_none_or(|newest| version >= *newest)
            {
                entry.pinned = None;
            }
            entry.versions.insert(version, Arc::new(loaded));
            entry.trim(self.config.versions);
        });
        Ok(version)
    }

    /// Changes an entry: whoever looks sees the old one or the new one. An entry without versions and
    /// without a failure to tell is no more.
    fn edit(&self, known: &mut Known, name: &str, change: impl FnOnce(&mut Entry)) {
        let mut served = Served::clone(&self.served());
        let old = served.get(name).cloned().unwrap_or_default();
        let mut entry = Entry::clone(&old);
        change(&mut entry);
        let is_kept = |model: &Arc<Loaded>| {
            entry
                .versions
                .get(&model.version)
                .is_some_and(|kept| Arc::ptr_eq(kept, model))
        };
        let replaced = old.versions.values().filter(|model| !is_kept(model));
        known.retired.extend(replaced.cloned());
        let current = entry.current().map(|model| model.version);
        match entry.versions.is_empty() && entry.failed.is_none() {
            true => served.remove(name),
            false => served.insert(name.into(), Arc::new(entry)),
        };
        let served = Arc::new(served);
        let before = std::mem::replace(
            &mut *self.served.write().unwrap_or_else(PoisonError::into_inner),
            served,
        );
        drop((before, old));
        self.metrics.version(name, current);
        known.sweep();
    }
}

impl Known {
    fn sweep(&mut self) {
        self.retired.retain(|model| Arc::strong_count(model) > 1);
    }

    /// Notes the folders that cannot be read, and warns of those that could at the last look.
    fn note_unread(&mut self, seen: &Seen) -> Vec<Error> {
        let error = |(folder, why): (&PathBuf, &String)| {
            Error::Config(format!(
                "cannot read `{}`: {why}; the models in it stay as they are",
                folder.display()
            ))
        };
        for new in seen
            .unread
            .iter()
            .filter(|(folder, _)| !self.unread.contains_key(*folder))
        {
            tracing::warn!(error = %error(new), "a folder of models was left out");
        }
        self.unread.clone_from(&seen.unread);
        seen.unread.iter().map(error).collect()
    }
}
