//! How the queue and the connections stand, for metrics.

use std::time::Duration;

use temper_core::{job::JobState, placement::DeviceKind};

use crate::{
    Store, StoreError,
    value::{named, stored},
};

/// Jobs of one state that ask for one kind of device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueueStanding {
    /// The kind of device that they ask for; none: any.
    pub device_kind: Option<DeviceKind>,
    /// Queued, and ready to be leased but for a pause after a failure; or leased.
    pub state: JobState,
    /// How many.
    pub jobs: u64,
    /// Since the oldest of them was asked for; of leased ones, since the first lease was given.
    pub oldest: Duration,
}

/// Jobs that workers with one kind of device hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseStanding {
    /// The kind of their devices.
    pub device_kind: DeviceKind,
    /// How many.
    pub jobs: u64,
}

/// Connections to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// That something is under way on.
    pub used: u32,
    /// That wait for something to do.
    pub idle: u32,
    /// As many as there may be.
    pub most: u32,
}

impl Store {
    /// How many jobs are ready and leased, and how old the oldest are. It reads the claim's partial index
    /// and the leases, never the jobs that have ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_standing(&self) -> Result<Vec<QueueStanding>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT nullif(device_kind, 'any') AS device_kind,
                CASE state WHEN 'ready' THEN 'queued' ELSE state END AS "state!",
                sum(jobs)::bigint AS "jobs!",
                coalesce(greatest(max(oldest_age_seconds), 0), 0) AS "oldest_seconds!"
            FROM reporting.queue GROUP BY device_kind, state"#
        )
        .fetch_all(&self.pool)
        .await?;
        let standing = rows.into_iter().map(|row| {
            let kind = |name: String| named(DeviceKind::from_name, &name, "kind of device");
            Ok(QueueStanding {
                device_kind: row.device_kind.map(kind).transpose()?,
                state: named(JobState::from_name, &row.state, "job state")?,
                jobs: stored(row.jobs, "count")?,
                oldest: Duration::try_from_secs_f64(row.oldest_seconds).unwrap_or_default(),
            })
        });
        standing.collect()
    }

    /// How many jobs are held, by the kind of device that holds them. Of kinds that hold none there is no entry.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease_standing(&self) -> Result<Vec<LeaseStanding>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT worker.device_kind AS "device_kind!", count(*) AS "jobs!"
            FROM temper.lease JOIN temper.worker ON worker.incarnation = lease.incarnation
            GROUP BY worker.device_kind"#
        )
        .fetch_all(&self.pool)
        .await?;
        let held = rows.into_iter().map(|row| {
            Ok(LeaseStanding {
                device_kind: named(DeviceKind::from_name, &row.device_kind, "kind of device")?,
                jobs: stored(row.jobs, "count")?,
            })
        });
        held.collect()
    }

    /// How the connections stand.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let open = self.pool.size();
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        Connections {
            used: open.saturating_sub(idle),
            idle,
            most: self.pool.options().get_max_connections(),
        }
    }
}
