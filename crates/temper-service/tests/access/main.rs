//! Who may call what, over plaintext and TLS, and that no secret is told.
#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod calls;
mod lab;
mod methods;
#[path = "../partial/mod.rs"]
mod partial;
mod secrets;
mod tls;
