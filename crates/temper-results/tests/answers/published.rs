use anyhow::Result;
use temper_proto::v1::{
    CompareWithPublishedRequest, CurveAxis, Estimate, ListPublishedRequest, ListPublishedResponse,
    ScheduleComparison,
};

use crate::system::{System, fields};

fn percent(estimate: Option<Estimate>) -> String {
    format!("{:.2}", estimate.unwrap().mean * 100.0)
}

/// All that was published.
async fn published() -> Result<ListPublishedResponse> {
    let mut system = System::start(|_| false).await?;
    let answer = system
        .client
        .list_published(ListPublishedRequest::default());
    Ok(answer.await?.into_inner())
}

#[tokio::test]
async fn published_rows_yield_the_papers_means() -> Result<()> {
    let answer = published().await?;
    assert_eq!(answer.rows.len(), 120);
    let marked: Vec<_> = answer.rows.iter().filter(|row| row.anomalous).collect();
    assert_eq!(marked.len(), 2);
    assert!(
        marked
            .iter()
            .all(|row| row.dataset == "fgvc-aircraft" && row.target_epsilon == "8/255")
    );
    let mut means: Vec<_> = answer
        .summaries
        .iter()
        .map(|one| {
            let key = one.key.as_ref().unwrap();
            let means = [
                one.clean_accuracy,
                one.robust_accuracy,
                one.expected_robustness,
            ];
            let means = means.map(percent).join(" ");
            format!(
                "{} {}: {means} of {}, {} odd",
                key.target_epsilon, key.schedule, one.count, one.anomalous_count
            )
        })
        .collect();
    means.sort();
    assert_eq!(
        means,
        [
            "4/255 fixed: 38.15 20.61 29.20 of 30, 0 odd",
            "4/255 two-hinge: 76.18 36.04 56.59 of 30, 0 odd",
            "8/255 fixed: 19.40 8.17 13.29 of 30, 2 odd",
            "8/255 two-hinge: 69.35 21.71 44.47 of 30, 0 odd",
        ]
    );
    Ok(())
}

#[tokio::test]
async fn published_rows_yield_the_papers_tests() -> Result<()> {
    let answer = published().await?;
    let tests = |one: &ScheduleComparison| {
        let metrics = [
            &one.clean_accuracy,
            &one.robust_accuracy,
            &one.expected_robustness,
        ];
        let shown = metrics.map(|metric| {
            let metric = metric.as_ref().unwrap();
            format!("{:.4} {}/{}", metric.t.unwrap(), metric.wins, metric.count)
        });
        (
            one.key.as_ref().unwrap().target_epsilon.clone(),
            shown.join(", "),
        )
    };
    let mut tests: Vec<_> = answer.comparisons.iter().map(tests).collect();
    tests.sort();
    let expected = [
        ("4/255", "7.8233 30/30, 4.3488 21/30, 6.5956 30/30"),
        ("8/255", "12.3875 30/30, 5.4476 27/30, 9.2708 30/30"),
    ];
    assert_eq!(
        tests,
        expected.map(|(target, text)| (target.to_owned(), text.to_owned()))
    );
    Ok(())
}

#[tokio::test]
async fn what_was_not_published_and_no_axis_of_it_are_refused() -> Result<()> {
    let mut system = System::start(|_| false).await?;
    let request = ListPublishedRequest {
        models: vec!["vit-base".into(), "mobilenet".into()],
        group_by: vec![CurveAxis::Seed.into()],
        ..Default::default()
    };
    let refused = system.client.list_published(request).await.unwrap_err();
    assert_eq!(fields(&refused), ["group_by[0]", "models[1]"]);
    Ok(())
}

#[tokio::test]
async fn groups_stand_beside_what_was_published_of_them() -> Result<()> {
    let mut system = System::start(|spec| spec.seed == 0).await?;
    let request = CompareWithPublishedRequest {
        sweep: system.sweep.clone(),
        ..Default::default()
    };
    let answer = system
        .client
        .compare_with_published(request)
        .await?
        .into_inner();
    // Fixed and two-hinge of one model at two targets, of 16 groups.
    assert_eq!(
        (answer.comparisons.len(), answer.unpublished_count),
        (4, 12)
    );
    let one = answer
        .comparisons
        .iter()
        .find(|one| {
            let key = one.key.as_ref().unwrap();
            key.schedule == "two-hinge" && key.target_epsilon == "4/255"
        })
        .unwrap();
    let published = one.published.as_ref().unwrap();
    assert!((published.clean_accuracy - 0.734).abs() < 1e-9);
    assert!((one.clean_accuracy.unwrap().mean - 0.73).abs() < 1e-9);
    assert_eq!((one.count, one.expected_count), (1, 2));
    assert_eq!(answer.summaries.len(), 4);
    Ok(())
}
