use std::collections::HashMap;
use std::path::Path;

use super::folder::Folder;
use super::{Batches, Source, TEXT_KEY, require};
use crate::arrow::datatypes::{DataType, Field, SchemaRef};
use crate::{Error, Place, Result};

/// A folder of `.txt` files in UTF-8: one sub-folder per class, or texts without classes.
///
/// Columns: `path` (relative to the folder), `text` and, with sub-folders, `label`.
pub struct TextFolder {
    folder: Folder,
}

impl TextFolder {
    /// Lists the texts.
    ///
    /// # Errors
    /// When the folder cannot be read or holds no text.
    pub fn open(root: &Path) -> Result<Self> {
        let folder = Folder::list(root, &["txt"])?;
        if folder.is_empty() {
            let reason =
                "holds no texts: expected one sub-folder per class with files ending in .txt";
            return Err(Error::source(folder.name, reason));
        }
        Ok(Self { folder })
    }
}

impl Source for TextFolder {
    fn name(&self) -> &str {
        &self.folder.name
    }

    fn schema(&self) -> Result<SchemaRef> {
        let text = Field::new("text", DataType::Utf8, false);
        let about = HashMap::from([(TEXT_KEY.to_string(), "true".to_string())]);
        Ok(self.folder.schema(text.with_metadata(about)))
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        require(schema, &self.schema()?, self.name())?;
        Ok(self.folder.scan(schema, "text", check))
    }

    fn places(&self, rows: &[usize]) -> Vec<Place> {
        self.folder.places(rows)
    }

    fn fingerprint(&self) -> Result<String> {
        self.folder.fingerprint()
    }
}

/// The largest text, in bytes: a batch of such texts still fits Arrow's 2 GiB.
const MAX_TEXT: usize = 7 << 20;

fn check(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() > MAX_TEXT {
        return Err(format!("the text has {} bytes: expected at most {MAX_TEXT}", bytes.len()));
    }
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("the text is not UTF-8 from byte {}", e.valid_up_to() + 1)),
    }
}
