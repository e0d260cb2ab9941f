//! The roles of those who only read: `temper_reader` for people and dashboards, `temper_results` for
//! the results service.

use std::fmt;

use postgres_protocol::password::scram_sha_256;

use crate::{Store, StoreError};

/// Reads the schema `reporting` and nothing else.
pub const READER: &str = "temper_reader";
/// Reads the schemas `temper` and `reporting`.
pub const RESULTS: &str = "temper_results";

/// All statements; what they do is repeatable.
const ROLES: &str = include_str!("roles.sql");
/// Takes turns among those who make roles in one database.
const TURN: i64 = 0x7465_6d70_6572;

/// What PostgreSQL keeps of a password: salted and hashed, so that the password itself is neither
/// sent nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier(String);

/// Passwords to set; a role without one keeps what it has, which at first is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolePasswords {
    /// Of `temper_reader`.
    pub reader: Option<Verifier>,
    /// Of `temper_results`.
    pub results: Option<Verifier>,
}

impl Verifier {
    /// By SCRAM-SHA-256 (RFC 5803) with a fresh salt.
    #[must_use]
    pub fn of(password: &str) -> Self {
        Self(scram_sha_256(password.as_bytes()))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl Store {
    /// Makes the roles `temper_reader` and `temper_results`, or brings them up to date; both may log
    /// in, change nothing, and read what they are for. It also takes from everybody what PostgreSQL
    /// gives by default and readers must not have: temporary tables, which whoever calls this
    /// keeps, and creating in the schema `public`. The tables must be migrated. Repeating it is
    /// harmless.
    ///
    /// # Errors
    /// `RoleTaken` when such a role may do more than a reader; when the caller may not make roles.
    pub async fn roles_apply(&self, passwords: &RolePasswords) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query!("SELECT pg_advisory_xact_lock($1)", TURN)
            .execute(&mut *tx)
            .await?;
        let powerful = sqlx::query_scalar!(
            r#"SELECT rolname::text AS "name!" FROM pg_roles AS role WHERE rolname = ANY($1) AND (
                rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
                OR EXISTS (SELECT FROM pg_auth_members WHERE member = role.oid)
            ) ORDER BY rolname LIMIT 1"#,
            &[READER.to_owned(), RESULTS.to_owned()],
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(role) = powerful {
            return Err(StoreError::RoleTaken(role));
        }
        for (role, verifier) in [(READER, &passwords.reader), (RESULTS, &passwords.results)] {
            let verifier = verifier.as_ref().map_or("", |verifier| &verifier.0);
            sqlx::query_scalar!(
                "SELECT set_config('temper.verifier_of_' || $1, $2, true)",
                role,
                verifier,
            )
            .fetch_one(&mut *tx)
            .await?;
        }
        sqlx::raw_sql(ROLES).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifiers_hold_no_password_and_show_nothing() {
        let verifier = Verifier::of("open sesame");
        assert!(verifier.0.starts_with("SCRAM-SHA-256$"), "{}", verifier.0);
        assert!(!verifier.0.contains("sesame"));
        assert_ne!(verifier, Verifier::of("open sesame"), "salted");
        assert_eq!(format!("{verifier:?}"), "Verifier(…)");
    }
}
