use anyhow::Result;
use temper_proto::v1::{
    CellMatch, DiagnoseTransferRequest, LeaderboardRequest, SensitivityRequest,
};

use crate::system::{System, fields};

#[tokio::test]
async fn board_ranks_schedules_at_each_target() -> Result<()> {
    let mut system = System::start(|_| true).await?;
    let request = LeaderboardRequest {
        sweep: system.sweep.clone(),
        ..Default::default()
    };
    let boards = system
        .client
        .leaderboard(request)
        .await?
        .into_inner()
        .boards;
    assert_eq!(boards.len(), 2);
    for board in boards {
        let ranks: Vec<_> = board
            .entries
            .iter()
            .map(|entry| (entry.rank, entry.schedule.as_str(), entry.count, entry.wins))
            .collect();
        assert_eq!(
            ranks,
            [
                (1, "standard", 2, 2),
                (2, "two-hinge", 2, 0),
                (3, "linear", 2, 0),
                (4, "fixed", 2, 0)
            ]
        );
        assert_eq!(board.cells.len(), 2);
        assert!(board.cells.iter().all(|cell| cell.entries.len() == 4));
    }
    Ok(())
}

#[tokio::test]
async fn transfer_is_diagnosed_against_standard_and_chance() -> Result<()> {
    let mut system = System::start(|_| true).await?;
    // Standard is not asked for, but held against.
    let request = DiagnoseTransferRequest {
        sweep: system.sweep.clone(),
        cells: Some(CellMatch {
            schedules: vec!["fixed".into(), "linear".into()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = system
        .client
        .diagnose_transfer(request.clone())
        .await?
        .into_inner();
    assert_eq!(answer.diagnoses.len(), 16);
    for one in &answer.diagnoses {
        let cell = one.cell.as_ref().unwrap();
        let (onset, delay, never) = match (cell.schedule.as_str(), cell.seed) {
            ("fixed", 0) => (Some(2), 2, false),
            ("fixed", _) => (None, 4, true),
            _ => (Some(1), 1, false),
        };
        assert_eq!(
            (one.onset_epoch, one.delay_epochs, one.never_adapted),
            (onset, Some(delay), never)
        );
        assert_eq!((one.suboptimal, one.failed), (Some(true), Some(false)));
        assert!(one.standard_clean_accuracy.unwrap() > one.clean_accuracy.unwrap());
        assert_eq!((one.epochs_done, one.epochs), (4, 4));
        assert!((one.chance_accuracy - 0.1).abs() < 1e-12);
    }
    assert_eq!(answer.correlations.len(), 2);
    for one in answer.correlations {
        assert_eq!(
            (one.count, one.expected_count, one.never_adapted_count),
            (8, 8, 2)
        );
        assert!(one.clean_accuracy.unwrap() < -0.7, "{one:?}");
        assert_eq!(one.loss_count, 8);
    }
    let request = DiagnoseTransferRequest {
        onset_accuracy: Some(f64::NAN),
        ..request
    };
    let refused = system.client.diagnose_transfer(request).await.unwrap_err();
    assert_eq!(fields(&refused), ["onset_accuracy"]);
    Ok(())
}

#[tokio::test]
async fn sensitivity_places_schedules_where_their_hinges_are() -> Result<()> {
    let mut system = System::start(|_| true).await?;
    let request = SensitivityRequest {
        sweep: system.sweep.clone(),
        ..Default::default()
    };
    let grids = system.client.sensitivity(request).await?.into_inner().grids;
    // Two models and two targets.
    assert_eq!(grids.len(), 4);
    for grid in grids {
        let points: Vec<_> = grid
            .points
            .iter()
            .map(|point| {
                (
                    point.start,
                    point.end,
                    point.schedules[0].as_str(),
                    point.count,
                )
            })
            .collect();
        assert_eq!(
            points,
            [
                (0.0, 0.0, "fixed", 2),
                (0.0, 1.0, "linear", 2),
                (0.25, 0.75, "two-hinge", 2)
            ]
        );
    }
    Ok(())
}
