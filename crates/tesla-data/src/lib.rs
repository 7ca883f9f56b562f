//! From a source to samples: the first half of the way of a row.
//!
//! ```text
//! Source --scan--> RecordBatch --Contract--> Frame --split--> train | valid | test
//! train --Pipeline::fit--> FittedPipeline --samples--> Samples
//! ```
//!
//! * [`source`] opens CSV, JSON lines, Parquet, Arrow IPC and IDX files and image folders, and streams
//!   them as Arrow.
//! * [`contract`] says what every column is; it is inferred once, stored with the model and
//!   enforced again on every row that asks for a prediction.
//! * [`split`] divides rows into train, validation and test with a seed.
//! * [`audit`](mod@audit) looks for what would make the final figures too good to be true.
//! * [`prepare`] learns imputation, scaling and encoding from the training rows only.
//! * [`augment`] changes training images by chance.
//! * [`profile`](mod@profile) says what a data set looks like and what is suspicious about it.
//! * [`samples`] is what comes out: numbers, pixels, tokens and windows, ready to become tensors.
//!
//! The crate knows nothing of Burn, of HTTP servers or of the command line.

pub mod audit;
pub mod augment;
pub mod config;
pub mod contract;
mod dataset;
mod dates;
mod error;
mod fingerprint;
mod floats;
pub mod frame;
pub mod interactions;
mod paths;
pub mod prepare;
pub mod profile;
mod quarantine;
pub mod samples;
mod sequences;
mod sink;
pub mod source;
pub mod split;
mod suggest;
mod table;
mod tokens;

/// Apache Arrow in the one version this workspace uses, under the paths of the umbrella crate.
pub mod arrow {
    pub use arrow_schema as error;

    /// Arrays and their builders.
    pub mod array {
        pub use arrow_array::builder::*;
        pub use arrow_array::cast::AsArray;
        pub use arrow_array::*;
    }

    /// Types and schemas.
    pub mod datatypes {
        pub use arrow_array::types::*;
        pub use arrow_schema::*;
    }

    /// Kernels.
    pub mod compute {
        pub use arrow_cast::cast;
        pub use arrow_select::concat::concat_batches;
        pub use arrow_select::filter::filter_record_batch;
        pub use arrow_select::take::take_record_batch;
    }
}

pub use audit::{Finding, audit};
pub use config::{AuditConfig, AuditLevel, ColumnConfig, DataConfig};
pub use contract::{ColumnKind, ColumnRule, Contract, Task};
pub use dataset::{Dataset, Sources};
pub use error::{Error, Result};
pub use fingerprint::{file_sha256, hex_sha256};
pub use frame::{Frame, Selection};
pub use interactions::{FittedInteractions, InteractionsConfig};
pub use paths::Paths;
pub use prepare::{FittedPipeline, Pipeline, SequenceConfig};
pub use profile::{Profile, profile};
pub use quarantine::{BadPolicy, BadRow, Duplicates, OnBad, Place, commonest};
pub use samples::{Inputs, Samples, Target};
pub use sink::ParquetSink;
pub use source::Source;
pub use split::Split;
pub use suggest::{in_plain_words, nearest};
