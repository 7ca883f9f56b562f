use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use tesla::DeviceChoice;
use tesla_serve::{Batching, Config, Drain, Keys, Limits, Store, Tls};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::open_device;
use crate::show;

#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Model files, or folders of models: `NAME.tesla`, `NAME/model.tesla` or
    /// `NAME/VERSION/model.tesla`.
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value_t = tesla_serve::ADDRESS.to_string(), value_name = "HOST:PORT", value_parser = address)]
    addr: String,
    /// What to call the model. Default: its file name, or its folder's for `model.tesla`.
    #[arg(long)]
    name: Option<String>,
    /// `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`.
    #[arg(long, default_value_t)]
    device: DeviceChoice,

    /// Rows of one pass through the network, at most.
    #[arg(long, default_value_t = Batching::default().rows, help_heading = "Batching")]
    batch_rows: usize,
    /// Milliseconds that the first request of a pass waits for others.
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "MS",
        help_heading = "Batching"
    )]
    batch_delay: f64,
    /// Requests that may wait for a model; one more is refused with 503.
    #[arg(long, default_value_t = Batching::default().queue, help_heading = "Batching")]
    queue: usize,

    /// Bytes of a request's body, unpacked or not.
    #[arg(long, default_value_t = Limits::default().body, value_name = "BYTES", help_heading = "Limits")]
    max_body: usize,
    /// Rows of a request.
    #[arg(long, default_value_t = Limits::default().rows, value_name = "ROWS", help_heading = "Limits")]
    max_rows: usize,
    /// Requests at work at the same time.
    #[arg(long, default_value_t = Limits::default().requests, value_name = "N", help_heading = "Limits")]
    max_requests: usize,
    /// Open connections.
    #[arg(long, default_value_t = Limits::default().connections, value_name = "N", help_heading = "Limits")]
    max_connections: usize,
    /// Seconds a request may take.
    #[arg(
        long,
        default_value_t = 30.0,
        value_name = "S",
        help_heading = "Limits"
    )]
    timeout: f64,
    /// Seconds that a client has for a request's header.
    #[arg(
        long,
        default_value_t = 30.0,
        value_name = "S",
        help_heading = "Limits"
    )]
    header_timeout: f64,

    /// A file of API keys, one a line; without any key, everybody may ask. `TESLA_API_KEYS` holds
    /// more, between commas.
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    api_keys: Option<PathBuf>,
    /// The certificate of a server that speaks TLS, in PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Security"
    )]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Security"
    )]
    tls_key: Option<PathBuf>,
    /// Let clients load, unload and roll back models.
    #[arg(long, help_heading = "Models")]
    control: bool,
    /// Seconds between two looks for new models; 0 for never.
    #[arg(long, default_value_t = 2.0, value_name = "S", help_heading = "Models")]
    watch: f64,
    /// Versions of a model that stay loaded: the newest, and those to roll back to.
    #[arg(long, default_value_t = 2, value_name = "N", help_heading = "Models")]
    versions: usize,
    /// How the log on standard error is written.
    #[arg(long, value_enum, default_value_t = Log::Text, help_heading = "Log")]
    log: Log,
    /// What is in it: `debug` has every request, `info` those that were refused.
    #[arg(long, value_enum, default_value_t = Level::Info, help_heading = "Log")]
    log_level: Level,
    /// Seconds that the server says "not ready" at the end, and still answers.
    #[arg(long, default_value_t = 0.0, value_name = "S", help_heading = "Limits")]
    drain_delay: f64,
    /// Seconds that requests under way may then take.
    #[arg(
        long,
        default_value_t = 30.0,
        value_name = "S",
        help_heading = "Limits"
    )]
    drain_timeout: f64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Log {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

const AFTER_HELP: &str = "\
Addresses:
  /                              a page to try the models on
  /docs, /openapi.json           what there is to ask
  POST /v1/models/NAME/predict   JSON rows, CSV or images in, predictions out
  POST /v1/models/NAME/explain   why a row is predicted as it is
  POST /v2/models/NAME/infer     the Open Inference Protocol; gRPC on the same port
  POST /invocations              MLflow's formats
  /v2/health/live, /v2/health/ready, /metrics";

fn address(text: &str) -> Result<String, String> {
    let is_host = |host: &str| {
        let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        !host.is_empty() && (name.is_some() || !host.contains(':'))
    };
    let is_port = |port: &str| !port.starts_with('+') && port.parse::<u16>().is_ok();
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) && is_port(port) => Ok(text.into()),
        _ => Err("expected a host and a port, such as `127.0.0.1:8080` or `[::1]:8080`".into()),
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    // Some minutes after the start, the system would make large pages of memory that is hardly in use, which
    // takes a fifth more of it and looks like a leak.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    log(args.log, args.log_level);
    let config = config(&args)?;
    if args.name.is_some() && args.models.len() != 1 {
        bail!("`--name` is for one model: name the files instead");
    }
    let store = Store::new(open_device(args.device)?, config);
    for path in &args.models {
        store.add(path, args.name.as_deref())?;
    }
    let scheme = if args.tls_cert.is_some() {
        "https"
    } else {
        "http"
    };
    let example = store.of_only(|name, bundle| (name.to_string(), show::example_row(bundle)));
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(&args.addr).await;
        let listener = listener.with_context(|| format!("cannot listen on `{}`", args.addr))?;
        let url = format!("{scheme}://{}", listener.local_addr()?);
        {
            let mut names: Vec<String> = store.list().into_iter().map(|line| line.name).collect();
            names.dedup();
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "serving `{}` on {url}", names.join("`, `"))?;
            if let Some((name, example)) = example {
                writeln!(stdout, "try    curl {url}/v1/models/{name}/predict -d '{example}'")?;
            }
            writeln!(stdout, "look   {url}/ is a page to try it on, {url}/docs says more")?;
            writeln!(stdout, "stop   Ctrl-C; requests under way are finished")?;
            stdout.flush()?;
        }
        tesla_serve::listen(Arc::new(store), listener, stop()).await?;
        Ok(())
    });
    // Requests that were not finished in time may be at work on threads of their own.
    runtime.shutdown_background();
    done
}

