//! Tokens: made, looked up by their digests, revoked.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use temper_core::{
    Digest,
    access::{Principal, Role, Standing},
};
use uuid::Uuid;

use crate::{Actor, Store, StoreError, audit::audit_note, value::named};

/// A token about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewToken<'a> {
    /// What people will call it.
    pub name: &'a str,
    /// What it may do.
    pub role: Role,
    /// Whose share of the workers its sweeps take; its own name's where none is given.
    pub owner: Option<&'a str>,
    /// SHA-256 of its secret.
    pub digest: Digest,
    /// How long it is good for; none for ever.
    pub lifetime: Option<Duration>,
}

impl<'a> NewToken<'a> {
    /// A token that is good for ever, its sweeps under its own name.
    #[must_use]
    pub fn new(name: &'a str, role: Role, digest: Digest) -> Self {
        Self {
            name,
            role,
            owner: None,
            digest,
            lifetime: None,
        }
    }
}

/// A token, without its secret, which nobody keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its id.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whose share of the workers its sweeps take.
    pub owner: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// From when on it is refused, if ever.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it is refused, if it is.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When a coordinator was last called with it, to within minutes.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A place in the list of tokens, which is ordered by time and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCursor {
    /// When the last token of the page was made.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// A page of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPage {
    /// The tokens, newest first.
    pub tokens: Vec<TokenRow>,
    /// What the next page comes after; none on the last.
    pub next: Option<TokenCursor>,
}

struct TokenRecord {
    id: Uuid,
    name: String,
    role: String,
    owner: String,
    created_at: DateTime<Utc>,
    created_by: String,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl TokenRecord {
    fn into_row(self) -> Result<TokenRow, StoreError> {
        Ok(TokenRow {
            id: self.id,
            name: self.name,
            role: named(Role::from_name, &self.role, "role")?,
            owner: self.owner,
            created_at: self.created_at,
            created_by: self.created_by,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            last_used_at: self.last_used_at,
        })
    }
}

impl Store {
    /// Makes a token.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_create(
        &self,
        actor: &Actor<'_>,
        token: NewToken<'_>,
    ) -> Result<TokenRow, StoreError> {
        let mut tx = self.begin().await?;
        let record = sqlx::query_as!(
            TokenRecord,
            r#"INSERT INTO temper.token (name, role, owner, digest, created_by, expires_at)
            VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))
            RETURNING id, name, role, coalesce(owner, name) AS "owner!", created_at, created_by,
                expires_at, revoked_at, last_used_at"#,
            token.name,
            token.role.as_str(),
            token.owner,
            &token.digest.as_bytes()[..],
            actor.name,
            token.lifetime.map(|lifetime| lifetime.as_secs_f64()),
        )
        .fetch_one(&mut *tx)
        .await?;
        let row = record.into_row()?;
        let detail = json!({
            "token": row.id, "name": row.name, "role": row.role.as_str(), "owner": row.owner,
        });
        let method = "AdminService/CreateToken";
        audit_note(&mut tx, actor, method, None, None, detail).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Revokes a token. Revoking twice changes nothing.
    ///
    /// # Errors
    /// `NotFound` without such a token.
    pub async fn token_revoke(&self, actor: &Actor<'_>, id: Uuid) -> Result<TokenRow, StoreError> {
        let mut tx = self.begin().await?;
        let revoked = sqlx::query_scalar!(
            "UPDATE temper.token SET revoked_at = now()
            WHERE id = $1 AND revoked_at IS NULL RETURNING name",
            id,
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(name) = revoked {
            let detail = json!({ "token": id, "name": name });
            let method = "AdminService/RevokeToken";
            audit_note(&mut tx, actor, method, None, None, detail).await?;
        }
        let record = sqlx::query_as!(
            TokenRecord,
            r#"SELECT id, name, role, coalesce(owner, name) AS "owner!", created_at, created_by,
                expires_at, revoked_at, last_used_at
            FROM temper.token WHERE id = $1"#,
            id,
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| StoreError::not_found("token", &id))?;
        tx.commit().await?;
        record.into_row()
    }

    /// Revokes what `actor` made, and says how many tokens that were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens_revoke_made_by(&self, actor: &Actor<'_>) -> Result<u64, StoreError> {
        let revoked = sqlx::query!(
            "UPDATE temper.token SET revoked_at = now()
            WHERE created_by = $1 AND revoked_at IS NULL",
            actor.name,
        )
        .execute(&self.pool)
        .await?;
        Ok(revoked.rows_affected())
    }

    /// A page of at most `limit` tokens, newest first; revoked and expired ones too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_list(
        &self,
        limit: u32,
        after: Option<TokenCursor>,
    ) -> Result<TokenPage, StoreError> {
        let (created_at, id) = after.map(|after| (after.created_at, after.id)).unzip();
        // One more than asked for tells whether another page follows.
        let records = sqlx::query_as!(
            TokenRecord,
            r#"SELECT id, name, role, coalesce(owner, name) AS "owner!", created_at, created_by,
                expires_at, revoked_at, last_used_at
            FROM temper.token
            WHERE $1::timestamptz IS NULL OR (created_at, id) < ($1, $2::uuid)
            ORDER BY created_at DESC, id DESC LIMIT $3"#,
            created_at,
            id,
            i64::from(limit) + 1,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut tokens = records
            .into_iter()
            .map(TokenRecord::into_row)
            .collect::<Result<Vec<_>, _>>()?;
        let more = tokens.len() > limit as usize;
        tokens.truncate(limit as usize);
        let last = tokens.last().filter(|_| more);
        let next = last.map(|last| TokenCursor {
            created_at: last.created_at,
            id: last.id,
        });
        Ok(TokenPage { tokens, next })
    }

    /// How it stands with the token of this digest. Only reads. The digest is all that is compared:
    /// how long that takes tells nothing of the secret.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_standing(&self, digest: &Digest) -> Result<Standing, StoreError> {
        let row = sqlx::query!(
            r#"SELECT id, name, role, coalesce(owner, name) AS "owner!",
                revoked_at IS NOT NULL AS "revoked!", coalesce(expires_at <= now(), false) AS "expired!"
            FROM temper.token WHERE digest = $1"#,
            &digest.as_bytes()[..],
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(match row {
            None => Standing::Unknown,
            Some(row) if row.revoked => Standing::Revoked,
            Some(row) if row.expired => Standing::Expired,
            Some(row) => Standing::Good(Principal {
                token: row.id,
                name: row.name,
                role: named(Role::from_name, &row.role, "role")?,
                owner: row.owner,
            }),
        })
    }

    /// Notes that a token is used, unless that was noted a minute ago.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_used(&self, id: Uuid) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE temper.token SET last_used_at = now() WHERE id = $1
                AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
            id,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
