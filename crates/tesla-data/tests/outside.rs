//! What needs something that is not in the repository: a PostgreSQL server. Where it is missing,
//! a test counts as ignored, not as passed.

#[cfg(feature = "postgres")]
mod server;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let args = Arguments::from_args();
    #[allow(unused_mut)]
    let mut trials: Vec<Trial> = Vec::new();
    #[cfg(feature = "postgres")]
    trials.extend(server::trials());
    libtest_mimic::run(&args, trials).exit();
}
