//! Who may call what: every call is authorised here, in one place, before it reaches a service.
//!
//! A call carries `authorization: Bearer temper_…`. The [`Guard`] around all routes looks the method
//! up in [`audience`], asks [`Authenticate`] whose token that is, and either refuses the call or
//! hands it on with the [`Principal`] beside it. What the table does not name is refused.

mod guard;
mod methods;
mod secret;

use std::sync::Arc;

use futures::future::BoxFuture;
use temper_core::{
    Digest,
    access::{Principal, Standing},
};
use tonic::{Extensions, Request, Status};

pub use guard::{Guard, TRUSTED_FOR};
pub use methods::{Audience, Method, Shape, audience, method};
pub use secret::{ParseSecretError, Secret};

/// Knows tokens by the digests of their secrets; the secrets themselves stay in this crate.
pub trait Authenticate: Send + Sync + 'static {
    /// How it stands with the token of this digest.
    ///
    /// # Errors
    /// When that cannot be told now, with the status that the caller is to be given.
    fn standing<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Standing, Status>>;
}

/// Whoever makes this call.
///
/// # Errors
/// `UNAUTHENTICATED` when no guard has let it in, which would be a defect of the server's.
pub fn principal<T>(request: &Request<T>) -> Result<Arc<Principal>, Status> {
    let principal = request.extensions().get::<Arc<Principal>>();
    principal
        .cloned()
        .ok_or_else(|| Status::unauthenticated("nobody has asked who calls"))
}

/// Whoever makes a call whose message may carry the token ([`Audience::Carried`]): by the header where there
/// was one, else by `token`.
///
/// # Errors
/// `UNAUTHENTICATED` without a good token, `PERMISSION_DENIED` where its role may not make the call, and what
/// [`Authenticate`] says when it cannot tell.
pub async fn carried(
    extensions: &Extensions,
    token: Option<&str>,
) -> Result<Arc<Principal>, Status> {
    if let Some(principal) = extensions.get::<Arc<Principal>>() {
        return Ok(Arc::clone(principal));
    }
    match (extensions.get::<guard::Door>(), token) {
        (Some(door), Some(token)) => door.enter(token).await,
        _ => Err(Status::unauthenticated(
            "there is no token, neither in the header `authorization` nor in the message",
        )),
    }
}
