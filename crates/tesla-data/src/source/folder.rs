use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::input::file_name;
use super::{Batches, Scanned};
use crate::arrow::array::{ArrayRef, LargeBinaryBuilder, RecordBatch, StringBuilder};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::fingerprint::hash_files;
use crate::{BadRow, Error, Place, Result};

/// The files of a folder: one sub-folder per class, or files without classes. Every file is a row,
/// in the order of the paths, so that runs repeat.
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) root: PathBuf,
    /// The root without links, which no file may leave.
    real_root: PathBuf,
    files: Vec<Listed>,
    labelled: bool,
}

struct Listed {
    path: PathBuf,
    relative: String,
    label: Option<String>,
}

/// The largest file that is read as one row, in bytes.
const MAX_FILE: u64 = 256 << 20;

/// Files are read this many at a time: their bytes weigh more than a table's rows.
const BATCH_FILES: usize = 256;

impl Folder {
    /// Lists the files whose names end in one of `extensions`.
    ///
    /// # Errors
    /// When the folder cannot be read, or a sub-folder is a link that leads out of it.
    pub(super) fn list(root: &Path, extensions: &[&str]) -> Result<Self> {
        let name = match file_name(root).as_str() {
            "" | "." | ".." => root.display().to_string(),
            name => name.to_string(),
        };
        let real_root = root.canonicalize().map_err(|e| Error::io(root, e))?;
        let mut files = Vec::new();
        for folder in entries(root)?.into_iter().filter(|p| p.is_dir()) {
            let label = file_name(&folder);
            let real = folder.canonicalize().map_err(|e| Error::io(&folder, e))?;
            if real == real_root || !real.starts_with(&real_root) {
                let reason = format!(
                    "holds `{label}`, a link out of it or in a circle: put the folder itself there"
                );
                return Err(Error::source(name, reason));
            }
            for path in entries(&folder)? {
                if has_extension(&path, extensions) {
                    files.push(Listed {
                        relative: format!("{label}/{}", file_name(&path)),
                        label: Some(label.clone()),
                        path,
                    });
                }
            }
        }
        let labelled = !files.is_empty();
        if !labelled {
            let paths = entries(root)?.into_iter();
            files = paths
                .filter(|path| has_extension(path, extensions) && !path.is_dir())
                .map(|path| Listed {
                    relative: file_name(&path),
                    label: None,
                    path,
                })
                .collect();
        }
        Ok(Self {
            name,
            root: root.to_path_buf(),
            real_root,
            files,
            labelled,
        })
    }

    /// One file, as a folder that holds nothing else.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let real = path.canonicalize().map_err(|e| Error::io(path, e))?;
        let folder = |path: &Path| path.parent().map(Path::to_path_buf).unwrap_or_default();
        let name = file_name(path);
        Ok(Self {
            root: folder(path),
            real_root: folder(&real),
            files: vec![Listed {
                path: path.to_path_buf(),
                relative: name.clone(),
                label: None,
            }],
            labelled: false,
            name,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// `path` (relative to the folder), the `content` and, with sub-folders, `label`.
    pub(super) fn schema(&self, content: Field) -> SchemaRef {
        let mut fields = vec![Field::new("path", DataType::Utf8, false), content];
        if self.labelled {
            fields.push(Field::new("label", DataType::Utf8, false));
        }
        Arc::new(Schema::new(fields))
    }

    /// Reads the files, where the column `content` is among those that are asked for; `check` says
    /// what is wrong with a file's bytes.
    pub(super) fn scan(
        &self,
        schema: &SchemaRef,
        content: &'static str,
        check: fn(&[u8]) -> Result<(), String>,
    ) -> Batches<'_> {
        let schema = schema.clone();
        let wanted = schema.column_with_name(content).is_some();
        let load = move |file: &Listed| match wanted {
            true => {
                let bytes = read_file(&file.path, &self.real_root)?;
                check(&bytes).map(|()| bytes)
            }
            false => Ok(Vec::new()),
        };
        let chunks = self.files.chunks(BATCH_FILES).enumerate();
        Box::new(chunks.map(move |(chunk, files)| {
            let mut good = Vec::new();
            let mut bad = Vec::new();
            let loaded: Vec<_> = files.par_iter().map(load).collect();
            for (at, (file, loaded)) in std::iter::zip(files, loaded).enumerate() {
                match loaded {
                    Ok(bytes) => good.push((file, bytes)),
                    Err(reason) => bad.push(BadRow {
                        place: Place::whole(file.path.display().to_string()),
                        number: chunk * BATCH_FILES + at,
                        column: Some(content.into()),
                        value: None,
                        reason,
                    }),
                }
            }
            let columns = schema.fields().iter().map(|field| column(field, &good)).collect();
            let rows = RecordBatch::try_new(schema.clone(), columns)?;
            Ok(Scanned { rows, bad })
        }))
    }

    pub(super) fn places(&self, rows: &[usize]) -> Vec<Place> {
        rows.iter()
            .map(|row| match self.files.get(*row) {
                Some(file) => Place::whole(file.path.display().to_string()),
                None => Place::row(&self.name, *row),
            })
            .collect()
    }

    pub(super) fn fingerprint(&self) -> Result<String> {
        hash_files(self.files.iter().map(|f| f.path.as_path()))
    }
}

/// A file's bytes, or why they are not read. The file must lie within `real_root`, which has no
/// links in it, whatever links there are on the way.
pub(super) fn read_file(path: &Path, real_root: &Path) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("the file cannot be read: {e}");
    let real = path.canonicalize().map_err(failed)?;
    if !real.starts_with(real_root) {
        return Err("the file is a link out of the folder".into());
    }
    let about = real.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err("this is not a regular file".into());
    }
    if about.len() > MAX_FILE {
        return Err(format!("the file is larger than {} MiB", MAX_FILE >> 20));
    }
    std::fs::read(&real).map_err(failed)
}

pub(super) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .map(|e| e.to_string_lossy().to_lowercase())
        .is_some_and(|e| extensions.contains(&e.as_str()))
}

fn column(field: &Field, rows: &[(&Listed, Vec<u8>)]) -> ArrayRef {
    if field.data_type() == &DataType::LargeBinary {
        let mut bytes = LargeBinaryBuilder::new();
        rows.iter().for_each(|(_, content)| bytes.append_value(content));
        return Arc::new(bytes.finish());
    }
    let mut text = StringBuilder::new();
    for (file, content) in rows {
        match field.name().as_str() {
            "path" => text.append_value(&file.relative),
            "label" => text.append_option(file.label.as_deref()),
            _ => text.append_value(String::from_utf8_lossy(content)),
        }
    }
    Arc::new(text.finish())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|e| e.map(|e| e.path()))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .map_err(|e| Error::io(folder, e))?;
    paths.sort();
    Ok(paths)
}
