use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use tesla::{Bundle, DeviceChoice};
use tesla_serve::Model;

use super::open_device;
use crate::show;

#[derive(Parser)]
pub(crate) struct Args {
    /// A model file.
    model: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    addr: SocketAddr,
    /// What to call the model. Default: its file name, or its folder's for `model.tesla`.
    #[arg(long)]
    name: Option<String>,
    /// `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let bundle = Bundle::load(&args.model)?;
    let example = show::example_row(&bundle);
    let predictor = bundle.predictor(&open_device(args.device)?)?;
    let model = Model {
        name: args.name.unwrap_or_else(|| name(&args.model)),
        predictor,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.addr)
            .await
            .with_context(|| format!("cannot listen on `{}`", args.addr))?;
        let addr = listener.local_addr()?;
        {
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "serving `{}` on http://{addr}", model.name)?;
            writeln!(stdout, "try    curl {} -d '{example}'", model.predict_url(addr))?;
            writeln!(stdout, "stop   Ctrl-C; requests under way are finished")?;
            stdout.flush()?;
        }
        tesla_serve::serve(vec![model], listener, stop()).await?;
        Ok(())
    })
}

/// `runs/digits/model.tesla` is called `digits`, `digits.tesla` too.
pub(super) fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = path.parent().and_then(Path::file_name);
    match (stem.as_ref(), folder) {
        ("model", Some(folder)) => folder.to_string_lossy().into_owned(),
        (stem, _) => stem.to_string(),
    }
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
