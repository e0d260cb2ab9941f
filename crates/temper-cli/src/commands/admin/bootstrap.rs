//! `temper admin bootstrap`.

use anyhow::Context as _;
use temper_core::access::{self, Standing};
use temper_service::{access::Secret, database::Database};
use temper_store::{Actor, NewToken, Store};

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
        output::line("the file holds a good token already");
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
    let what = format!("tokens/{} `{}`, role {}", made.id, made.name, made.role);
    args.wishes.hand_over(&secret, &what)
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
