//! Tokens.

use std::fmt;

use crate::v1;

impl fmt::Debug for v1::CreateTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret is nobody's to log.
        f.debug_struct("CreateTokenResponse")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
