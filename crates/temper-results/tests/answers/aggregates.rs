use anyhow::Result;
use temper_core::{schedule::Ramp, spec::TrainSpec};
use temper_proto::v1::{
    AggregateCurvesRequest, CellMatch, CompareSchedulesRequest, CurveAxis, EpsilonDistribution,
    ExpectedRobustnessRequest, ListCurvesRequest, PairBy,
    epsilon_distribution::{Kind, PointMass, Uniform, WeightedEpsilon, Weights},
    expected_robustness_request::Of,
};

use crate::system::{System, fields};

#[track_caller]
fn near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
}

/// The second seed of fixed has not been trained.
fn all_but_one_seed_of_fixed(spec: &TrainSpec) -> bool {
    spec.seed == 0 || !matches!(spec.ramp, Ramp::Hinged { start, end, .. } if start == end)
}

#[tokio::test]
async fn groups_say_n_of_expected_and_which_cells_are_missing() -> Result<()> {
    let mut system = System::start(all_but_one_seed_of_fixed).await?;
    let request = AggregateCurvesRequest {
        sweep: system.sweep.clone(),
        ..Default::default()
    };
    let answer = system.client.aggregate_curves(request).await?;
    let groups = answer.into_inner().groups;
    assert_eq!(groups.len(), 16);
    for group in &groups {
        let is_fixed = group.schedule == "fixed";
        let clean = group.clean_accuracy.unwrap();
        assert_eq!(
            (group.count, group.expected_count),
            (2 - u32::from(is_fixed), 2)
        );
        assert_eq!(clean.count, group.count);
        assert_eq!(group.missing.len(), usize::from(is_fixed));
        if is_fixed {
            assert_eq!((group.missing[0].seed, clean.lower), (1, None));
        } else {
            // Two seeds 0.02 apart: t of one degree of freedom is 12.7062.
            near(clean.upper.unwrap() - clean.mean, 0.127_062_047_361_747);
            near(clean.mean - clean.lower.unwrap(), 0.127_062_047_361_747);
        }
        assert_eq!(
            group.points.len(),
            if group.target_epsilon == "4/255" {
                5
            } else {
                9
            }
        );
    }
    Ok(())
}

#[tokio::test]
async fn axes_that_are_not_grouped_by_are_gathered() -> Result<()> {
    let mut system = System::start(all_but_one_seed_of_fixed).await?;
    let by_schedule = AggregateCurvesRequest {
        sweep: system.sweep.clone(),
        group_by: vec![CurveAxis::Schedule.into()],
        without_points: true,
        ..Default::default()
    };
    let answer = system.client.aggregate_curves(by_schedule).await?;
    let groups = answer.into_inner().groups;
    let shown: Vec<_> = groups
        .iter()
        .map(|group| {
            (
                group.schedule.as_str(),
                group.model.as_str(),
                group.count,
                group.expected_count,
            )
        })
        .collect();
    // One training of `standard` serves both targets, but is measured for each.
    assert_eq!(
        shown,
        [
            ("standard", "", 8, 8),
            ("fixed", "", 4, 8),
            ("two-hinge", "", 8, 8),
            ("linear", "", 8, 8)
        ]
    );
    assert!(groups.iter().all(|group| group.points.is_empty()));
    Ok(())
}

#[tokio::test]
async fn bad_axes_and_unknown_sweeps_are_refused() -> Result<()> {
    let mut system = System::start(|_| false).await?;
    let request = AggregateCurvesRequest {
        sweep: system.sweep.clone(),
        group_by: vec![0, CurveAxis::Model.into(), 99, CurveAxis::Model.into()],
        ..Default::default()
    };
    let refused = system.client.aggregate_curves(request).await.unwrap_err();
    assert_eq!(
        fields(&refused),
        ["group_by[0]", "group_by[2]", "group_by[3]"]
    );
    let nowhere = AggregateCurvesRequest {
        sweep: format!("sweeps/{}", uuid::Uuid::nil()),
        ..Default::default()
    };
    let refused = system.client.aggregate_curves(nowhere).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    Ok(())
}

fn robustness(sweep: &str, kind: Kind) -> ExpectedRobustnessRequest {
    ExpectedRobustnessRequest {
        of: Some(Of::Sweep(sweep.to_owned())),
        distribution: Some(EpsilonDistribution { kind: Some(kind) }),
        ..Default::default()
    }
}

