//! A private PostgreSQL server: started in a temporary folder, filled, read and stopped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use tesla_data::arrow::array::{Array, AsArray};
use tesla_data::arrow::datatypes::{DataType, Float64Type};
use tesla_data::source::{PostgresSource, open_data};
use tesla_data::{DataConfig, Frame, Source};

const PASSWORD: &str = "p@ss/w:rd";

pub(crate) fn trials() -> Vec<Trial> {
    let programs = programs();
    if programs.is_none() {
        println!("no PostgreSQL server (`initdb`, `pg_ctl`) was found: its test is skipped");
    }
    let missing = programs.is_none();
    let test = move || reads_a_server(&programs.ok_or("no PostgreSQL server")?);
    vec![
        Trial::test("postgres_is_read_typed_streamed_and_read_only", test)
            .with_ignored_flag(missing),
    ]
}

fn reads_a_server(programs: &Path) -> Result<(), Failed> {
    let server = Server::start(programs)?;
    let url = server.url(PASSWORD);
    let open = |data: &DataConfig| PostgresSource::open(&url, Path::new(""), data);

    // One table, so that neither `table` nor `query` is needed; its bytes cannot be read.
    let all = open(&DataConfig::default())?;
    let error = all.schema().err().ok_or("a bytea column was accepted")?.to_string();
    assert!(error.contains("column `raw`: holds values of type `bytea`"), "{error}");
    assert!(error.contains("CAST(raw AS TEXT)"), "{error}");

    let data = DataConfig {
        query: Some("SELECT * FROM sales ORDER BY id;".into()),
        drop: vec!["raw".into()],
        ..DataConfig::default()
    };
    let source = open(&data)?;
    let schema = source.schema()?;
    let kinds: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| (f.name().as_str(), f.data_type()))
        .collect();
    let (number, text) = (&DataType::Float64, &DataType::Utf8);
    assert_eq!(
        kinds,
        [
            ("id", number),
            ("price", number),
            ("share", number),
            ("ok", text),
            ("city", text),
            ("day", text),
            ("at", text),
            ("raw", text),
        ]
    );
    let batches: Vec<_> = source.scan(&schema)?.collect::<Result<_, _>>()?;
    assert!(batches.len() > 2, "one batch is no stream");
    assert_eq!(batches.iter().map(|b| b.rows.num_rows()).sum::<usize>(), 19_999);
    // An infinite number is set apart, a NaN is missing.
    let bad: Vec<_> = batches.iter().flat_map(|b| &b.bad).collect();
    assert_eq!((bad.len(), bad[0].number), (1, 6));
    assert_eq!(bad[0].column.as_deref(), Some("share"));
    let first = &batches[0].rows;
    assert_eq!(first.column(1).as_primitive::<Float64Type>().value(2), 3.25);
    assert!(first.column(2).is_null(4) && first.column(4).is_null(0));
    let texts = |at: usize| first.column(at).as_string::<i32>().value(1).to_string();
    assert_eq!(texts(3), "true");
    assert_eq!(texts(4), "city 2");
    assert_eq!(texts(5), "2020-01-03");
    assert_eq!(texts(6), "2020-01-01T00:00:02Z");
    assert_eq!(source.fingerprint()?, source.fingerprint()?);

    // What writes is refused, and so is a second statement.
    for query in ["INSERT INTO sales (id) VALUES (-1) RETURNING id", "SELECT 1; DROP TABLE sales"] {
        let data = DataConfig {
            query: Some(query.into()),
            ..DataConfig::default()
        };
        let refused = open(&data).and_then(|source| Frame::read_all(Box::new(source)).map(|_| ()));
        assert!(refused.is_err(), "`{query}` ran");
    }

    // The password may stand in a file, and never stands in a message.
    std::fs::write(server.folder.path().join("password"), format!("{PASSWORD}\n"))?;
    let data = DataConfig {
        table: Some("sales".into()),
        drop: vec!["raw".into()],
        password_file: Some("password".into()),
        ..DataConfig::default()
    };
    let url = server.url("").replace(":@", "@");
    let source = open_data(&url, server.folder.path(), &data)?;
    assert_eq!(source.name(), "localhost/postgres");
    source.schema()?;
    let wrong = PostgresSource::open(&server.url("hunter2"), Path::new(""), &data);
    let error = wrong.err().ok_or("a wrong password was accepted")?;
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
    Ok(())
}

/// Where the server's programs are.
fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian
        .map(|version| version.path().join("bin"))
        .chain(std::env::split_paths(&path))
        .find(|folder| ["initdb", "pg_ctl"].iter().all(|name| folder.join(name).is_file()))
}

struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
}

impl Server {
    fn start(programs: &Path) -> Result<Self, Failed> {
        let server = Self {
            folder: tempfile::tempdir()?,
            programs: programs.to_path_buf(),
        };
        let folder = server.folder.path();
        std::fs::write(folder.join("pw"), PASSWORD)?;
        if is_root() {
            // The server refuses to run as root; Debian's package brings a user for it.
            run(Command::new("chown").args(["-R", "postgres"]).arg(folder))?;
        }
        run(server
            .program("initdb")
            .args(["-D", "data", "-U", "tester", "-N", "-E", "UTF8"])
            .args(["-A", "scram-sha-256", "--pwfile", "pw"]))?;
        let socket = format!("-c listen_addresses= -c fsync=off -k {}", folder.display());
        run(server
            .program("pg_ctl")
            .args(["-D", "data", "-l", "log", "-w", "-o", &socket, "start"]))?;
        let mut client = postgres::Client::connect(&server.url(PASSWORD), postgres::NoTls)?;
        client.batch_execute(
            "CREATE TYPE town AS ENUM ('city 2', 'city 3');
             CREATE TABLE sales (id int PRIMARY KEY, price numeric(9, 2), share float8, ok bool,
                                 city town, day date, at timestamptz, raw bytea);
             INSERT INTO sales
             SELECT i, i + 0.25, CASE i WHEN 5 THEN 'NaN'::float8 WHEN 7 THEN '-Infinity' ELSE i END,
                    i % 2 = 0, CASE i % 3 WHEN 0 THEN 'city 3'::town WHEN 2 THEN 'city 2' END,
                    date '2020-01-01' + i % 9, timestamptz '2020-01-01 00:00:00+00' + i * interval '1 s', '\\x00'
             FROM generate_series(1, 20000) i;",
        )?;
        Ok(server)
    }

    fn url(&self, password: &str) -> String {
        let escape = |text: &str| text.replace('/', "%2F").replace('@', "%40").replace(':', "%3A");
        let socket = escape(&self.folder.path().display().to_string());
        format!("postgres://tester:{}@{socket}/postgres", escape(password))
    }

    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(path);
                command
            }
            false => Command::new(path),
        };
        command
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stop =
            run(self
                .program("pg_ctl")
                .args(["-D", "data", "-m", "immediate", "-w", "stop"]));
        if let Err(error) = stop {
            eprintln!("the PostgreSQL server was not stopped: {error:?}");
        }
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout == b"0\n")
}

fn run(command: &mut Command) -> Result<(), Failed> {
    let status = command.status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{command:?} ended with {status}").into()),
    }
}
