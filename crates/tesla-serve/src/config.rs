use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::Keys;

/// How a server behaves. Every field has a default that suits one machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// How requests share passes through the network.
    pub batching: Batching,
    /// What a client may ask for.
    pub limits: Limits,
    /// Who may ask; nobody has to say who they are when there are no keys.
    pub keys: Keys,
    /// Whether clients may load and unload models.
    pub control: bool,
    /// How often folders are looked at for new models; never when `None`.
    pub watch: Option<Duration>,
    /// How many versions of a model stay loaded: the newest, and those to roll back to.
    pub versions: usize,
    /// The certificate and the key of a server that speaks TLS.
    pub tls: Option<Tls>,
    /// How the server ends.
    pub drain: Drain,
}

/// How requests share passes through the network.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// Rows of one pass, at most.
    pub rows: usize,
    /// How long the first request of a pass waits for others. A full pass leaves at once.
    pub delay: Duration,
    /// Requests that may wait for a model; one more is refused.
    pub queue: usize,
}

/// What a client may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body, packed and unpacked.
    pub body: usize,
    /// Rows of a request.
    pub rows: usize,
    /// Requests at work at the same time.
    pub requests: usize,
    /// Open connections.
    pub connections: usize,
    /// From the first byte of a body to the answer.
    pub time: Duration,
    /// From opening a connection, or from the last answer, to the end of a request's header.
    pub header_time: Duration,
}

/// The files of a server that speaks TLS, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, and those it follows from.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How the server ends.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long it says "not ready" and still answers, for balancers to notice.
    pub delay: Duration,
    /// How long requests under way may then take.
    pub time: Duration,
}

/// Where a server listens when nothing is said.
pub const ADDRESS: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 8080));

impl Default for Config {
    fn default() -> Self {
        Self {
            batching: Batching::default(),
            limits: Limits::default(),
            keys: Keys::default(),
            control: false,
            watch: Some(Duration::from_secs(2)),
            versions: 2,
            tls: None,
            drain: Drain {
                delay: Duration::ZERO,
                time: Duration::from_secs(30),
            },
        }
    }
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            rows: 64,
            delay: Duration::ZERO,
            queue: 256,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 32 << 20,
            rows: 100_000,
            requests: 512,
            connections: 4096,
            time: Duration::from_secs(30),
            header_time: Duration::from_secs(30),
        }
    }
}
