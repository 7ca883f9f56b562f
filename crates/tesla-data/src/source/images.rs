use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::arrow::array::{ArrayRef, LargeBinaryBuilder, RecordBatch, StringBuilder};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::input::file_name;
use super::{Batches, IMAGE_KEY, Source};
use crate::fingerprint::hash_files;
use crate::{Error, Place, Result};

/// A folder of images: one sub-folder per class, or images without classes.
///
/// Columns: `path` (relative to the folder), `image` (the file's bytes, decoded later) and, with
/// sub-folders, `label`. Rows are in the order of their paths, so that runs repeat.
pub struct ImageFolder {
    name: String,
    root: PathBuf,
    files: Vec<ImageFile>,
    labelled: bool,
}

struct ImageFile {
    path: PathBuf,
    relative: String,
    label: Option<String>,
}

/// File names that count as images.
const EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff"];

/// Images are read this many at a time: their bytes weigh more than a table's rows.
const BATCH_IMAGES: usize = 256;

impl ImageFolder {
    /// Lists the images.
    ///
    /// # Errors
    /// When the folder cannot be read or holds no image.
    pub fn open(root: &Path) -> Result<Self> {
        let name = match file_name(root).as_str() {
            "" | "." | ".." => root.display().to_string(),
            name => name.to_string(),
        };
        let mut files = Vec::new();
        for folder in list(root)?.into_iter().filter(|p| p.is_dir()) {
            let label = file_name(&folder);
            for path in list(&folder)?.into_iter().filter(|p| is_image(p)) {
                files.push(ImageFile {
                    relative: format!("{label}/{}", file_name(&path)),
                    label: Some(label.clone()),
                    path,
                });
            }
        }
        let labelled = !files.is_empty();
        if !labelled {
            files = list(root)?
                .into_iter()
                .filter(|p| is_image(p))
                .map(|path| ImageFile {
                    relative: file_name(&path),
                    label: None,
                    path,
                })
                .collect();
        }
        if files.is_empty() {
            return Err(Error::source(
                name,
                format!(
                    "holds no images: expected one sub-folder per class with files ending in {}",
                    EXTENSIONS.map(|e| format!(".{e}")).join(", ")
                ),
            ));
        }
        Ok(Self {
            name,
            root: root.to_path_buf(),
            files,
            labelled,
        })
    }

    /// The folder that was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn batch(&self, schema: &SchemaRef, files: &[ImageFile]) -> Result<RecordBatch> {
        let columns = schema
            .fields()
            .iter()
            .map(|field| -> Result<ArrayRef> {
                Ok(match field.name().as_str() {
                    "image" => {
                        let mut bytes = LargeBinaryBuilder::new();
                        for file in files {
                            let image = std::fs::read(&file.path);
                            bytes.append_value(image.map_err(|e| Error::io(&file.path, e))?);
                        }
                        Arc::new(bytes.finish())
                    }
                    name => {
                        let mut text = StringBuilder::new();
                        for file in files {
                            match name == "label" {
                                true => text.append_option(file.label.as_deref()),
                                false => text.append_value(&file.relative),
                            }
                        }
                        Arc::new(text.finish())
                    }
                })
            })
            .collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }
}

impl Source for ImageFolder {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> Result<SchemaRef> {
        let mut fields = vec![
            Field::new("path", DataType::Utf8, false),
            Field::new("image", DataType::LargeBinary, false)
                .with_metadata([(IMAGE_KEY.to_string(), "encoded".to_string())].into()),
        ];
        if self.labelled {
            fields.push(Field::new("label", DataType::Utf8, false));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        super::require(schema, &self.schema()?, &self.name)?;
        let schema = schema.clone();
        Ok(Box::new(
            self.files
                .chunks(BATCH_IMAGES)
                .map(move |files| Ok(self.batch(&schema, files)?.into())),
        ))
    }

    fn places(&self, rows: &[usize]) -> Vec<Place> {
        rows.iter()
            .map(|row| match self.files.get(*row) {
                Some(file) => Place::whole(file.path.display().to_string()),
                None => Place::row(&self.name, *row),
            })
            .collect()
    }

    fn fingerprint(&self) -> Result<String> {
        hash_files(self.files.iter().map(|f| f.path.as_path()))
    }
}

fn is_image(path: &Path) -> bool {
    path.extension()
        .map(|e| e.to_string_lossy().to_lowercase())
        .is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
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
