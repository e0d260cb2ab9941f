//! The table of every method: who may call it. A test holds it against the protocol's descriptors.

use temper_core::access::Role;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody, without a token.
    Everybody,
    /// Tokens of these roles.
    Roles(&'static [Role]),
    /// Tokens of these roles, which the message may carry in place of the header: whoever calls these
    /// methods can send no header. The service asks [`carried`](super::carried).
    Carried(&'static [Role]),
}

/// Reads of any kind.
const READ: Audience = Audience::Roles(&[Role::Viewer, Role::Submitter, Role::Admin]);
/// Whatever changes sweeps or jobs, and previews of that.
const STEER: Audience = Audience::Roles(&[Role::Submitter, Role::Admin]);
/// What workers say. Not even an admin may say it for them.
const WORK: Audience = Audience::Roles(&[Role::Worker]);
/// Tokens and the audit log.
const ADMINISTER: Audience = Audience::Roles(&[Role::Admin]);
/// How much there is to do, for what starts workers.
const SCALE: Audience = Audience::Carried(&Role::ALL);
/// Health is asked for by what starts and watches processes, the protocol by tools.
const PUBLIC: Audience = Audience::Everybody;

/// Services and their methods.
const TABLE: &[(&str, &[(&str, Audience)])] = &[
    (
        "temper.v1.SweepService",
        &[
            ("CreateSweep", STEER),
            ("GetSweep", READ),
            ("ListSweeps", READ),
            ("CancelSweep", STEER),
            ("WatchSweep", READ),
            ("UpdateSweep", STEER),
            ("ExtendSweep", STEER),
            ("PauseSweep", STEER),
            ("ResumeSweep", STEER),
            ("DeleteSweep", STEER),
        ],
    ),
    (
        "temper.v1.JobService",
        &[
            ("GetJob", READ),
            ("ListJobs", READ),
            ("GetArtifact", READ),
            ("RetryJobs", STEER),
            ("CancelJob", STEER),
            ("ListAttempts", READ),
            ("GetLogs", READ),
            ("ExplainJob", READ),
        ],
    ),
    (
        "temper.v1.ResultsService",
        &[
            ("GetCurve", READ),
            ("ListCurves", READ),
            ("AggregateCurves", READ),
            ("ExpectedRobustness", READ),
            ("CompareSchedules", READ),
            ("Leaderboard", READ),
            ("DiagnoseTransfer", READ),
            ("Sensitivity", READ),
            ("CompareWithPublished", READ),
            ("ListPublished", READ),
            ("Export", READ),
        ],
    ),
    (
        "temper.v1.WorkerService",
        &[
            ("Register", WORK),
            ("Lease", WORK),
            ("Heartbeat", WORK),
            ("ReportEpochs", WORK),
            ("RegisterCheckpoint", WORK),
            ("ReportLogs", WORK),
            ("Complete", WORK),
            ("Fail", WORK),
            ("Release", WORK),
        ],
    ),
    (
        "temper.v1.AdminService",
        &[
            ("CreateToken", ADMINISTER),
            ("RevokeToken", ADMINISTER),
            ("ListTokens", ADMINISTER),
            ("ListAudit", ADMINISTER),
        ],
    ),
    (
        "externalscaler.ExternalScaler",
        &[
            ("IsActive", SCALE),
            ("StreamIsActive", SCALE),
            ("GetMetricSpec", SCALE),
            ("GetMetrics", SCALE),
        ],
    ),
    (
        "grpc.health.v1.Health",
        &[("Check", PUBLIC), ("List", PUBLIC), ("Watch", PUBLIC)],
    ),
    (
        "grpc.reflection.v1.ServerReflection",
        &[("ServerReflectionInfo", PUBLIC)],
    ),
    (
        "grpc.reflection.v1alpha.ServerReflection",
        &[("ServerReflectionInfo", PUBLIC)],
    ),
];

/// Methods that answer more than once: their calls last as long as somebody listens.
const STREAMS: &[(&str, &str)] = &[
    ("temper.v1.SweepService", "WatchSweep"),
    ("temper.v1.JobService", "GetArtifact"),
    ("temper.v1.JobService", "GetLogs"),
    ("temper.v1.ResultsService", "Export"),
    ("externalscaler.ExternalScaler", "StreamIsActive"),
    ("grpc.health.v1.Health", "Watch"),
    (
        "grpc.reflection.v1.ServerReflection",
        "ServerReflectionInfo",
    ),
    (
        "grpc.reflection.v1alpha.ServerReflection",
        "ServerReflectionInfo",
    ),
];
/// Those that wait before they answer, for as long as the caller has asked for.
const POLLS: &[(&str, &str)] = &[("temper.v1.WorkerService", "Lease")];

/// How long a call of a method takes, in kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// It answers as soon as it can.
    Unary,
    /// It waits for something to tell.
    Poll,
    /// It answers more than once.
    Stream,
}

/// A method that the table names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// With its package.
    pub service: &'static str,
    /// Its name within the service.
    pub name: &'static str,
    /// How long its calls take.
    pub shape: Shape,
}

/// Who may call the method of this path, `/package.Service/Method`; none for what is not in the
/// table, which nobody may call.
#[must_use]
pub fn audience(path: &str) -> Option<Audience> {
    entry(path).map(|(_, _, audience)| audience)
}

/// The method of this path; none for what is not in the table.
#[must_use]
pub fn method(path: &str) -> Option<Method> {
    let (service, name, _) = entry(path)?;
    let shape = if STREAMS.contains(&(service, name)) {
        Shape::Stream
    } else if POLLS.contains(&(service, name)) {
        Shape::Poll
    } else {
        Shape::Unary
    };
    Some(Method {
        service,
        name,
        shape,
    })
}

fn entry(path: &str) -> Option<(&'static str, &'static str, Audience)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (service, methods) = TABLE.iter().find(|(name, _)| *name == service)?;
    let (method, audience) = methods.iter().find(|(name, _)| *name == method)?;
    Some((service, method, *audience))
}

impl Audience {
    /// The roles, for people: `viewer, submitter or admin`.
    pub(super) fn roles(self) -> String {
        let roles = match self {
            Self::Everybody => return "everybody".to_owned(),
            Self::Roles(roles) | Self::Carried(roles) => roles,
        };
        let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }
}
