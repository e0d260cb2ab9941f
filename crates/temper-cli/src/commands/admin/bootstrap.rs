//! `temper admin bootstrap`.

use std::time::SystemTime;

use anyhow::Context as _;
use serde_json::json;
use temper_core::access::{self, Standing};
use temper_proto::{
    TokenName,
    v1::{self, Token},
};
use temper_service::{access::Secret, database::Database};
use temper_store::{Actor, NewToken, Store, TokenRow};

use super::{Role, Wishes};
use crate::output;

/// By this the audit log knows the command.
const COMMAND: &str = "temper admin bootstrap";

/// Which database, and what token.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: Database,
    /// What to call it
    #[arg(long, default_value = "admin")]
    name: String,
    /// What it may do
    #[arg(long, value_enum, default_value = "admin")]
    role: Role,
    /// Make none where the file holds a token of this role that is good; fails where it holds another
    #[arg(long, requires = "output")]
    unless_exists: bool,
    #[command(flatten)]
    wishes: Wishes,
}

/// Makes a token where whoever has the database has everything anyway. Brings the tables up to date
/// first.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let held = if args.unless_exists {
        args.wishes.held()?
    } else {
        args.wishes.check()?;
        None
    };
    let store = Store::connect(&args.database.url()?, 1)
        .await
        .context("cannot connect to the database (TEMPER_DATABASE_URL)")?;
    store.migrate().await?;
    if let Some(secret) = held {
        let standing = store.token_standing(&secret.digest()).await?;
        store.close().await;
        accept(&standing, args.role.into())?;
        tell_kept(&args.wishes);
        return Ok(());
    }
    let secret = Secret::generate().context("the system gives no random bytes")?;
    let token = NewToken {
        name: &args.name,
        role: args.role.into(),
        owner: args.wishes.owner.as_deref(),
        digest: secret.digest(),
        lifetime: args.wishes.expires_in,
    };
    let made = store
        .token_create(&Actor::at_database(COMMAND), token)
        .await?;
    store.close().await;
    args.wishes.hand_over(&secret, encode(made))
}

fn tell_kept(wishes: &Wishes) {
    if wishes.json {
        let path = wishes.output.as_ref();
        let path = path.map(|path| path.display().to_string());
        output::line(json!({ "path": path, "made": false }));
    } else {
        output::line("the file holds a good token already");
    }
}

/// The token as coordinators tell of it.
fn encode(made: TokenRow) -> Token {
    Token {
        name: TokenName(made.id).to_string(),
        display_name: made.name,
        role: v1::Role::from(made.role).into(),
        owner: made.owner,
        create_time: Some(timestamp(made.created_at)),
        created_by: made.created_by,
        expire_time: made.expires_at.map(timestamp),
        revoke_time: made.revoked_at.map(timestamp),
        last_use_time: made.last_used_at.map(timestamp),
    }
}

fn timestamp(time: impl Into<SystemTime>) -> prost_types::Timestamp {
    let time: SystemTime = time.into();
    time.into()
}

/// Whether the token that is there will do. What was revoked is not made anew unasked.
fn accept(standing: &Standing, wanted: access::Role) -> anyhow::Result<()> {
    let is = match standing {
        Standing::Good(principal) if principal.role == wanted => return Ok(()),
        Standing::Good(principal) => format!("has the role {}", principal.role),
        Standing::Unknown => "is not of this database".to_owned(),
        Standing::Revoked => "was revoked".to_owned(),
        Standing::Expired => "has expired".to_owned(),
    };
    anyhow::bail!("the token in the file {is}: delete the file (--output) to have another made")
}
