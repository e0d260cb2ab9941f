//! The messages and services of `temper.v1`, generated, and their conversions to and from the domain.

mod convert;
mod json;

pub use convert::filter::parse_job_filter;
pub use convert::names::{JobName, SweepName, TokenName};
pub use convert::placement::parse_placement;
pub use convert::results::{parse_cell_match, parse_distribution};
pub use convert::spec::parse_sweep_spec;
pub use json::{JsonError, from_json, to_json};

/// Generated code.
pub mod v1 {
    #![expect(
        clippy::allow_attributes,
        clippy::pedantic,
        unused_qualifications,
        reason = "generated; the .proto files carry the documentation"
    )]
    tonic::include_proto!("temper.v1");
}

/// The encoded `FileDescriptorSet` of `temper.v1`, for server reflection and the JSON form.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/temper.v1.binpb"));
