//! `AdminService`.

use std::{sync::Arc, time::Duration};

use temper_core::{ErrorKind, Violations, access::Role};
use temper_proto::{JobName, SweepName, TokenName, v1};
use temper_service::{
    access::{Secret, principal},
    status::{self, field},
};
use temper_store::{Actor, AuditEntry, AuditQuery, NewToken, TokenCursor, TokenRow};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{encode::timestamp, page, refused};
use crate::Shared;

/// Longest name of a token or an owner, in bytes.
const MAX_NAME: usize = 100;
/// Longest that a token which expires may be good for: a century.
const MAX_LIFETIME: Duration = Duration::from_hours(100 * 365 * 24);

pub struct Admin(pub Arc<Shared>);

#[tonic::async_trait]
impl v1::admin_service_server::AdminService for Admin {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let admin = principal(&request)?;
        let wanted = Wanted::read(request.into_inner())?;
        let secret = Secret::generate().map_err(|e| status::of(ErrorKind::Internal, &e))?;
        let token = NewToken {
            name: &wanted.name,
            role: wanted.role,
            owner: wanted.owner.as_deref(),
            digest: secret.digest(),
            lifetime: wanted.lifetime,
        };
        let actor = Actor::from(&*admin);
        let made = self.0.store.token_create(&actor, token).await;
        let made = made.map_err(refused)?;
        tracing::info!(token = %made.id, name = made.name, role = %made.role, by = admin.name,
            "token made");
        Ok(Response::new(v1::CreateTokenResponse {
            token: Some(encode_token(made)),
            secret: secret.reveal().to_owned(),
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::Token>, Status> {
        let admin = principal(&request)?;
        let TokenName(id) = field("name", &request.get_ref().name)?;
        let actor = Actor::from(&*admin);
        let revoked = self.0.store.token_revoke(&actor, id).await;
        let revoked = revoked.map_err(refused)?;
        tracing::info!(token = %id, name = revoked.name, by = admin.name, "token revoked");
        Ok(Response::new(encode_token(revoked)))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let request = request.get_ref();
        let size = page::size(request.page_size, 100)?;
        let after = match page::place::<(i64, Uuid)>(&request.page_token)? {
            None => None,
            Some((micros, id)) => {
                let created_at = page::moment(micros)?;
                Some(TokenCursor { created_at, id })
            }
        };
        let listed = self.0.store.token_list(size, after).await;
        let listed = listed.map_err(refused)?;
        let next = listed
            .next
            .map(|next| (next.created_at.timestamp_micros(), next.id));
        Ok(Response::new(v1::ListTokensResponse {
            tokens: listed.tokens.into_iter().map(encode_token).collect(),
            next_page_token: page::token(next.as_ref()),
        }))
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let request = request.get_ref();
        let sweep = match request.sweep.as_str() {
            "" => None,
            name => Some(field::<SweepName>("sweep", name)?.0),
        };
        let query = AuditQuery {
            sweep,
            actor: Some(request.actor.as_str()).filter(|actor| !actor.is_empty()),
            before: page::place(&request.page_token)?,
            limit: page::size(request.page_size, 100)?,
        };
        let listed = self.0.store.audit_list(query).await.map_err(refused)?;
        Ok(Response::new(v1::ListAuditResponse {
            entries: listed.entries.into_iter().map(encode_entry).collect(),
            next_page_token: page::token(listed.next.as_ref()),
        }))
    }
}

/// A request for a token, read.
struct Wanted {
    name: String,
    role: Role,
    owner: Option<String>,
    lifetime: Option<Duration>,
}

impl Wanted {
    fn read(request: v1::CreateTokenRequest) -> Result<Self, Status> {
        let mut violations = Violations::default();
        let role = v1::Role::try_from(request.role).ok();
        let role = role.and_then(|role| Role::try_from(role).ok());
        if role.is_none() {
            violations.add("role", "must be one of submitter, worker, viewer, admin");
        }
        check_name("display_name", &request.display_name, &mut violations);
        let owner = Some(request.owner).filter(|owner| !owner.is_empty());
        if let Some(owner) = &owner {
            check_name("owner", owner, &mut violations);
        }
        let lifetime = request.lifetime.map(|lifetime| {
            let lifetime = Duration::try_from(lifetime).unwrap_or_default();
            if lifetime.is_zero() || lifetime > MAX_LIFETIME {
                violations.add("lifetime", "must be above 0 and at most 100 years");
            }
            lifetime
        });
        match role {
            Some(role) if violations.as_slice().is_empty() => Ok(Self {
                name: request.display_name,
                role,
                owner,
                lifetime,
            }),
            _ => Err(status::bad_request(&violations)),
        }
    }
}

/// Names go into logs and tables: one line, and not without end.
fn check_name(field: &str, name: &str, violations: &mut Violations) {
    if name.trim().is_empty() || name.len() > MAX_NAME {
        violations.add(field, format!("must have 1 to {MAX_NAME} bytes"));
    } else if name.chars().any(char::is_control) {
        violations.add(field, "must be one line, without control characters");
    }
}

fn encode_token(row: TokenRow) -> v1::Token {
    v1::Token {
        name: TokenName(row.id).to_string(),
        display_name: row.name,
        role: v1::Role::from(row.role).into(),
        owner: row.owner,
        create_time: Some(timestamp(row.created_at)),
        created_by: row.created_by,
        expire_time: row.expires_at.map(timestamp),
        revoke_time: row.revoked_at.map(timestamp),
        last_use_time: row.last_used_at.map(timestamp),
    }
}

fn encode_entry(entry: AuditEntry) -> v1::AuditEntry {
    let named = |id: Option<Uuid>, name: fn(Uuid) -> String| id.map(name).unwrap_or_default();
    v1::AuditEntry {
        time: Some(timestamp(entry.at)),
        actor: entry.actor,
        token: named(entry.token, |id| TokenName(id).to_string()),
        role: entry
            .role
            .map_or(v1::Role::Unspecified, v1::Role::from)
            .into(),
        method: entry.method,
        sweep: named(entry.sweep, |id| SweepName(id).to_string()),
        job: entry
            .job
            .map(|job| JobName(job.0).to_string())
            .unwrap_or_default(),
        detail: entry.detail.to_string(),
    }
}
