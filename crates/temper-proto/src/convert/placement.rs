//! What a sweep asks of workers.

use temper_core::{
    Violations,
    placement::{DeviceKind, Placement},
};

use crate::v1;

/// Reads a placement, which may be absent. Everything that cannot be read is added to `violations`
/// under `field`; the placement is of use only without any.
pub fn parse_placement(
    message: Option<&v1::Placement>,
    field: &str,
    violations: &mut Violations,
) -> Placement {
    let Some(message) = message else {
        return Placement::default();
    };
    let device_kind = match v1::DeviceKind::try_from(message.device_kind) {
        Ok(v1::DeviceKind::Unspecified) => None,
        Ok(kind) => DeviceKind::try_from(kind).ok(),
        Err(error) => {
            violations.add(format!("{field}.device_kind"), error.to_string());
            None
        }
    };
    let memory_bytes = u64::try_from(message.memory_bytes);
    violations.require(
        memory_bytes.is_ok(),
        &format!("{field}.memory_bytes"),
        || format!("{} is below 0", message.memory_bytes),
    );
    Placement {
        device_kind,
        labels: message.worker_labels.clone().into_iter().collect(),
        memory_bytes: memory_bytes.ok().filter(|bytes| *bytes > 0),
    }
}

impl From<&Placement> for v1::Placement {
    fn from(placement: &Placement) -> Self {
        let kind = placement.device_kind;
        Self {
            device_kind: kind.map_or(v1::DeviceKind::Unspecified, Into::into).into(),
            worker_labels: placement.labels.clone().into_iter().collect(),
            memory_bytes: placement
                .memory_bytes
                .map_or(0, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        }
    }
}
