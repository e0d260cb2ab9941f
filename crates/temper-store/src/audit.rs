//! The audit log: who changed what, when.

use chrono::{DateTime, Utc};
use serde_json::Value;
use temper_core::access::{Principal, Role};
use uuid::Uuid;

use crate::{JobId, Store, StoreError, store::Tx, value::named};

/// Whoever changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor<'a> {
    /// Name of the token, or the command that was run at the database.
    pub name: &'a str,
    /// The token; none for a command at the database.
    pub token: Option<Uuid>,
    /// The token's role.
    pub role: Option<Role>,
}

impl<'a> Actor<'a> {
    /// A command that somebody runs who has the database itself.
    #[must_use]
    pub fn at_database(command: &'a str) -> Self {
        Self {
            name: command,
            token: None,
            role: None,
        }
    }
}

impl<'a> From<&'a Principal> for Actor<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self {
            name: &principal.name,
            token: Some(principal.token),
            role: Some(principal.role),
        }
    }
}

/// Which entries of the audit log, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditQuery<'a> {
    /// Only what was done to this sweep.
    pub sweep: Option<Uuid>,
    /// Only what was done under tokens of this name.
    pub actor: Option<&'a str>,
    /// Only entries before the one of this number.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Number, in the order of writing.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// The token; none for a command at the database.
    pub token: Option<Uuid>,
    /// The token's role then.
    pub role: Option<Role>,
    /// What was called.
    pub method: String,
    /// The sweep that it was done to.
    pub sweep: Option<Uuid>,
    /// The job that it was done to.
    pub job: Option<JobId>,
    /// What else there is to say, an object.
    pub detail: Value,
}

/// A page of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// What the next page comes before; none on the last.
    pub next: Option<i64>,
}

/// Notes in the transaction of a change who makes it. `method` is `Service/Method`, `detail` an
/// object without secrets.
pub(crate) async fn audit_note(
    tx: &mut Tx,
    actor: &Actor<'_>,
    method: &str,
    sweep: Option<Uuid>,
    job: Option<JobId>,
    detail: Value,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO temper.audit (actor, token_id, role, method, sweep_id, job_id, detail)
        VALUES ($1, $2, $3, $4, $5, $6, $7)",
        actor.name,
        actor.token,
        actor.role.map(Role::as_str),
        method,
        sweep,
        job.map(|job| job.0),
        detail,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Store {
    /// A page of the audit log, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_list(&self, query: AuditQuery<'_>) -> Result<AuditPage, StoreError> {
        // One more than asked for tells whether another page follows.
        let rows = sqlx::query!(
            "SELECT id, at, actor, token_id, role, method, sweep_id, job_id, detail
            FROM temper.audit
            WHERE ($1::uuid IS NULL OR sweep_id = $1) AND ($2::text IS NULL OR actor = $2)
                AND ($3::bigint IS NULL OR id < $3)
            ORDER BY id DESC LIMIT $4",
            query.sweep,
            query.actor,
            query.before,
            i64::from(query.limit) + 1,
        )
        .fetch_all(&self.pool)
        .await?;
        let more = rows.len() > query.limit as usize;
        let rows = rows.into_iter().take(query.limit as usize);
        let entries = rows
            .map(|row| {
                let role = row.role.as_deref();
                Ok(AuditEntry {
                    id: row.id,
                    at: row.at,
                    actor: row.actor,
                    token: row.token_id,
                    role: role
                        .map(|name| named(Role::from_name, name, "role"))
                        .transpose()?,
                    method: row.method,
                    sweep: row.sweep_id,
                    job: row.job_id.map(JobId),
                    detail: row.detail,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        let last = entries.last().filter(|_| more);
        let next = last.map(|last| last.id);
        Ok(AuditPage { entries, next })
    }
}
