//! Benchmarks; `cargo bench` runs them. The same work in other frameworks is in `peers/`.
