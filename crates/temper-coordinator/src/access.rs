//! Whose calls are whose: by the tokens in the database.

use futures::future::BoxFuture;
use temper_core::{Digest, access::Standing};
use temper_service::{access::Authenticate, status};
use temper_store::{Store, StoreError};
use tonic::Status;

/// The tokens in the database.
pub struct Tokens(pub Store);

impl Tokens {
    async fn look_up(&self, digest: &Digest) -> Result<Standing, StoreError> {
        let standing = self.0.token_standing(digest).await?;
        if let Standing::Good(principal) = &standing {
            self.0.token_used(principal.token).await?;
        }
        Ok(standing)
    }
}

impl Authenticate for Tokens {
    fn standing<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Standing, Status>> {
        let refused = |error: StoreError| status::of(error.kind(), &error);
        Box::pin(async move { self.look_up(digest).await.map_err(refused) })
    }
}
