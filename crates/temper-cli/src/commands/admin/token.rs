//! `temper admin token`.

use clap::Subcommand;
use temper_core::access;
use temper_proto::{
    TokenName,
    v1::{
        self, CreateTokenRequest, ListTokensRequest, ListTokensResponse, RevokeTokenRequest, Token,
    },
};

use super::{Role, Wishes};
use crate::{
    connection::{self, Coordinator},
    names, output,
};

const PAGE: i32 = 1000;

/// What to do with tokens.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a token; its secret is shown once, on standard output
    Create(Create),
    /// Revoke a token: servers refuse it within seconds
    Revoke(Revoke),
    /// List tokens, newest first; revoked and expired ones too
    List(List),
}

#[derive(clap::Args)]
struct Create {
    /// What people will call it, and the audit log: a person, or a group of workers
    #[arg(long)]
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    role: Role,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    coordinator: Coordinator,
}

#[derive(clap::Args)]
struct Revoke {
    /// The token: `temper admin token list` shows them
    #[arg(value_parser = names::token)]
    token: TokenName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

#[derive(clap::Args)]
struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// Runs the command.
pub async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Create(args) => create(args).await,
        Command::Revoke(args) => revoke(args).await,
        Command::List(args) => list(args).await,
    }
}

async fn create(args: Create) -> anyhow::Result<()> {
    args.wishes.check()?;
    let mut client = args.coordinator.admin().await?;
    let request = CreateTokenRequest {
        display_name: args.name,
        role: v1::Role::from(access::Role::from(args.role)).into(),
        owner: args.wishes.owner.clone().unwrap_or_default(),
        lifetime: args
            .wishes
            .expires_in
            .map(prost_types::Duration::try_from)
            .transpose()?,
    };
    // Once: repeated, it would make another.
    let made = client.create_token(request).await;
    let made = made
        .map_err(|status| connection::failure(&status))?
        .into_inner();
    let token = made.token.unwrap_or_default();
    args.wishes.hand_over(&made.secret.parse()?, token)
}

async fn revoke(args: Revoke) -> anyhow::Result<()> {
    let client = args.coordinator.admin().await?;
    let token = connection::call(|| {
        let (mut client, name) = (client.clone(), args.token.to_string());
        async move { client.revoke_token(RevokeTokenRequest { name }).await }
    })
    .await?;
    if args.json {
        return output::print_json(&token);
    }
    output::line(format_args!("{}: {}", token.name, state(&token)));
    Ok(())
}

async fn list(args: List) -> anyhow::Result<()> {
    let client = args.coordinator.admin().await?;
    let (mut tokens, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListTokensRequest {
            page_size: PAGE,
            page_token,
        };
        let page = connection::call(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.list_tokens(request).await }
        })
        .await?;
        tokens.extend(page.tokens);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if args.json {
        return output::print_json(&ListTokensResponse {
            tokens,
            ..Default::default()
        });
    }
    let columns = [
        "TOKEN", "NAME", "ROLE", "OWNER", "STATE", "EXPIRES", "USED", "MADE", "BY",
    ];
    let table = output::table(&columns, tokens.iter().map(row));
    output::print_table(&table, "no tokens");
    Ok(())
}

fn row(token: &Token) -> Vec<String> {
    vec![
        token.name.clone(),
        token.display_name.clone(),
        output::role(token.role),
        token.owner.clone(),
        state(token).to_owned(),
        output::time(token.expire_time),
        output::time(token.last_use_time),
        output::time(token.create_time),
        token.created_by.clone(),
    ]
}

/// Whether it was revoked. Whether it has expired is for the database's clock to say.
fn state(token: &Token) -> &'static str {
    if token.revoke_time.is_some() {
        "revoked"
    } else {
        "good"
    }
}
