//! Slurm, as a worker that it started sees it: how long it may stay, and being queued again.
//!
//! By Slurm's own commands, which are on every node that runs a job; nothing is linked.

use std::{
    num::ParseIntError,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{process::Command, time::timeout};

/// Set in every job.
const JOB: &str = "SLURM_JOB_ID";
/// Set in a task of an array: the number alone means the whole array in the last of its tasks.
const ARRAY: (&str, &str) = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID");
/// Set by newer releases: seconds since 1970.
const END: &str = "SLURM_JOB_END_TIME";
/// No job runs longer; and of times without bound no sum can be made.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);
/// How long a command of Slurm's may take: a controller that is busy is waited for by the command itself,
/// which asks again for some time.
const LIMIT: Duration = Duration::from_secs(30);

/// The Slurm job that this process is a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slurm {
    job: String,
    end: Option<String>,
}

/// Slurm does not say what is needed.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// Not within a job.
    #[error(
        "`{option}` is for workers that Slurm started, and {JOB} is not set: leave the option out, or \
         start this by sbatch"
    )]
    Outside {
        /// What wants Slurm.
        option: &'static str,
    },
    /// Its variable holds something else.
    #[error("{END} is `{found}` where seconds since 1970 are wanted")]
    End {
        /// What it holds.
        found: String,
        /// Why it is none.
        source: ParseIntError,
    },
    /// Its variable names no end of a job.
    #[error("{END} is `{found}`, more than 100 years from now: seconds since 1970 are wanted")]
    Far {
        /// What it holds.
        found: String,
    },
    /// A command of Slurm's cannot be run.
    #[error("cannot run `{command}`, which Slurm installs on its nodes")]
    Missing {
        /// The command.
        command: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A command of Slurm's failed.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// The command.
        command: String,
        /// What it printed.
        said: String,
    },
    /// A command of Slurm's hangs.
    #[error(
        "`{command}` did not end within {limit:?}: see whether Slurm's controller answers (`scontrol ping`)"
    )]
    Late {
        /// The command.
        command: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// Not a time as Slurm writes it, or one of more than 100 years.
    #[error("`squeue` says that job {job} has `{found}` left, which is no time of up to 100 years")]
    Left {
        /// The job.
        job: String,
        /// What it printed.
        found: String,
    },
}

impl Slurm {
    /// The job that the environment names. `option` is what wants it.
    ///
    /// # Errors
    /// When this process is in none.
    pub fn from_environment(option: &'static str) -> Result<Self, SlurmError> {
        Self::from_variables(option, |name| std::env::var(name).ok())
    }

    fn from_variables(
        option: &'static str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SlurmError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let job = set(JOB).ok_or(SlurmError::Outside { option })?;
        let task = set(ARRAY.0).zip(set(ARRAY.1));
        Ok(Self {
            job: task.map_or(job, |(array, task)| format!("{array}_{task}")),
            end: set(END),
        })
    }

    /// How long the job may still run; none where it has no limit.
    ///
    /// # Errors
    /// When Slurm does not say.
    pub async fn time_left(&self) -> Result<Option<Duration>, SlurmError> {
        if let Some(end) = &self.end {
            return until(end).map(Some);
        }
        let arguments = ["--noheader", "--jobs", &self.job, "--format=%L"];
        let said = run("squeue", &arguments, LIMIT).await?;
        let said = said.trim();
        match said {
            "UNLIMITED" => Ok(None),
            time => left(time).map(Some).ok_or_else(|| SlurmError::Left {
                job: self.job.clone(),
                found: time.to_owned(),
            }),
        }
    }

    /// Has the job queued again, under its own number. Slurm ends this process for it, soon.
    ///
    /// # Errors
    /// When Slurm does not do it.
    pub async fn requeue(&self) -> Result<(), SlurmError> {
        let arguments = ["requeue", &self.job];
        run("scontrol", &arguments, LIMIT).await.map(drop)
    }
}