fn config(args: &Args) -> Result<Config> {
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value)
            .with_context(|| format!("`--{name} {value}` is not a time: expected 0 or more"))
    };
    let file = match &args.api_keys {
        None => Keys::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            let keys = Keys::parse(&text);
            if keys.is_empty() {
                bail!("`{}` holds no key: expected one a line", path.display());
            }
            keys
        }
    };
    // Set and empty is a secret that was not found, and must not open the server.
    let environment = match std::env::var_os("TESLA_API_KEYS") {
        None => Keys::default(),
        Some(text) => {
            let keys = Keys::parse(&text.to_string_lossy());
            if keys.is_empty() {
                bail!(
                    "`TESLA_API_KEYS` is set and holds no key: expected keys between commas; unset it to let everybody ask"
                );
            }
            keys
        }
    };
    let watch = seconds("watch", args.watch)?;
    Ok(Config {
        batching: Batching {
            rows: args.batch_rows,
            delay: seconds("batch-delay", args.batch_delay / 1e3)?,
            queue: args.queue,
        },
        limits: Limits {
            body: args.max_body,
            rows: args.max_rows,
            requests: args.max_requests,
            connections: args.max_connections,
            time: seconds("timeout", args.timeout)?,
            header_time: seconds("header-timeout", args.header_timeout)?,
        },
        keys: file.and(environment),
        control: args.control,
        watch: (!watch.is_zero()).then_some(watch),
        versions: args.versions,
        tls: args
            .tls_cert
            .clone()
            .zip(args.tls_key.clone())
            .map(|(certificate, key)| Tls { certificate, key }),
        drain: Drain {
            delay: seconds("drain-delay", args.drain_delay)?,
            time: seconds("drain-timeout", args.drain_timeout)?,
        },
    })
}

fn log(log: Log, level: Level) {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false);
    // Of other crates only what is wrong: the frames of a connection say nothing of models.
    let own =
        filter_fn(|what| what.target().starts_with("tesla") || *what.level() <= LevelFilter::WARN);
    let done = match log {
        Log::Text => builder.with_ansi(false).finish().with(own).try_init(),
        Log::Json => builder.json().flatten_event(true).finish().with(own).try_init(),
    };
    // A program that embeds this command has a log of its own.
    let _ = done;
}

/// Resolves at Ctrl-C, and at SIGTERM where there is one.
async fn stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:8080", "localhost:0", "[::1]:8080", "0.0.0.0:65535"] {
            assert_eq!(address(good).as_deref(), Ok(good));
        }
        for bad in ["", "8080", ":8080", "::1", "[::1]", "localhost:", "host:+80", "host:65536"] {
            assert!(address(bad).is_err(), "{bad}");
        }
        assert!(address("http://127.0.0.1:8080").is_err());
    }
}
