//! The prediction server: sealed models behind HTTP and gRPC.
//!
//! Three doors to the same predictor: the Open Inference Protocol (`/v2`, tensors by column) that
//! KServe and Triton clients speak, over HTTP and gRPC; `/v1/models/{name}/predict` that takes plain
//! rows as JSON, CSV or images; and MLflow's `/invocations`. Whatever a client sends, a wrong request
//! is answered with a 4xx and one sentence.
//!
//! A request is read and prepared on its own, waits in its model's queue as numbers, passes the
//! network beside others, and is answered: `server.rs`, `protocol/`, `model.rs`, `queue.rs`.

mod aside;
mod body;
mod config;
mod error;
mod folders;
mod handlers;
mod keys;
mod listen;
mod loader;
mod metrics;
mod model;
mod openapi;
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
mod proto;
mod protocol;
mod queue;
mod server;
mod store;
#[cfg(test)]
mod tests;

pub use config::{ADDRESS, Batching, Config, Drain, Limits, Tls};
pub use error::{Error, Result};
pub use folders::name_of;
pub use keys::Keys;
pub use listen::{listen, serve};
pub use server::{Model, router, router_of};
pub use store::{Listed, Store};
