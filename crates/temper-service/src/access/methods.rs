//! The table of every method: who may call it. A test holds it against the protocol's descriptors.

use temper_core::access::Role;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody, without a token.
    Everybody,
    /// Tokens of these roles.
    Roles(&'static [Role]),
}

/// Reads of any kind.
const READ: Audience = Audience::Roles(&[Role::Viewer, Role::Submitter, Role::Admin]);
/// Whatever changes sweeps or jobs, and previews of that.
const STEER: Audience = Audience::Roles(&[Role::Submitter, Role::Admin]);
/// What workers say. Not even an admin may say it for them.
const WORK: Audience = Audience::Roles(&[Role::Worker]);
/// Tokens and the audit log.
const ADMINISTER: Audience = Audience::Roles(&[Role::Admin]);
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

/// Who may call the method of this path, `/package.Service/Method`; none for what is not in the
/// table, which nobody may call.
#[must_use]
pub fn audience(path: &str) -> Option<Audience> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (_, methods) = TABLE.iter().find(|(name, _)| *name == service)?;
    let (_, audience) = methods.iter().find(|(name, _)| *name == method)?;
    Some(*audience)
}

impl Audience {
    /// The roles, for people: `viewer, submitter or admin`.
    pub(super) fn roles(self) -> String {
        let Self::Roles(roles) = self else {
            return "everybody".to_owned();
        };
        let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }
}
