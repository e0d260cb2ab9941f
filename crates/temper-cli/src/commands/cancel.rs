//! `temper cancel`.

use temper_proto::{SweepName, v1::CancelSweepRequest};

use crate::{
    connection::{self, Coordinator},
    names, output,
};

/// Which sweep.
#[derive(clap::Args)]
pub struct Args {
    /// The sweep
    #[arg(value_parser = names::sweep)]
    sweep: SweepName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// Cancels a sweep.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.coordinator.sweeps().await?;
    let sweep = connection::call(|| {
        let (mut client, name) = (client.clone(), args.sweep.to_string());
        async move { client.cancel_sweep(CancelSweepRequest { name }).await }
    })
    .await?;
    if args.json {
        return output::print_json(&sweep);
    }
    output::line(format_args!(
        "{}: {}",
        sweep.name,
        output::sweep_state(sweep.state)
    ));
    Ok(())
}
