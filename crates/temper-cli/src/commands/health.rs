//! `temper health`.

use std::time::Duration;

use serde_json::{Value, json};
use temper_service::{arguments, client::Credentials, health, tls::ClientTls};

use crate::output;

/// Whom to ask, and after what.
#[derive(clap::Args)]
pub struct Args {
    /// The coordinator or results service
    #[arg(long, default_value = "http://127.0.0.1:7070", value_name = "URL")]
    address: String,
    /// A service, such as temper.v1.SweepService [default: the server as a whole]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    service: String,
    /// How long to wait for the answer
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = arguments::time)]
    timeout: Duration,
    /// Name that the server's certificate bears, where the address is another
    #[arg(long, env = "TEMPER_TLS_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,
    /// Print JSON, also where it does not serve
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tls: ClientTls,
}

/// Fails unless the service serves. Needs no token.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut credentials = Credentials::of_nobody(&args.tls)?;
    if let Some(name) = &args.server_name {
        credentials = credentials.with_server_name(name);
    }
    let asked = health::check(&args.address, &credentials, &args.service, args.timeout).await;
    let answer = asked.map_err(anyhow::Error::from);
    if args.json {
        output::line(document(&args, answer.as_ref().err()));
    } else if answer.is_ok() {
        output::line("SERVING");
    }
    answer
}

/// The answer as JSON, with why it does not serve.
fn document(args: &Args, error: Option<&anyhow::Error>) -> Value {
    json!({
        "address": args.address,
        "service": args.service,
        "serving": error.is_none(),
        "error": error.map(|error| format!("{error:#}")),
    })
}
