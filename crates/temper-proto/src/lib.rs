//! The messages and services of `temper.v1`, generated, and their conversions to and from the domain;
//! and those of KEDA's external scaler.

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

/// What KEDA asks of a scaler, generated.
pub mod externalscaler {
    #![expect(
        clippy::allow_attributes,
        clippy::pedantic,
        unused_qualifications,
        reason = "generated; the .proto file carries the documentation"
    )]
    tonic::include_proto!("externalscaler");
}

/// The encoded `FileDescriptorSet` of both, for server reflection and the JSON form.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/protocol.binpb"));
