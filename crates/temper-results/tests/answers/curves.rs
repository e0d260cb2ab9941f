use anyhow::{Context as _, Result};
use temper_proto::v1::{
    CellMatch, GetCurveRequest, JobState, ListCurvesRequest, ListCurvesResponse,
};

use crate::system::{System, fields};

/// A request for all of a sweep's curves.
fn all(sweep: &str) -> ListCurvesRequest {
    ListCurvesRequest {
        parent: sweep.to_owned(),
        page_size: 1000,
        ..Default::default()
    }
}

#[tokio::test]
async fn full_curves_come_out_as_they_were_handed_in() -> Result<()> {
    let mut system = System::start(|_| true).await?;
    let listed = system
        .client
        .list_curves(all(&system.sweep))
        .await?
        .into_inner();
    assert_eq!(listed.curves.len(), 32);
    for one in &listed.curves {
        let (cell, curve) = (one.cell.as_ref().context("no cell")?, one.curve.as_ref());
        let curve = curve.with_context(|| format!("no curve of {cell:?}"))?;
        let base = match cell.schedule.as_str() {
            "standard" => 90,
            "fixed" => 45,
            "two-hinge" => 70,
            _ => 60,
        };
        let model = if cell.model == "vit-base" { 3 } else { 0 };
        let clean = base + model + 2 * u32::try_from(cell.seed)?;
        let end = if cell.target_epsilon == "4/255" { 4 } else { 8 };
        let correct: Vec<_> = curve.points.iter().map(|point| point.correct).collect();
        let expected: Vec<_> = (0..=end).map(|i| clean - 5 * i).collect();
        assert_eq!(correct, expected, "{cell:?}");
        assert!(curve.points.iter().all(|point| point.samples == 100));
        // A line: its mean is the mean of its ends.
        let mean = (f64::from(clean) - 2.5 * f64::from(end)) / 100.0;
        assert!((curve.expected_robustness - mean).abs() < 1e-12);
        let name = cell.job.clone();
        let alone = system.client.get_curve(GetCurveRequest { name }).await?;
        assert_eq!(&alone.into_inner(), curve);
    }
    Ok(())
}

#[tokio::test]
async fn pages_hold_each_curve_once_and_filters_leave_out_what_they_say() -> Result<()> {
    let mut system = System::start(|spec| spec.seed == 0).await?;
    let whole = system
        .client
        .list_curves(all(&system.sweep))
        .await?
        .into_inner();
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListCurvesRequest {
            page_size: 5,
            page_token: token,
            ..all(&system.sweep)
        };
        let ListCurvesResponse {
            curves,
            next_page_token,
        } = system.client.list_curves(request).await?.into_inner();
        assert!(curves.len() <= 5);
        paged.extend(curves);
        token = next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, whole.curves);
    let missing = whole.curves.iter().filter(|one| one.curve.is_none());
    assert!(
        missing
            .clone()
            .all(|one| one.cell.as_ref().unwrap().seed == 1)
    );
    assert_eq!(missing.count(), 16);

    let some = ListCurvesRequest {
        cells: Some(CellMatch {
            schedules: vec!["fixed".into()],
            target_epsilons: vec!["8/255".into()],
            ..Default::default()
        }),
        measured_only: true,
        ..all(&system.sweep)
    };
    let some = system.client.list_curves(some).await?.into_inner().curves;
    assert_eq!(some.len(), 2);
    for one in some {
        let cell = one.cell.unwrap();
        assert_eq!(
            (cell.schedule.as_str(), cell.target_epsilon.as_str()),
            ("fixed", "8/255")
        );
        assert_eq!((cell.seed, cell.state()), (0, JobState::Succeeded));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_on_the_axes_is_refused_by_its_field() -> Result<()> {
    let mut system = System::start(|_| false).await?;
    let request = ListCurvesRequest {
        cells: Some(CellMatch {
            models: vec!["vit-base".into(), "resnet9000".into()],
            seeds: vec![u64::MAX],
            ..Default::default()
        }),
        evaluations: vec![0, 1],
        ..all(&system.sweep)
    };
    let refused = system.client.list_curves(request).await.unwrap_err();
    assert_eq!(
        fields(&refused),
        ["cells.models[1]", "cells.seeds[0]", "evaluations[1]"]
    );
    let request = ListCurvesRequest {
        page_token: "no token".into(),
        ..all(&system.sweep)
    };
    let refused = system.client.list_curves(request).await.unwrap_err();
    assert_eq!(fields(&refused), ["page_token"]);
    let nowhere = format!("sweeps/{}", uuid::Uuid::nil());
    let refused = system.client.list_curves(all(&nowhere)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    Ok(())
}
