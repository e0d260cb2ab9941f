//! What Grafana is given to ask, asked as `temper_reader`.

mod asked;
mod history;
mod published;
mod seed;

use std::process::Command;

use anyhow::Result;
use temper_store::testing::grafana;

#[test]
fn committed_dashboards_are_what_their_generator_writes() -> Result<()> {
    let generator = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/grafana/generate");
    let check = Command::new("python3")
        .args(["-B", generator, "--check"])
        .output()?;
    let said = String::from_utf8([check.stdout, check.stderr].concat())?;
    assert!(check.status.success(), "{said}");
    Ok(())
}

#[test]
fn dashboards_ask_the_provisioned_datasource_by_its_fixed_uid() -> Result<()> {
    let provisioned =
        include_str!("../../../../deploy/grafana/provisioning/datasources/temper.yaml");
    assert!(provisioned.contains("\n    uid: temper\n"));
    let boards = grafana::boards()?;
    let names: Vec<_> = boards.iter().map(|board| board.name.as_str()).collect();
    assert_eq!(names, ["curves", "fleet", "overview", "training"]);
    for board in &boards {
        for panel in &board.panels {
            let uids = [
                &panel.json["datasource"]["uid"],
                &panel.json["targets"][0]["datasource"]["uid"],
            ];
            assert!(
                uids.iter().all(|uid| *uid == "temper"),
                "{}: {}",
                board.name,
                panel.title
            );
            assert!(
                !panel.sql.contains("temper."),
                "{}: {}",
                board.name,
                panel.title
            );
        }
    }
    Ok(())
}