fn point_mass(epsilon: &str) -> Kind {
    let epsilon = epsilon.to_owned();
    Kind::PointMass(PointMass { epsilon })
}

fn weights<const N: usize>(points: [(&str, f64); N]) -> Kind {
    let points = points.map(|(epsilon, weight)| WeightedEpsilon {
        epsilon: epsilon.to_owned(),
        weight,
    });
    let points = points.to_vec();
    Kind::Weights(Weights { points })
}

#[tokio::test]
async fn expected_robustness_takes_any_distribution_that_the_grid_covers() -> Result<()> {
    let mut system = System::start(|_| true).await?;
    let request = ExpectedRobustnessRequest {
        cells: Some(CellMatch {
            models: vec!["mobilenet".into()],
            schedules: vec!["fixed".into()],
            target_epsilons: vec!["4/255".into()],
            ..Default::default()
        }),
        ..robustness(&system.sweep, point_mass("0"))
    };
    let of = |kind| ExpectedRobustnessRequest {
        distribution: Some(EpsilonDistribution { kind: Some(kind) }),
        ..request.clone()
    };
    for (kind, expected) in [
        // Seeds 45 and 47 of 100, five fewer at each strength.
        (point_mass("0"), 0.46),
        (point_mass("4/255"), 0.26),
        (
            Kind::Uniform(Uniform {
                from: "1/255".into(),
                to: "3/255".into(),
            }),
            0.36,
        ),
        (Kind::Uniform(Uniform::default()), 0.36),
        (weights([("0", 3.0), ("4/255", 1.0)]), 0.41),
    ] {
        let groups = system
            .client
            .expected_robustness(of(kind))
            .await?
            .into_inner()
            .groups;
        assert_eq!(
            (groups.len(), groups[0].count, groups[0].expected_count),
            (1, 2, 2)
        );
        near(groups[0].expected_robustness.unwrap().mean, expected);
    }
    Ok(())
}

#[tokio::test]
async fn expected_robustness_of_one_evaluation_has_no_groups() -> Result<()> {
    let mut system = System::start(|_| true).await?;
    let listed = system.client.list_curves(ListCurvesRequest {
        parent: system.sweep.clone(),
        ..Default::default()
    });
    let job = listed.await?.into_inner().curves[0]
        .cell
        .clone()
        .unwrap()
        .job;
    let alone = ExpectedRobustnessRequest {
        of: Some(Of::Job(job)),
        ..robustness("", point_mass("0"))
    };
    let groups = system
        .client
        .expected_robustness(alone.clone())
        .await?
        .into_inner()
        .groups;
    near(groups[0].expected_robustness.unwrap().mean, 0.93);
    let both = ExpectedRobustnessRequest {
        group_by: vec![1],
        evaluations: vec![0],
        ..alone
    };
    let refused = system.client.expected_robustness(both).await.unwrap_err();
    assert_eq!(fields(&refused), ["group_by", "evaluations"]);
    Ok(())
}

#[tokio::test]
async fn distributions_that_are_none_or_that_no_grid_covers_are_refused_by_the_field() -> Result<()>
{
    let mut system = System::start(|_| true).await?;
    let weights = |weights: &[(&str, f64)]| {
        let point = |&(epsilon, weight): &(&str, f64)| WeightedEpsilon {
            epsilon: epsilon.to_owned(),
            weight,
        };
        Kind::Weights(Weights {
            points: weights.iter().map(point).collect(),
        })
    };
    let uniform = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        Kind::Uniform(Uniform { from, to })
    };
    for (kind, field) in [
        // Curves of the target 4/255 end there.
        (uniform("0", "5/255"), "uniform.to"),
        (uniform("6/255", ""), "uniform.from"),
        (uniform("3/255", "2/255"), "uniform.to"),
        (weights(&[("0", f64::NAN)]), "weights.points[0].weight"),
        (weights(&[("0", -1.0)]), "weights.points[0].weight"),
        (weights(&[("0", 0.0)]), "weights.points"),
        (weights(&[]), "weights.points"),
        (
            weights(&[("0", 1.0), ("7/255", 1.0)]),
            "weights.points[1].epsilon",
        ),
        (
            Kind::PointMass(PointMass {
                epsilon: "1/4".into(),
            }),
            "point_mass.epsilon",
        ),
    ] {
        let request = robustness(&system.sweep, kind);
        let refused = system
            .client
            .expected_robustness(request)
            .await
            .unwrap_err();
        assert_eq!(
            fields(&refused),
            [format!("distribution.{field}")],
            "{refused}"
        );
    }
    let refused = system
        .client
        .expected_robustness(ExpectedRobustnessRequest::default());
    assert_eq!(fields(&refused.await.unwrap_err()), ["of"]);
    Ok(())
}

