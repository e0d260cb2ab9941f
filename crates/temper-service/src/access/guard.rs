use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use temper_core::{
    Digest,
    access::{Principal, Standing},
};
use tonic::{
    Status,
    body::Body,
    codegen::{
        Service,
        http::{HeaderMap, Request, Response, header::AUTHORIZATION},
    },
};

use super::{Audience, Authenticate, ParseSecretError, Secret, audience};

/// For so long a token that was good is taken to be good still: a revocation reaches every
/// server within this time, and heartbeats do not each ask the database.
pub const TRUSTED_FOR: Duration = Duration::from_secs(5);

/// How a call carries its token.
const SCHEME: &str = "bearer";

/// The one way into a server's services.
#[derive(Clone)]
pub struct Guard<S> {
    services: S,
    gate: Arc<Gate>,
}

impl<S> Guard<S> {
    /// Lets through to `services` what the table of methods allows.
    pub fn new(services: S, authenticate: Arc<dyn Authenticate>) -> Self {
        let gate = Arc::new(Gate {
            authenticate,
            trusted: Mutex::default(),
        });
        Self { services, gate }
    }
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send> + Clone + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let gate = Arc::clone(&self.gate);
        // The one that said it is ready; its copy says so for itself.
        let next = self.services.clone();
        let mut services = std::mem::replace(&mut self.services, next);
        Box::pin(async move {
            let entry = gate.admit(request.uri().path(), request.headers()).await;
            match entry {
                Ok(Entry::Anybody) => {}
                Ok(Entry::Known(principal)) => {
                    request.extensions_mut().insert(principal);
                }
                Ok(Entry::Unnamed(path, allowed)) => {
                    let door = Door {
                        gate,
                        path,
                        allowed,
                    };
                    request.extensions_mut().insert(door);
                }
                Err(status) => return Ok(status.into_http()),
            }
            services.call(request).await
        })
    }
}

/// How a call gets in.
enum Entry {
    /// Anybody may make it.
    Anybody,
    /// Somebody who may.
    Known(Arc<Principal>),
    /// By the token in its message, which must be of these.
    Unnamed(String, Audience),
}

/// Where a call that has no token in its header shows the one in its message.
#[derive(Clone)]
pub(super) struct Door {
    gate: Arc<Gate>,
    path: String,
    allowed: Audience,
}

impl Door {
    /// Who calls, once it may.
    pub(super) async fn enter(&self, token: &str) -> Result<Arc<Principal>, Status> {
        let principal = self.gate.identify(&parse(token)?.digest()).await?;
        permit(self.allowed, &self.path, principal)
    }
}

struct Gate {
    authenticate: Arc<dyn Authenticate>,
    /// Tokens that were good a moment ago. Bad ones are not kept: there is no end to them.
    trusted: Mutex<HashMap<Digest, (Arc<Principal>, Instant)>>,
}

impl Gate {
    /// How a call of this method gets in.
    async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Entry, Status> {
        let allowed = audience(path);
        match allowed {
            Some(Audience::Everybody) => return Ok(Entry::Anybody),
            Some(allowed @ Audience::Carried(_)) if !headers.contains_key(AUTHORIZATION) => {
                return Ok(Entry::Unnamed(path.to_owned(), allowed));
            }
            _ => {}
        }
        // Who calls is asked first: strangers learn nothing, not even what there is.
        let principal = self.identify(&secret(headers)?.digest()).await?;
        let Some(allowed) = allowed else {
            let message = format!("{path} is no method that anybody may call");
            return Err(Status::permission_denied(message));
        };
        permit(allowed, path, principal).map(Entry::Known)
    }

    async fn identify(&self, digest: &Digest) -> Result<Arc<Principal>, Status> {
        if let Some(principal) = self.recall(digest) {
            return Ok(principal);
        }
        let asked = Instant::now();
        let refused = |why: &str| {
            Err(Status::unauthenticated(format!(
                "this token {why}: an admin makes another by `temper admin token create`"
            )))
        };
        match self.authenticate.standing(digest).await? {
            Standing::Good(principal) => Ok(self.trust(*digest, principal, asked)),
            Standing::Unknown => refused("is not known here"),
            Standing::Revoked => refused("was revoked"),
            Standing::Expired => refused("has expired"),
        }
    }

    fn recall(&self, digest: &Digest) -> Option<Arc<Principal>> {
        let trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        let (principal, since) = trusted.get(digest)?;
        (since.elapsed() < TRUSTED_FOR).then(|| Arc::clone(principal))
    }

    fn trust(&self, digest: Digest, principal: Principal, since: Instant) -> Arc<Principal> {
        let principal = Arc::new(principal);
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        // So that it never holds more than the tokens in use.
        trusted.retain(|_, (_, since)| since.elapsed() < TRUSTED_FOR);
        trusted.insert(digest, (Arc::clone(&principal), since));
        principal
    }
}

/// The principal, if its role is among these.
fn permit(
    allowed: Audience,
    path: &str,
    principal: Arc<Principal>,
) -> Result<Arc<Principal>, Status> {
    let is_let_in = match allowed {
        Audience::Everybody => true,
        Audience::Roles(roles) | Audience::Carried(roles) => roles.contains(&principal.role),
    };
    if is_let_in {
        return Ok(principal);
    }
    Err(Status::permission_denied(format!(
        "{} is for the role {}; token `{}` has the role {}",
        path.trim_start_matches('/'),
        allowed.roles(),
        principal.name,
        principal.role
    )))
}

/// The secret in a call's header.
fn secret(headers: &HeaderMap) -> Result<Secret, Status> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let value = given.next().ok_or_else(|| refused("there is no token"))?;
    let text = value.to_str().ok().filter(|_| given.next().is_none());
    let (scheme, token) = text
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| refused("this is no bearer token"))?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(refused("this is no bearer token"));
    }
    parse(token)
}

fn parse(token: &str) -> Result<Secret, Status> {
    let token = token.trim().parse();
    token.map_err(|error: ParseSecretError| refused(&error.to_string()))
}

fn refused(what: &str) -> Status {
    Status::unauthenticated(format!(
        "{what}: calls carry `authorization: Bearer temper_…`, which `temper` and workers take from \
         TEMPER_TOKEN_FILE or TEMPER_TOKEN"
    ))
}
