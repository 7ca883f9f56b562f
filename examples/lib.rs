//! Programs that use TESLA as a library; each runs with `cargo run --release --example NAME`.
