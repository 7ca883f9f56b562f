//! What lies in files and folders: where models are, by their names and numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};

/// A model file, or a folder of models, that a server was given.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    path: PathBuf,
    /// What to call the one model that is there.
    name: Option<String>,
    /// A folder that vanishes, with its disk for example, is not a file for that.
    is_folder: bool,
}

/// A model file in a folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) name: String,
    /// The number of its folder, if it has one.
    pub(crate) version: Option<u64>,
    pub(crate) path: PathBuf,
}

/// What a look at the folders found.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The files of every model, the newest first. A file without a number is the last.
    pub(crate) models: BTreeMap<String, Vec<Found>>,
    /// Folders that cannot be read, and why: what is in them is not known.
    pub(crate) unread: BTreeMap<PathBuf, String>,
}

/// Size and time of a file: when both are the same, so is the file.
pub(crate) type Stamp = (u64, Option<SystemTime>);

pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.len(), data.modified().ok()))
}

/// Looks into every root. One that cannot be read does not hide the others.
pub(crate) fn look(roots: &[Root]) -> Seen {
    let mut seen = Seen::default();
    for found in roots
        .iter()
        .flat_map(|root| root.find(&mut seen.unread))
        .collect::<Vec<_>>()
    {
        seen.models.entry(found.name.clone()).or_default().push(found);
    }
    for files in seen.models.values_mut() {
        files.sort();
        files.reverse();
        // Of two roots that hold the same version, one has it.
        files.dedup_by_key(|found| found.version);
    }
    seen
}

impl Seen {
    /// Whether a file is known not to be there.
    pub(crate) fn lacks(&self, path: &Path) -> bool {
        let is_hidden = self.unread.keys().any(|folder| path.starts_with(folder));
        !is_hidden && !self.models.values().flatten().any(|found| found.path == path)
    }
}

impl Root {
    /// # Errors
    /// When there is nothing at `path`, or a folder that cannot be read.
    pub(crate) fn new(path: &Path, name: Option<&str>) -> Result<Self> {
        let fail = |source| Error::Io {
            action: "read",
            what: path.display().to_string(),
            source,
        };
        let is_folder = std::fs::metadata(path).map_err(fail)?.is_dir();
        if is_folder {
            entries(path).map_err(fail)?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            name: name.map(str::to_string),
            is_folder,
        })
    }

    /// The models that are there; notes the folders that cannot be read.
    pub(crate) fn find(&self, unread: &mut BTreeMap<PathBuf, String>) -> Vec<Found> {
        let mut found = Vec::new();
        let mut add = |name, version, path| {
            found.push(Found {
                name,
                version,
                path,
            });
        };
        if !self.is_folder {
            let name = self.name.clone().unwrap_or_else(|| name_of(&self.path));
            add(name, None, self.path.clone());
            return found;
        }
        let mut read = |folder: &Path| match entries(folder) {
            Ok(entries) => entries,
            Err(error) => {
                unread.insert(folder.to_path_buf(), error.to_string());
                Vec::new()
            }
        };
        for (name, path) in read(&self.path) {
            let model = path.join("model.tesla");
            if let (Some(stem), true) = (name.strip_suffix(".tesla"), path.is_file()) {
                // `runs/digits` is a folder of one model, which is called `digits`.
                let name = match stem {
                    "model" => name_of(&path),
                    stem => stem.to_string(),
                };
                add(name, None, path);
            } else if model.is_file() {
                add(name, None, model);
            } else if path.is_dir() {
                for (version, path) in read(&path) {
                    let model = path.join("model.tesla");
                    if let (Ok(version), true) = (version.parse(), model.is_file()) {
                        add(name.clone(), Some(version), model);
                    }
                }
            }
        }
        if let (Some(given), [only]) = (&self.name, found.as_mut_slice()) {
            only.name = given.clone();
        }
        found
    }
}

/// What a model file is called: `runs/digits/model.tesla` is `digits`, and so is `digits.tesla`.
pub fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = path.parent().and_then(Path::file_name);
    match (stem.as_ref(), folder) {
        ("model", Some(folder)) => folder.to_string_lossy().into_owned(),
        (stem, _) => stem.to_string(),
    }
}

/// What is in a folder, by name. Hidden entries are left out, and names that are not UTF-8.
fn entries(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path, name: Option<&str>) -> Vec<(String, Option<u64>)> {
        let seen = look(&[Root::new(root, name).unwrap()]);
        assert!(seen.unread.is_empty());
        let found = seen.models.into_values().flatten();
        found.map(|found| (found.name, found.version)).collect()
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
                named("adult", Some(10)),
                named("adult", Some(2)),
                named("adult", Some(1)),
                named("digits", None),
                named("iris", None),
            ]
        );
        assert_eq!(names(&root.path().join("digits"), None), [named("digits", None)]);
        assert_eq!(names(&root.path().join("iris.tesla"), Some("x")), [named("x", None)]);
    }

    #[test]
    fn what_cannot_be_read_is_neither_gone_nor_in_the_way() {
        let home = tempfile::tempdir().unwrap();
        let (disk, other) = (home.path().join("disk"), home.path().join("other"));
        for folder in [&disk, &other] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(disk.join("a.tesla"), "").unwrap();
        std::fs::write(other.join("b.tesla"), "").unwrap();
        let roots = [&disk, &other].map(|path| Root::new(path, None).unwrap());
        std::fs::rename(&disk, home.path().join("away")).unwrap();
        let seen = look(&roots);
        assert_eq!(seen.models.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(seen.unread.keys().collect::<Vec<_>>(), [&disk]);
        assert!(!seen.lacks(&disk.join("a.tesla")));
        assert!(!seen.lacks(&other.join("b.tesla")));
        assert!(seen.lacks(&other.join("c.tesla")));
    }
}
