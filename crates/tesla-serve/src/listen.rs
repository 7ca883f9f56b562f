//! Connections: accepting them, TLS, and the end of the server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower::ServiceExt;

use crate::body::Lingering;
use crate::config::{Limits, Tls};
use crate::error::{Error, Result};
use crate::server::{Model, Server, routes, store_of};
use crate::store::Store;

/// Serves `models` on `listener` until `shutdown` resolves; requests under way are finished.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    models: Vec<Model>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let store = Arc::new(store_of(models));
    listen(store, listener, shutdown).await.map_err(io::Error::other)
}

/// Serves a store on `listener`, as its configuration says, until `shutdown` resolves. Then it says
/// "not ready", closes the listener, and finishes the requests under way.
///
/// # Errors
/// When the certificate or its key cannot be used.
pub async fn listen(
    store: Arc<Store>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let config = store.config();
    let tls = config.tls.as_ref().map(acceptor).transpose()?;
    let limits = config.limits;
    let drain = config.drain;
    let server = Arc::new(Server::new(store.clone()));
    let routes = routes(server.clone());
    let watching = config.watch.map(|every| tokio::spawn(watch(store.clone(), every)));
    let connections = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut end = std::pin::pin!(async {
        shutdown.await;
        server.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(drain.delay).await;
    });
    loop {
        // Past the limit, new connections wait in the system's queue.
        let next = async {
            let permit = connections.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            biased;
            () = &mut end => break,
            next = next => next,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                // Out of file handles, for example: others must end first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (routes, tls, watcher) = (routes.clone(), tls.clone(), graceful.watcher());
        let open = store.metrics.connections.clone();
        open.inc();
        tokio::spawn(async move {
            match tls {
                None => connection(stream, routes, limits, watcher).await,
                Some(tls) => {
                    let handshake = tokio::time::timeout(limits.header_time, tls.accept(stream));
                    if let Ok(Ok(stream)) = handshake.await {
                        connection(stream, routes, limits, watcher).await;
                    }
                }
            }
            open.dec();
            drop(permit);
        });
    }
    drop(listener);
    if let Some(watching) = watching {
        watching.abort();
    }
    tracing::info!(connections = graceful.count(), "draining");
    if tokio::time::timeout(drain.time, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were not finished in time");
    }
    Ok(())
}

/// Requests of one connection, over HTTP/1 or HTTP/2.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    routes: Router,
    limits: Limits,
    watcher: Watcher,
) {
    let spoke = Arc::new(AtomicBool::new(false));
    let seen = spoke.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        routes
            .clone()
            .oneshot(request.map(|body| Body::new(Lingering::new(body))))
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(1 << 16);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(1 << 14)
        .keep_alive_interval(Some(limits.header_time))
        .keep_alive_timeout(limits.header_time);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(watcher.watch(serving));
    tokio::select! {
        _ = &mut serving => return,
        () = tokio::time::sleep(limits.header_time) => {}
    }
    // Who has said nothing so far, or one byte now and then, says nothing more.
    if spoke.load(Ordering::Relaxed) {
        let _ = serving.await;
    }
}

/// Looks for new models now and then.
async fn watch(store: Arc<Store>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let store = store.clone();
        let _ = tokio::task::spawn_blocking(move || store.refresh()).await;
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
    let bad = |path: &std::path::Path, what: &dyn std::fmt::Display| {
        Error::Config(format!("`{}` cannot be used for TLS: {what}", path.display()))
    };
    let certificates = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| bad(&tls.certificate, &e))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|e| bad(&tls.key, &e))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|e| bad(&tls.certificate, &e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
