//! The whole line through the binary and the library, one module per promise.

mod bad_input;
mod bundle;
mod command_line;
mod crates;
mod datasets;
mod deployment;
mod dry_run;
mod evaluation;
mod guide;
mod peers;
mod recommendation;
mod repeat;
mod report;
mod serving;
mod support;
