//! Connections: accepting them, TLS, and the end of the server.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
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
    let watching = config.watch.map(|every| tokio::spawn(look(server.clone(), every)));
    let places = limits.connections.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
    let connections = Arc::new(Semaphore::new(places));
    let (ending, ends) = watch::channel(false);
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
        let (routes, tls, ends) = (routes.clone(), tls.clone(), ends.clone());
        let open = store.metrics.connections.clone();
        open.inc();
        tokio::spawn(async move {
            match tls {
                None => connection(stream, routes, limits, ends).await,
                Some(tls) => {
                    let handshake = tokio::time::timeout(limits.header_time, tls.accept(stream));
                    if let Ok(Ok(stream)) = handshake.await {
                        connection(stream, routes, limits, ends).await;
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
    tracing::info!(connections = places - connections.available_permits(), "draining");
    let _ = ending.send(true);
    // When all places are free, all connections are closed.
    if tokio::time::timeout(drain.time, connections.acquire_many(places as u32))
        .await
        .is_err()
    {
        tracing::warn!("some requests were not finished in time");
    }
    Ok(())
}

/// Requests of one connection, over HTTP/1 or HTTP/2.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    routes: Router,
    limits: Limits,
    mut ends: watch::Receiver<bool>,
) {
    let uses = Arc::new(Uses::default());
    let seen = uses.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let used = Uses::start(&seen);
        let routes = routes.clone();
        async move {
            let answer = routes
                .oneshot(request.map(|body| Body::new(Lingering::new(body))))
                .await;
            drop(used);
            answer
        }
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
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut wait = limits.header_time;
    let is_over = loop {
        tokio::select! {
            _ = &mut serving => return,
            _ = ends.wait_for(|ends| *ends) => break true,
            () = tokio::time::sleep(wait) => {}
        }
        match uses.idle() {
            // Who has said nothing so far, or one byte now and then, says nothing more.
            Idle::NeverUsed => return,
            Idle::Since(time) if time >= limits.header_time => break false,
            Idle::Since(time) => wait = limits.header_time - time,
            Idle::Not => wait = limits.header_time,
        }
    };
    // Over HTTP/2 a client is told, so that it does not send another request into the closed door.
    serving.as_mut().graceful_shutdown();
    if is_over {
        // As long as the server waits for its requests.
        let _ = serving.await;
    } else {
        // Who does not take an answer has the connection no longer than others have to ask for one.
        let _ = tokio::time::timeout(limits.time, serving).await;
    }
}

/// When a connection had requests.
#[derive(Default)]
struct Uses(Mutex<(usize, Option<Instant>)>);

/// One of them, until it is answered.
struct Used(Arc<Uses>);

enum Idle {
    NeverUsed,
    /// How long ago the last request was answered.
    Since(Duration),
    Not,
}

impl Uses {
    fn start(uses: &Arc<Self>) -> Used {
        uses.lock().0 += 1;
        Used(uses.clone())
    }

    fn idle(&self) -> Idle {
        match *self.lock() {
            (0, None) => Idle::NeverUsed,
            (0, Some(since)) => Idle::Since(since.elapsed()),
            _ => Idle::Not,
        }
    }

    fn lock(&self) -> MutexGuard<'_, (usize, Option<Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        let mut uses = self.0.lock();
        *uses = (uses.0 - 1, Some(Instant::now()));
    }
}

/// Looks for new models now and then.
async fn look(server: Arc<Server>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let _ = server.loader.run(Store::refresh).await;
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn who_does_not_take_an_answer_loses_the_connection() {
        let limits = Limits {
            time: Duration::from_millis(20),
            header_time: Duration::from_millis(20),
            ..Default::default()
        };
        let large = axum::routing::get(|| async { vec![0_u8; 1 << 20] });
        let routes = Router::new().route("/", large);
        crate::tests::runtime().block_on(async {
            let (mut client, stream) = tokio::io::duplex(1 << 10);
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let (_ending, ends) = watch::channel(false);
            let serving = connection(stream, routes, limits, ends);
            tokio::time::timeout(Duration::from_secs(60), serving).await.unwrap();
        });
    }
}
