//! One file per command; here is what they share.

pub(crate) mod audit;
pub(crate) mod bundle;
pub(crate) mod compare;
pub(crate) mod datasets;
pub(crate) mod deploy;
mod dry_run;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod inspect;
pub(crate) mod predict;
pub(crate) mod profile;
mod recommend;
pub(crate) mod report;
pub(crate) mod runs;
pub(crate) mod serve;
pub(crate) mod train;
pub(crate) mod verify;

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::Result;
use tesla::{Bundle, Config, Device, DeviceChoice, Error, Predictor, Seen};
use tesla_data::BadPolicy;
use tesla_data::source::{self, Source};

/// Opens a device and says on standard error what the user should know about it.
fn open_device(choice: DeviceChoice) -> Result<Device> {
    let device = Device::open(choice)?;
    if let Some(note) = device.note() {
        note!("note: {note}");
    }
    Ok(device)
}

/// Opens rows for a model, read as those it was trained on, and what its run did with bad rows.
/// Paths to images in a table start at `images`, or beside the table.
fn open_rows(
    data: &str,
    images: Option<&Path>,
    bundle: &Bundle,
) -> Result<(Box<dyn Source>, BadPolicy)> {
    let config: Option<Config> = serde_json::from_value(bundle.provenance.config.clone()).ok();
    let mut config = config.unwrap_or_default().data.for_new_rows(&bundle.contract);
    // Where pictures lie beside new rows is not where they lay beside the old ones.
    config.images.root = images.map(|folder| folder.display().to_string());
    if !source::is_url(data) {
        (config.table, config.query) = (None, None);
    }
    Ok((source::open_data(data, Path::new(""), &config)?, config.bad_policy()))
}

/// What users have in the rows of `--seen`, batch by batch.
fn seen(data: Option<&str>, predictor: &Predictor) -> Result<Seen> {
    let mut all = Seen::default();
    let Some(data) = data else {
        return Ok(all);
    };
    let (source, _) = open_rows(data, None, predictor.bundle())?;
    for batch in source.scan(&source.raw_schema()?)? {
        all.extend(predictor.seen(&batch?.rows)?);
    }
    Ok(all)
}

/// `tesla devices`.
pub(crate) fn devices() -> Result<()> {
    let mut out = io::stdout().lock();
    for device in tesla_core::device::list() {
        writeln!(out, "{:<8}  {}", device.choice, device.description)?;
    }
    Ok(())
}

/// `tesla schema`.
pub(crate) fn schema() -> Result<()> {
    let schema = schemars::schema_for!(Config);
    writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&schema)?)?;
    Ok(())
}

/// The exit code of a run that was stopped and can go on.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code of an error, as `tesla --help` documents them.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(tesla_train::Error::Interrupted { .. }) = error.downcast_ref() {
        return INTERRUPTED;
    }
    let data =
        error
            .downcast_ref::<tesla_data::Error>()
            .or_else(|| match error.downcast_ref::<Error>() {
                Some(Error::Data(e)) => Some(e),
                _ => None,
            });
    if let Some(tesla_data::Error::Spill { .. }) = data {
        return 3;
    }
    let core =
        error
            .downcast_ref::<tesla_core::Error>()
            .or_else(|| match error.downcast_ref::<Error>() {
                Some(Error::Core(e)) => Some(e),
                _ => None,
            });
    match core {
        Some(tesla_core::Error::Device(_)) => 3,
        Some(tesla_core::Error::Io {
            action: "write", ..
        }) => 3,
        Some(_) => 1,
        // Reading is answered with the message of the source; what is left is writing and ports.
        None if io_kind(error).is_some() => 3,
        None => 1,
    }
}

/// An error and its causes; a cause that is already told is not told again.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match told.as_str() {
            "" => cause,
            told if told.contains(&cause) => told.into(),
            told => format!("{told}: {cause}"),
        }
    })
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    let mut kinds = causes.map(io::Error::kind).chain(io_kind(error));
    kinds.any(|kind| kind == ErrorKind::BrokenPipe)
}

/// What went wrong while something was written, also where a writer of rows wraps it. What goes wrong
/// while something is read has a message of its source, and is none of it.
fn io_kind(error: &anyhow::Error) -> Option<ErrorKind> {
    let of_csv = |e: &csv::Error| match e.kind() {
        csv::ErrorKind::Io(e) => Some(e.kind()),
        _ => None,
    };
    let of_io = error.downcast_ref::<io::Error>().map(io::Error::kind);
    of_io
        .or_else(|| error.downcast_ref().and_then(of_csv))
        .or_else(|| error.downcast_ref::<serde_json::Error>()?.io_error_kind())
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Writes a file that appears whole or not at all.
fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<()>,
) -> Result<()> {
    write_whole_as(path, 0o644, write)
}

/// Writes a file with these permissions that appears whole or not at all. What is no file, such as a
/// pipe, is written to as the rows come.
fn write_whole_as(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<()>,
) -> Result<()> {
    // A link stays one, and the file it names is replaced.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let fail = |e: io::Error| cannot_write(path, e);
    let all = |file: &mut (dyn Write + Send)| -> Result<()> {
        let mut buffered = io::BufWriter::new(file);
        write(&mut buffered).map_err(|e| match io_kind(&e) {
            Some(kind) if kind != ErrorKind::BrokenPipe => fail(kind.into()).into(),
            _ => e,
        })?;
        Ok(buffered.flush().map_err(fail)?)
    };
    if std::fs::metadata(&target).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
        let mut file = std::fs::File::options().write(true).open(&target).map_err(fail)?;
        return all(&mut file);
    }
    let mut file = tempfile::NamedTempFile::new_in(folder_of(&target)).map_err(fail)?;
    all(&mut file)?;
    persist(file, &target, mode)
}

/// Puts a finished temporary file in its place.
fn persist(file: tempfile::NamedTempFile, path: &Path, mode: u32) -> Result<()> {
    let fail = |e: io::Error| cannot_write(path, e);
    // A name must never point at what a loss of power has kept from the disk.
    file.as_file().sync_all().map_err(fail)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(file.path(), open).map_err(fail)?;
    }
    #[cfg(not(unix))]
    let _ = mode;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

fn cannot_write(path: &Path, e: io::Error) -> tesla_core::Error {
    tesla_core::Error::Io {
        action: "write",
        path: path.to_path_buf(),
        // Without the name of the temporary file, which says nothing to anybody.
        source: match e.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => e.kind().into(),
        },
    }
}
