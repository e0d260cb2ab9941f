//! `temper admin bootstrap`.

use anyhow::Context as _;
use temper_service::access::Secret;
use temper_store::{Actor, NewToken, Store};

use super::{Role, Wishes};

/// By this the audit log knows the command.
const COMMAND: &str = "temper admin bootstrap";

/// Which database, and what token.
#[derive(clap::Args)]
pub struct Args {
    /// The database, `postgres://user@host/name`
    #[arg(
        long,
        env = "TEMPER_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: String,
    /// What to call it
    #[arg(long, default_value = "admin")]
    name: String,
    /// What it may do
    #[arg(long, value_enum, default_value = "admin")]
    role: Role,
    #[command(flatten)]
    wishes: Wishes,
}

/// Makes a token where whoever has the database has everything anyway. Brings the tables up to date
/// first.
pub async fn run(args: Args) -> anyhow::Result<()> {
    args.wishes.check()?;
    let store = Store::connect(&args.database_url, 1)
        .await
        .context("cannot connect to the database (TEMPER_DATABASE_URL)")?;
    store.migrate().await?;
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