/// Time until so many seconds since 1970, of at most [`LONGEST`]; 0 where that is past.
#[expect(
    clippy::disallowed_methods,
    reason = "Slurm tells the end by the node's clock, and this decides nothing but when to leave"
)]
fn until(end: &str) -> Result<Duration, SlurmError> {
    let seconds = end.parse().map_err(|source| SlurmError::End {
        found: end.to_owned(),
        source,
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let left = Duration::from_secs(seconds).saturating_sub(now.unwrap_or_default());
    if left > LONGEST {
        let found = end.to_owned();
        return Err(SlurmError::Far { found });
    }
    Ok(left)
}

/// Reads a time of at most [`LONGEST`] as Slurm writes it: `[days-][[hours:]minutes:]seconds`.
fn left(text: &str) -> Option<Duration> {
    let (days, time) = match text.split_once('-') {
        Some((days, time)) => (days.parse::<u64>().ok()?, time),
        None => (0, text),
    };
    let parts = time.split(':').map(|part| part.parse::<u64>().ok());
    let parts: Vec<u64> = parts.collect::<Option<_>>()?;
    if parts.len() > 3 {
        return None;
    }
    let seconds = parts
        .iter()
        .try_fold(0_u64, |sum, part| sum.checked_mul(60)?.checked_add(*part))?;
    let days = days.checked_mul(24 * 60 * 60)?;
    let time = Duration::from_secs(days.checked_add(seconds)?);
    (time <= LONGEST).then_some(time)
}

/// What a command of Slurm's prints, which is killed at the limit.
async fn run(program: &str, arguments: &[&str], limit: Duration) -> Result<String, SlurmError> {
    let command = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(limit, output)
        .await
        .map_err(|_elapsed| SlurmError::Late {
            command: command(),
            limit,
        })?;
    let output = output.map_err(|source| SlurmError::Missing {
        command: command(),
        source,
    })?;
    if !output.status.success() {
        return Err(SlurmError::Failed {
            command: command(),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slurm(variables: &[(&str, &str)]) -> Result<Slurm, SlurmError> {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Slurm::from_variables("--walltime-from-slurm", find)
    }

    #[test]
    fn task_of_an_array_is_named_by_array_and_task() {
        let of = |variables: &[_]| slurm(variables).unwrap().job;
        assert_eq!(of(&[(JOB, "12")]), "12");
        let task = [(JOB, "12"), (ARRAY.0, "11"), (ARRAY.1, "3")];
        assert_eq!(of(&task), "11_3");
        let half = [(JOB, "12"), (ARRAY.0, "11"), (ARRAY.1, "")];
        assert_eq!(of(&half), "12");
    }

    #[test]
    fn outside_slurm_the_option_is_named() {
        for variables in [&[][..], &[(JOB, "")]] {
            let error = slurm(variables).unwrap_err().to_string();
            assert!(error.contains("`--walltime-from-slurm`"), "{error}");
            assert!(error.contains(JOB), "{error}");
        }
    }

    #[tokio::test]
    async fn end_in_the_environment_needs_no_command() {
        let at = async |end| {
            let slurm = slurm(&[(JOB, "12"), (END, end)]).unwrap();
            slurm.time_left().await
        };
        let left = at("4000000000").await.unwrap().unwrap();
        assert!(left > Duration::from_hours(24), "{left:?}");
        assert_eq!(at("1").await.unwrap(), Some(Duration::ZERO));
        let error = at("soon").await.unwrap_err().to_string();
        assert!(error.contains(END) && error.contains("soon"), "{error}");
        // In milliseconds, and without any sense.
        for far in ["1893456000000", "18446744073709551615"] {
            let error = at(far).await.unwrap_err().to_string();
            assert!(error.contains(END) && error.contains(far), "{error}");
        }
    }

    #[tokio::test]
    async fn command_that_hangs_is_given_up_and_named() {
        let limit = Duration::from_millis(50);
        let error = run("sleep", &["600"], limit).await.unwrap_err().to_string();
        assert!(error.contains("`sleep 600`"), "{error}");
        assert!(error.contains("scontrol ping"), "{error}");
    }

    #[test]
    fn times_are_read_as_slurm_writes_them() {
        let seconds = |text| left(text).map(|time| time.as_secs());
        assert_eq!(seconds("59"), Some(59));
        assert_eq!(seconds("3:00"), Some(180));
        assert_eq!(seconds("11:59:58"), Some(12 * 3600 - 2));
        assert_eq!(seconds("2-01:00:05"), Some(49 * 3600 + 5));
        for text in ["", "INVALID", "NOT_SET", "1-", "1:2:3:4", "-5"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(seconds("99999999999999999-0:00"), None);
        assert_eq!(seconds("36500-0:00"), Some(LONGEST.as_secs()));
        assert_eq!(seconds("36500-0:01"), None);
    }
}
