//! The prediction server: sealed models behind HTTP.
//!
//! Two doors to the same predictor: the Open Inference Protocol (`/v2`, JSON tensors by column)
//! that KServe and Triton clients speak, and `/v1/models/{name}/predict` that takes plain JSON
//! rows. Whatever a client sends, a wrong request is answered with a 4xx and one sentence.

mod error;
mod infer;
mod rows;
mod server;

pub use server::{Model, router, serve};
