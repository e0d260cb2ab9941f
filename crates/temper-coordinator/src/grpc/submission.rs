//! Requests to create sweeps, read.

use std::collections::BTreeMap;

use temper_core::{
    Digest, Violations, catalog::Input, expand::Expansion, key, placement::Placement,
    spec::SweepSpec,
};
use temper_proto::{parse_placement, parse_sweep_spec, v1};
use temper_service::traces;
use temper_store::NewSweep;
use uuid::Uuid;

use super::{count, encode};
use crate::submit::{self, Envelope, LaidOut};

/// A request to create a sweep, read.
pub struct Submission {
    request_id: Option<Uuid>,
    pub validate_only: bool,
    display_name: String,
    priority: i32,
    labels: BTreeMap<String, String>,
    pub placement: Placement,
    parallel_jobs: Option<u32>,
    pub spec: SweepSpec,
}

impl Submission {
    /// Reads a request, and what of it cannot be read or is not allowed.
    pub fn read(request: v1::CreateSweepRequest) -> (Self, Violations) {
        let mut violations = Violations::default();
        let sweep = request.sweep.unwrap_or_default();
        let request_id = match request.request_id.as_str() {
            "" => None,
            text => violations.take("request_id", text.parse::<Uuid>()),
        };
        let labels = sweep.labels.into_iter().collect();
        let placement = parse_placement(sweep.placement.as_ref(), "placement", &mut violations);
        let envelope = Envelope {
            display_name: &sweep.display_name,
            priority: sweep.priority,
            labels: &labels,
            placement: &placement,
            parallel_jobs: sweep.parallel_jobs,
        };
        submit::check_envelope(&envelope, &mut violations);
        let spec = parse_sweep_spec(&sweep.spec.unwrap_or_default(), &mut violations);
        let submission = Self {
            request_id,
            validate_only: request.validate_only,
            display_name: sweep.display_name,
            priority: sweep.priority,
            labels,
            placement,
            parallel_jobs: limit(sweep.parallel_jobs),
            spec,
        };
        (submission, violations)
    }

    /// Where the request has the field of a violation.
    pub fn place(field: &str) -> String {
        match field {
            "request_id" => field.to_owned(),
            of_sweep => format!("sweep.{of_sweep}"),
        }
    }

    /// By what a repeated request is told from another one under the same id.
    fn digest(&self) -> Digest {
        let said = (&self.display_name, self.priority, &self.labels, &self.spec);
        let placed = (&self.placement, self.parallel_jobs);
        // Without either it is the digest from before there were any.
        if placed == (&Placement::default(), None) {
            key::digest_of(&said)
        } else {
            key::digest_of(&(said, placed))
        }
    }

    pub fn new_sweep<'a>(
        &'a self,
        owner: &'a str,
        (expansion, inputs): (&'a Expansion, &'a [Input]),
    ) -> NewSweep<'a> {
        NewSweep {
            request_id: self.request_id,
            request_digest: self.digest(),
            owner,
            display_name: &self.display_name,
            labels: &self.labels,
            priority: self.priority,
            placement: &self.placement,
            parallel_jobs: self.parallel_jobs,
            spec: &self.spec,
            expansion,
            inputs,
            trace: traces::current(),
        }
    }

    /// What would be created: the spec with its defaults, and what it comes to.
    pub fn previewed(&self, preview: v1::SweepPreview, laid_out: &LaidOut) -> v1::Sweep {
        v1::Sweep {
            display_name: self.display_name.clone(),
            spec: Some((&self.spec).into()),
            priority: self.priority,
            labels: self.labels.clone().into_iter().collect(),
            placement: encode::placement(&self.placement),
            parallel_jobs: self.parallel_jobs.map_or(0, count),
            inputs: laid_out.inputs.iter().map(encode::input).collect(),
            ..encode::previewed(preview, &laid_out.layout)
        }
    }
}

/// A limit of jobs; none for 0, which stands for any number. What is below 0 is refused elsewhere.
pub fn limit(parallel_jobs: i32) -> Option<u32> {
    u32::try_from(parallel_jobs).ok().filter(|jobs| *jobs > 0)
}
