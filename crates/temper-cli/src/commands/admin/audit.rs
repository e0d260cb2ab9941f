//! `temper admin audit`.

use temper_proto::{
    SweepName,
    v1::{AuditEntry, ListAuditRequest, ListAuditResponse},
};

use crate::{
    connection::{self, Coordinator},
    names, output,
};

const PAGE: i32 = 1000;

/// Which entries.
#[derive(clap::Args)]
pub struct Args {
    /// Only what was done to this sweep
    #[arg(long, value_parser = names::sweep)]
    sweep: Option<SweepName>,
    /// Only what was done under tokens of this name
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// Shows the audit log.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let entries = list(&args).await?;
    if args.json {
        return output::print_json(&ListAuditResponse {
            entries,
            ..Default::default()
        });
    }
    let columns = ["TIME", "WHO", "ROLE", "WHAT", "SWEEP", "JOB", "DETAIL"];
    let table = output::table(&columns, entries.iter().map(row));
    output::print_table(&table, "nothing was changed yet");
    Ok(())
}

async fn list(args: &Args) -> anyhow::Result<Vec<AuditEntry>> {
    let client = args.coordinator.admin().await?;
    let mut request = ListAuditRequest {
        sweep: args
            .sweep
            .map(|sweep| sweep.to_string())
            .unwrap_or_default(),
        actor: args.actor.clone().unwrap_or_default(),
        ..ListAuditRequest::default()
    };
    let mut entries = Vec::new();
    while entries.len() < args.limit {
        let left = i32::try_from(args.limit - entries.len()).unwrap_or(PAGE);
        request.page_size = left.min(PAGE);
        let page = connection::call(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.list_audit(request).await }
        })
        .await?;
        entries.extend(page.entries);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok(entries)
}

fn row(entry: &AuditEntry) -> Vec<String> {
    vec![
        output::time(entry.time),
        entry.actor.clone(),
        output::role(entry.role),
        entry.method.clone(),
        entry.sweep.clone(),
        entry.job.clone(),
        entry.detail.clone(),
    ]
}
