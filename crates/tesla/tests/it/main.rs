//! The whole line through the binary and the library, one module per promise.

mod bad_input;
mod bundle;
mod command_line;
mod crates;
mod datasets;
mod evaluation;
mod peers;
mod repeat;
mod report;
mod serving;
mod support;
