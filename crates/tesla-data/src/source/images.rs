use std::path::Path;

use super::folder::Folder;
use super::{Batches, IMAGE_KEY, Source, require};
use crate::arrow::datatypes::{DataType, Field, SchemaRef};
use crate::prepare::decode_file;
use crate::{Error, Place, Result};

/// A folder of images: one sub-folder per class, or images without classes.
///
/// Columns: `path` (relative to the folder), `image` (the file's bytes) and, with sub-folders,
/// `label`. Rows are in the order of their paths, so that runs repeat. Every image is decoded once
/// during a scan, so that one that is damaged is set apart before anything is learnt.
pub struct ImageFolder {
    folder: Folder,
}

/// File names that count as images.
pub(super) const EXTENSIONS: [&str; 8] =
    ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff"];

impl ImageFolder {
    /// Lists the images.
    ///
    /// # Errors
    /// When the folder cannot be read or holds no image.
    pub fn open(root: &Path) -> Result<Self> {
        let folder = Folder::list(root, &EXTENSIONS)?;
        if folder.is_empty() {
            let endings = EXTENSIONS.map(|e| format!(".{e}")).join(", ");
            let reason = format!(
                "holds no images: expected one sub-folder per class with files ending in {endings}, or in .txt for texts"
            );
            return Err(Error::source(folder.name, reason));
        }
        Ok(Self { folder })
    }

    /// One image file.
    ///
    /// # Errors
    /// When it is not there.
    pub fn of_file(path: &Path) -> Result<Self> {
        let folder = Folder::of_file(path)?;
        Ok(Self { folder })
    }

    /// The folder that was opened.
    pub fn root(&self) -> &Path {
        &self.folder.root
    }
}

impl Source for ImageFolder {
    fn name(&self) -> &str {
        &self.folder.name
    }

    fn schema(&self) -> Result<SchemaRef> {
        Ok(self.folder.schema(field()))
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        require(schema, &self.schema()?, self.name())?;
        Ok(self.folder.scan(schema, "image", check))
    }

    fn places(&self, rows: &[usize]) -> Vec<Place> {
        self.folder.places(rows)
    }

    fn fingerprint(&self) -> Result<String> {
        self.folder.fingerprint()
    }
}

/// The column of image files.
pub(super) fn field() -> Field {
    Field::new("image", DataType::LargeBinary, false)
        .with_metadata([(IMAGE_KEY.to_string(), "encoded".to_string())].into())
}

/// Why the bytes are no image.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    decode_file(bytes).map(|_| ())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::source::{open_data, texts::TextFolder};

    /// A grey image of one pixel.
    pub(in crate::source) fn png() -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = image::GrayImage::from_pixel(1, 1, image::Luma([7]));
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        root
    }

    #[test]
    fn one_image_is_a_row() {
        let root = folder(&[("a.PNG", &png()), ("b.png", &png())]);
        let path = root.path().join("a.PNG");
        let source = open_data("a.PNG", root.path(), &crate::DataConfig::default()).unwrap();
        let scanned = source
            .scan(&source.schema().unwrap())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!((scanned.rows.num_rows(), scanned.bad.len()), (1, 0));
        assert_eq!(source.places(&[0])[0].to_string(), format!("`{}`", path.display()));
    }

    #[test]
    fn a_damaged_image_is_set_apart() {
        let png = png();
        let root = folder(&[
            ("cat/1.png", &png),
            ("cat/2.png", &png[..20]),
            ("dog/1.png", &png),
            ("dog/notes.txt", b"no image"),
        ]);
        let source = ImageFolder::open(root.path()).unwrap();
        let scanned = source
            .scan(&source.schema().unwrap())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(scanned.rows.num_rows(), 2);
        assert_eq!(scanned.bad.len(), 1);
        assert_eq!(scanned.bad[0].number, 1);
        let error = scanned.bad[0].clone().into_error().to_string();
        assert!(error.contains("2.png`, column `image`: the image cannot"), "{error}");
    }

    /// A PNG header: 65,500 pixels a side, then nothing.
    #[test]
    fn an_image_that_claims_gigabytes_is_set_apart() {
        let mut bytes = png();
        bytes[16..24].copy_from_slice(&[0, 0, 0xff, 0xdc, 0, 0, 0xff, 0xdc]);
        // The header's checksum, over its kind and content.
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        let error = check(&bytes).unwrap_err();
        assert!(error.contains("exceeds limit"), "{error}");
    }

    #[test]
    fn texts_are_found_where_there_are_no_images() {
        let root =
            folder(&[("neg/1.txt", b"bad film"), ("pos/1.txt", b"good"), ("pos/2.txt", &[0xff])]);
        let data = crate::DataConfig::default();
        let source = open_data("", root.path(), &data).unwrap();
        let scanned = source
            .scan(&source.schema().unwrap())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(scanned.rows.num_rows(), 2);
        assert!(scanned.bad[0].reason.contains("not UTF-8"), "{}", scanned.bad[0].reason);
        assert!(TextFolder::open(root.path()).is_ok());
        let empty = tempfile::tempdir().unwrap();
        let error = open_data("", empty.path(), &data).err().unwrap().to_string();
        assert!(error.contains("holds no images"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_or_out_of_the_folder_are_refused() {
        let png = png();
        let root = folder(&[("data/cat/1.png", &png), ("outside.png", &png)]);
        let data = root.path().join("data");
        std::os::unix::fs::symlink(root.path().join("outside.png"), data.join("cat/2.png"))
            .unwrap();
        let source = ImageFolder::open(&data).unwrap();
        let scanned = source
            .scan(&source.schema().unwrap())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!((scanned.rows.num_rows(), scanned.bad.len()), (1, 1));
        assert!(scanned.bad[0].reason.contains("link out of the folder"));

        std::os::unix::fs::symlink(&data, data.join("loop")).unwrap();
        let error = ImageFolder::open(&data).err().unwrap().to_string();
        assert!(error.contains("`loop`, a link"), "{error}");
    }
}
