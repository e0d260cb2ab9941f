//! Who calls, and what kind of caller it is.

use std::fmt;

use uuid::Uuid;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Submits and steers sweeps, and sees everything.
    Submitter,
    /// Leases jobs and reports of them; nothing else.
    Worker,
    /// Sees everything, changes nothing.
    Viewer,
    /// What a submitter may, and the tokens and the audit log.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Submitter, Self::Worker, Self::Viewer, Self::Admin];

    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitter => "submitter",
            Self::Worker => "worker",
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whoever calls, by the token that the call carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Id of the token; no secret.
    pub token: Uuid,
    /// What the token is called, which is what the audit log says.
    pub name: String,
    /// What it may.
    pub role: Role,
    /// Whose share of the workers its sweeps take.
    pub owner: String,
}

/// How it stands with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is good, and this is whose it is.
    Good(Principal),
    /// There is none with such a secret.
    Unknown,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles_read_back() {
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.as_str()), Some(role));
        }
        assert_eq!(Role::from_name("root"), None);
    }
}
