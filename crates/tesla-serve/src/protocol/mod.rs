//! What clients speak. `tensor.rs` and `infer.rs` are what the two forms of the Open Inference
//! Protocol share; `rest.rs` and `grpc.rs` are the forms. `rows.rs` reads plain rows,
//! `lists.rs` who wants lists of items, and `invocations.rs` MLflow's formats; `json.rs` bounds what they take.

pub(crate) mod grpc;
pub(crate) mod infer;
pub(crate) mod invocations;
pub(crate) mod json;
pub(crate) mod lists;
pub(crate) mod rest;
pub(crate) mod rows;
pub(crate) mod tensor;
