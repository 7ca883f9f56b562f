use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::arrow::array::{ArrayRef, LargeBinaryBuilder, RecordBatch, StringBuilder};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{BATCH_BYTES, BATCH_ROWS, Batches, IMAGE_KEY, Input, Source};
use crate::fingerprint::hash_files;
use crate::{Error, Result};

/// 8-bit grey images in the IDX format of MNIST (`…-images-idx3-ubyte`, also gzipped), with the
/// labels beside them (`…-labels-idx1-ubyte`) when that file exists.
///
/// Columns: `image` (raw pixels) and `label`. Format: big-endian magic number
/// (0, 0, type 8, number of dimensions), one `u32` per dimension, then the bytes.
pub struct IdxSource {
    images: Input,
    labels: Option<Input>,
    count: usize,
    height: usize,
    width: usize,
}

/// The largest height or width accepted, in pixels.
const MAX_SIDE: usize = 16_384;

impl IdxSource {
    /// Reads the headers of the images and, when it exists, of the label file.
    ///
    /// # Errors
    /// When a header is not IDX, or the two files differ in length.
    pub fn open(images: Input) -> Result<Self> {
        let (dims, _) = header(&images)?;
        let [count, height, width] = dims[..] else {
            return Err(Error::source(
                images.name(),
                format!("has {} IDX dimensions: expected 3 (images, height, width)", dims.len()),
            ));
        };
        if height == 0 || width == 0 || height > MAX_SIDE || width > MAX_SIDE {
            let reason =
                format!("holds images of {height}x{width} pixels: expected 1 to {MAX_SIDE}");
            return Err(Error::source(images.name(), reason));
        }
        let labels = labels_path(&images).map(|path| Input::open(&path)).transpose()?;
        if let Some(labels) = &labels {
            let (dims, _) = header(labels)?;
            if dims != [count] {
                return Err(Error::source(
                    labels.name(),
                    format!("holds {dims:?} labels for {count} images"),
                ));
            }
        }
        Ok(Self {
            images,
            labels,
            count,
            height,
            width,
        })
    }

    fn read(&self, reader: &mut impl Read, input: &Input, buffer: &mut [u8]) -> Result<()> {
        reader.read_exact(buffer).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let reason = format!("is truncated: its header promises {} items", self.count);
                Error::source(input.name(), reason)
            }
            _ => input.error(e),
        })
    }
}

impl Source for IdxSource {
    fn name(&self) -> &str {
        self.images.name()
    }

    fn schema(&self) -> Result<SchemaRef> {
        let layout = format!("{}x{}x1", self.height, self.width);
        let mut fields = vec![
            Field::new("image", DataType::LargeBinary, false)
                .with_metadata([(IMAGE_KEY.to_string(), layout)].into()),
        ];
        if self.labels.is_some() {
            fields.push(Field::new("label", DataType::Utf8, false));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn scan(&self, schema: &SchemaRef) -> Result<Batches<'_>> {
        super::require(schema, &self.schema()?, self.name())?;
        let (_, mut images) = header(&self.images)?;
        let mut labels = self.labels.as_ref().map(header).transpose()?;
        let mut left = self.count;
        let schema = schema.clone();
        // Large images come fewer at a time.
        let most = (BATCH_BYTES / (self.height * self.width)).clamp(1, BATCH_ROWS);
        let mut next = move || {
            let rows = left.min(most);
            left -= rows;
            (rows > 0).then(|| -> Result<_> {
                let mut pixels = vec![0; self.height * self.width];
                let mut image = LargeBinaryBuilder::new();
                let mut label = StringBuilder::new();
                for _ in 0..rows {
                    self.read(&mut images, &self.images, &mut pixels)?;
                    image.append_value(&pixels);
                }
                if let (Some((_, reader)), Some(input)) = (&mut labels, &self.labels) {
                    let mut bytes = vec![0; rows];
                    self.read(reader, input, &mut bytes)?;
                    bytes.iter().for_each(|b| label.append_value(b.to_string()));
                }
                let image: ArrayRef = Arc::new(image.finish());
                let label: ArrayRef = Arc::new(label.finish());
                let columns = schema
                    .fields()
                    .iter()
                    .map(|f| match f.name() == "image" {
                        true => image.clone(),
                        false => label.clone(),
                    })
                    .collect();
                Ok(RecordBatch::try_new(schema.clone(), columns)?.into())
            })
        };
        // A header that promises billions of images must not fail billions of times.
        let mut done = false;
        Ok(Box::new(std::iter::from_fn(move || {
            let batch = (!done).then(&mut next)?;
            done = !matches!(batch, Some(Ok(_)));
            batch
        })))
    }

    fn fingerprint(&self) -> Result<String> {
        let labels = self.labels.as_ref().and_then(Input::path);
        match self.images.path() {
            Some(images) => hash_files(std::iter::once(images).chain(labels)),
            None => self.images.fingerprint(),
        }
    }
}

/// The dimensions, and a reader that stands at the first item.
fn header(input: &Input) -> Result<(Vec<usize>, Box<dyn BufRead + Send>)> {
    let bad = || {
        let reason = "is not an IDX file of bytes: expected `00 00 08 N` and N dimensions";
        Error::source(input.name(), reason)
    };
    let mut reader = input.reader()?;
    let mut word = [0; 4];
    reader.read_exact(&mut word).map_err(|_| bad())?;
    let [0, 0, 8, rank @ 1..=3] = word else {
        return Err(bad());
    };
    let mut dims = Vec::new();
    for _ in 0..rank {
        reader.read_exact(&mut word).map_err(|_| bad())?;
        dims.push(u32::from_be_bytes(word) as usize);
    }
    Ok((dims, reader))
}

/// `train-images-idx3-ubyte.gz` has its labels in `train-labels-idx1-ubyte.gz`.
fn labels_path(images: &Input) -> Option<PathBuf> {
    let path = images.path()?;
    let name = images.name();
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    let candidate = path.with_file_name(&labels);
    (labels != name && candidate.is_file()).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idx(count: u32, bytes: usize) -> Input {
        let mut data = vec![0, 0, 8, 3];
        for dim in [count, 2, 2] {
            data.extend(dim.to_be_bytes());
        }
        data.extend(std::iter::repeat_n(7, bytes));
        Input::from_bytes("x-images-idx3-ubyte", data)
    }

    #[test]
    fn reads_images_and_refuses_lying_headers() {
        let source = IdxSource::open(idx(3, 12)).unwrap();
        let frame = crate::Frame::read_all(Box::new(source)).unwrap();
        assert_eq!(frame.len(), 3);

        let source = IdxSource::open(idx(4_000_000_000, 12)).unwrap();
        assert_eq!(source.scan(&source.schema().unwrap()).unwrap().count(), 1);
        let error = crate::Frame::read_all(Box::new(source)).err().unwrap();
        assert!(error.to_string().contains("is truncated"), "{error}");
    }

    #[test]
    fn large_images_come_a_few_at_a_time() {
        let side = 4096;
        let mut data = vec![0, 0, 8, 3];
        data.extend([3u32, side, side].map(u32::to_be_bytes).concat());
        data.resize(16 + 3 * (side * side) as usize, 7);
        let source = IdxSource::open(Input::from_bytes("x-images-idx3-ubyte", data)).unwrap();
        let batches = source.scan(&source.schema().unwrap()).unwrap();
        let rows: Vec<usize> = batches.map(|batch| batch.unwrap().rows.num_rows()).collect();
        assert_eq!(rows, [2, 1]);
    }
}