#[tokio::test]
async fn schedules_are_compared_over_pairs_at_each_target() -> Result<()> {
    let mut system = System::start(|_| true).await?;
    let request = CompareSchedulesRequest {
        sweep: system.sweep.clone(),
        baseline: "fixed".into(),
        candidate: "two-hinge(1/4,3/4)".into(),
        ..Default::default()
    };
    for (pair_by, pairs) in [(PairBy::Seed, 4), (PairBy::Configuration, 2)] {
        let request = CompareSchedulesRequest {
            pair_by: pair_by.into(),
            ..request.clone()
        };
        let answer = system.client.compare_schedules(request).await?.into_inner();
        assert_eq!(answer.comparisons.len(), 2);
        for one in answer.comparisons {
            let key = one.key.unwrap();
            assert_eq!((key.model.as_str(), key.seed), ("", None));
            assert!(["4/255", "8/255"].contains(&key.target_epsilon.as_str()));
            assert_eq!(
                (one.count, one.expected_count, one.unpaired_count),
                (pairs, pairs, 0)
            );
            let clean = one.clean_accuracy.unwrap();
            near(clean.mean_difference, 0.25);
            assert_eq!((clean.wins, clean.losses, clean.count), (pairs, 0, pairs));
            // All differences are alike: there is nothing to test.
            assert_eq!((clean.t, clean.degrees_of_freedom), (None, pairs - 1));
        }
    }
    for (baseline, candidate, expected) in [
        ("fixed", "fixed", &["candidate"][..]),
        ("fixed", "cosine", &["candidate"]),
        ("sudden", "", &["baseline", "candidate"]),
    ] {
        let request = CompareSchedulesRequest {
            baseline: baseline.into(),
            candidate: candidate.into(),
            ..request.clone()
        };
        let refused = system.client.compare_schedules(request).await.unwrap_err();
        assert_eq!(fields(&refused), expected);
    }
    let by_schedule = CompareSchedulesRequest {
        group_by: vec![CurveAxis::Schedule.into()],
        ..request
    };
    let refused = system
        .client
        .compare_schedules(by_schedule)
        .await
        .unwrap_err();
    assert_eq!(fields(&refused), ["group_by[0]"]);
    Ok(())
}

/// Values that are on the axes, and no cell that has them all.
#[tokio::test]
async fn group_of_no_cells_is_refused_by_its_field() -> Result<()> {
    const SPEC: &str = r#"{"models": ["vit-base"], "datasets": ["cub200"],
        "schedules": [{"fixed": {}}, {"twoHinge": {}}], "targetEpsilons": ["4/255", "8/255"],
        "seeds": [0], "exclude": [{"schedules": ["fixed"], "targetEpsilons": ["8/255"]}],
        "training": {"epochs": 4}, "evaluations": [{"samples": 100}]}"#;
    let mut system = System::start(|_| false).await?;
    let sweep = crate::lab::submit(system.database.store(), SPEC).await?;
    let sweep = format!("sweeps/{sweep}");
    let cells = Some(CellMatch {
        schedules: vec!["fixed".into()],
        target_epsilons: vec!["8/255".into()],
        ..Default::default()
    });
    let aggregate = AggregateCurvesRequest {
        sweep: sweep.clone(),
        cells: cells.clone(),
        ..Default::default()
    };
    let refused = system.client.aggregate_curves(aggregate).await.unwrap_err();
    assert_eq!(fields(&refused), ["cells"]);
    let robustness = ExpectedRobustnessRequest {
        cells,
        ..robustness(&sweep, point_mass("0"))
    };
    let refused = system.client.expected_robustness(robustness).await;
    assert_eq!(fields(&refused.unwrap_err()), ["cells"]);
    Ok(())
}
