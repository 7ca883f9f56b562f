use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a reader of somebody else's that panics on some damaged files, which flipping the bits of
/// a good one shows. What the closure has borrowed must not be used after a failure.
pub(super) fn guard<T, E: Display>(read: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|e| e.to_string()),
        Err(_) => Err("its content contradicts itself".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::guard;

    #[test]
    fn a_panic_is_an_error() {
        let read = || -> Result<(), String> { panic!("index out of bounds") };
        assert_eq!(guard(read).unwrap_err(), "its content contradicts itself");
    }
}
