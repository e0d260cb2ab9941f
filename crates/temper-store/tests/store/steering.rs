use anyhow::Result;
use serde_json::json;
use temper_core::{
    ErrorKind,
    expand::Sample,
    job::{FailureClass, JobFilter, JobState},
    schedule::Schedule,
    spec::SweepSpec,
};
use temper_store::{
    AuditQuery, CurveFilter, LeaseStatus, SweepChanges, SweepExtension, SweepFilter, SweepRow,
    SweepState,
};
use uuid::Uuid;

use crate::lab::{
    LEASE, Lab, Submission, TESTER, epsilon, expansion, failure, inputs, measurement, refusal, spec,
};

async fn row(lab: &Lab, sweep: Uuid) -> Result<SweepRow> {
    Ok(lab.store().sweep_get(sweep).await?)
}

/// Extends a sweep to the whole `spec`.
async fn extend(lab: &Lab, sweep: Uuid, spec: &SweepSpec) -> Result<u32> {
    let before = lab.store().sweep_request(sweep).await?;
    let extension = SweepExtension {
        sweep,
        revision: row(lab, sweep).await?.revision,
        spec,
        expansion: &expansion(spec),
        inputs: &inputs(),
        evaluations: before.spec.evaluations.len(),
        trace: None,
    };
    Ok(lab.store().sweep_extend(&TESTER, extension).await?)
}

#[tokio::test]
async fn paused_sweep_lets_nothing_be_leased_and_asks_for_what_runs() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..2)).await?.id;
    let worker = lab.worker("w").await?;
    let running = lab.claim(worker).await?;
    lab.store()
        .sweep_pause(&TESTER, sweep, None, "the disk is full")
        .await?;
    let paused = row(&lab, sweep).await?;
    assert_eq!(
        (paused.state, paused.pause_reason.as_str()),
        (SweepState::Paused, "the disk is full")
    );
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);
    let asked = [(running.lease.job, running.lease.fence)];
    let status = lab.store().lease_heartbeat(worker, &asked, LEASE).await?;
    assert_eq!(status, [LeaseStatus::Release]);
    lab.store().lease_release(&running.lease).await?;
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);

    lab.store().sweep_resume(&TESTER, sweep, None).await?;
    let again = lab.claim(worker).await?;
    assert_eq!((again.lease.job, again.lease.fence), (running.lease.job, 2));
    let asked = [(again.lease.job, again.lease.fence)];
    let status = lab.store().lease_heartbeat(worker, &asked, LEASE).await?;
    assert_eq!(status, [LeaseStatus::Continue]);
    assert_eq!(row(&lab, sweep).await?.state, SweepState::Running);
    Ok(())
}

#[tokio::test]
async fn jobs_of_a_paused_sweep_go_on_where_another_wants_them() -> Result<()> {
    let lab = Lab::new().await?;
    let first = lab.submit(&spec(0..2)).await?.id;
    let wanted = spec([1]);
    let second = Submission {
        owner: "bob",
        ..Submission::of(&wanted)
    };
    second.send(lab.store()).await?;
    lab.store().sweep_pause(&TESTER, first, None, "").await?;
    let worker = lab.worker("w").await?;
    assert_eq!(lab.finish_all(worker).await?.len(), 2);
    let paused = row(&lab, first).await?;
    assert_eq!((paused.jobs.succeeded, paused.jobs.queued), (2, 2));
    Ok(())
}

#[tokio::test]
async fn stale_update_is_refused_and_changes_nothing() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..1)).await?.id;
    let seen = row(&lab, sweep).await?.revision;
    let changes = SweepChanges {
        priority: Some(7),
        ..SweepChanges::default()
    };
    lab.store()
        .sweep_update(&TESTER, sweep, Some(seen), &changes)
        .await?;
    let later = SweepChanges {
        display_name: Some("mine".into()),
        ..SweepChanges::default()
    };
    let stale = lab
        .store()
        .sweep_update(&TESTER, sweep, Some(seen), &later)
        .await;
    assert!(refusal(stale, ErrorKind::Conflict).contains("etag"));
    let now = row(&lab, sweep).await?;
    assert_eq!((now.priority, now.display_name.as_str()), (7, "a sweep"));
    lab.store()
        .sweep_update(&TESTER, sweep, None, &later)
        .await?;
    assert_eq!(row(&lab, sweep).await?.display_name, "mine");
    Ok(())
}

#[tokio::test]
async fn raised_priority_takes_the_queue_over() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..1)).await?;
    let late = lab.submit(&spec(1..2)).await?.id;
    let changes = SweepChanges {
        priority: Some(1),
        ..SweepChanges::default()
    };
    lab.store()
        .sweep_update(&TESTER, late, None, &changes)
        .await?;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    assert!(
        lab.jobs(late)
            .await?
            .iter()
            .any(|job| job.id == claim.lease.job)
    );
    Ok(())
}

#[tokio::test]
async fn only_an_ended_sweep_is_deleted_and_its_results_stay() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..2)).await?.id;
    let running = lab.store().sweep_delete(&TESTER, sweep, None).await;
    assert!(refusal(running, ErrorKind::FailedPrecondition).contains("cancel it first"));
    let worker = lab.worker("w").await?;
    lab.finish_all(worker).await?;
    lab.store().sweep_delete(&TESTER, sweep, None).await?;
    refusal(lab.store().sweep_get(sweep).await, ErrorKind::NotFound);
    assert_eq!(
        lab.count("SELECT count(*) FROM temper.sweep_cell").await?,
        0
    );
    let again = lab.submit(&spec(0..2)).await?;
    assert_eq!(again.jobs_created, 0);
    assert_eq!(row(&lab, again.id).await?.state, SweepState::Succeeded);
    // A cancelled one may go at once.
    let cancelled = lab.submit(&spec(5..6)).await?.id;
    lab.store().sweep_cancel(&TESTER, cancelled).await?;
    lab.store().sweep_delete(&TESTER, cancelled, None).await?;
    Ok(())
}

#[tokio::test]
async fn extension_makes_jobs_of_new_cells_alone_and_keeps_the_places_of_the_others() -> Result<()>
{
    let lab = Lab::new().await?;
    let mut wanted = spec(0..2);
    let sweep = lab.submit(&wanted).await?.id;
    let worker = lab.worker("w").await?;
    lab.finish_all(worker).await?;
    let before = lab.jobs(sweep).await?;
    wanted.seeds.push(2);
    wanted.schedules.insert(0, Schedule::Linear);
    assert_eq!(extend(&lab, sweep, &wanted).await?, 8);
    let after = lab.jobs(sweep).await?;
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after.len(), 12);
    let now = row(&lab, sweep).await?;
    assert_eq!((now.cells, now.cells_succeeded), (6, 2));
    assert_eq!((now.state, now.jobs_created), (SweepState::Running, 12));
    assert_eq!(lab.finish_all(worker).await?.len(), 8);
    let now = row(&lab, sweep).await?;
    assert_eq!((now.state, now.cells_succeeded), (SweepState::Succeeded, 6));
    assert_eq!(lab.store().sweep_request(sweep).await?.spec, wanted);
    assert_eq!(extend(&lab, sweep, &wanted).await?, 0);
    Ok(())
}

#[tokio::test]
async fn new_evaluation_of_a_finished_sweep_trains_nothing() -> Result<()> {
    let lab = Lab::new().await?;
    let mut wanted = spec(0..2);
    let sweep = lab.submit(&wanted).await?.id;
    let worker = lab.worker("w").await?;
    lab.finish_all(worker).await?;
    wanted.evaluations.push(measurement(Some(epsilon(8))));
    assert_eq!(extend(&lab, sweep, &wanted).await?, 2);
    let jobs = lab.jobs(sweep).await?;
    let queued: Vec<_> = jobs
        .iter()
        .filter(|job| job.state == JobState::Queued)
        .collect();
    assert!(queued.len() == 2 && queued.iter().all(|job| job.epochs == 0));
    lab.finish_all(worker).await?;
    let curves = lab
        .store()
        .sweep_curves(sweep, &CurveFilter::default())
        .await?;
    let by_evaluation = |wanted| {
        curves
            .iter()
            .filter(|curve| curve.evaluation == wanted)
            .count()
    };
    assert_eq!((by_evaluation(0), by_evaluation(1)), (2, 2));
    assert!(curves.iter().all(|curve| curve.points.is_some()));
    Ok(())
}

#[tokio::test]
async fn extension_of_a_paused_sweep_waits_with_it() -> Result<()> {
    let lab = Lab::new().await?;
    let mut wanted = spec(0..1);
    let sweep = lab.submit(&wanted).await?.id;
    lab.store().sweep_pause(&TESTER, sweep, None, "").await?;
    wanted.seeds.push(1);
    extend(&lab, sweep, &wanted).await?;
    let worker = lab.worker("w").await?;
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);
    lab.store().sweep_resume(&TESTER, sweep, None).await?;
    assert_eq!(lab.finish_all(worker).await?.len(), 4);
    Ok(())
}

#[tokio::test]
async fn preview_tells_what_is_there_and_what_the_rest_may_take() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..2)).await?;
    let worker = lab.worker("w").await?;
    lab.finish_all(worker).await?;
    lab.submit(&spec(2..3)).await?;
    lab.execute("UPDATE temper.job_summary SET device_seconds = CASE kind WHEN 'train' THEN 100 ELSE 10 END")
        .await?;
    let mut wanted = spec(0..5);
    wanted.schedules.push(Schedule::Linear);
    let layout = expansion(&wanted).layout().clone();
    let preview = lab
        .store()
        .sweep_preview(&layout, &Sample::of(&layout))
        .await?;
    assert_eq!(
        (preview.looked_up, preview.shared, preview.succeeded),
        (20, 6, 4)
    );
    // Eight trainings and their evaluations are to be done, all alike to what was done.
    assert!((preview.device_seconds - 880.0).abs() < 1e-6, "{preview:?}");
    assert_eq!(preview.without_estimate, 0);
    wanted.training.epochs += 1;
    let layout = expansion(&wanted).layout().clone();
    let preview = lab
        .store()
        .sweep_preview(&layout, &Sample::of(&layout))
        .await?;
    assert_eq!((preview.shared, preview.without_estimate), (0, 20));
    Ok(())
}

#[tokio::test]
async fn filters_choose_sweeps_by_all_that_is_said() -> Result<()> {
    let lab = Lab::new().await?;
    let mut other = spec(0..1);
    other.models = vec!["resnet50".into()];
    let first = lab.submit(&spec(0..1)).await?.id;
    let second = Submission {
        owner: "bob",
        ..Submission::of(&other)
    };
    let second = second.send(lab.store()).await?.id;
    lab.store().sweep_pause(&TESTER, second, None, "").await?;
    let labels = SweepChanges {
        labels: Some([("group".to_owned(), "b".to_owned())].into()),
        ..SweepChanges::default()
    };
    lab.store()
        .sweep_update(&TESTER, second, None, &labels)
        .await?;
    let chosen = |change: &dyn Fn(&mut SweepFilter)| {
        let mut filter = SweepFilter::default();
        change(&mut filter);
        filter
    };
    let state = |state| chosen(&|filter| filter.state = Some(state));
    let label =
        |value: &str| chosen(&|filter| filter.labels = [("group".into(), value.into())].into());
    let cases = [
        (SweepFilter::default(), vec![second, first]),
        (
            chosen(&|filter| filter.owner = Some("bob".into())),
            vec![second],
        ),
        (state(SweepState::Running), vec![first]),
        (state(SweepState::Paused), vec![second]),
        (state(SweepState::Failed), vec![]),
        (
            chosen(&|filter| filter.model = Some("resnet50".into())),
            vec![second],
        ),
        (
            chosen(&|filter| filter.dataset = Some("fashion-mnist".into())),
            vec![second, first],
        ),
        (label("b"), vec![second]),
        (label("a"), vec![]),
    ];
    for (filter, expected) in cases {
        let page = lab.store().sweep_list(&filter, 10, None).await?;
        let found: Vec<_> = page.sweeps.iter().map(|sweep| sweep.id).collect();
        assert_eq!(found, expected, "{filter:?}");
        assert!(
            page.sweeps
                .iter()
                .all(|sweep| { filter.state.is_none_or(|state| sweep.state == state) })
        );
    }
    Ok(())
}

#[tokio::test]
async fn each_change_is_noted_under_its_own_method_and_what_changes_nothing_is_not() -> Result<()> {
    let lab = Lab::new().await?;
    let store = lab.store();
    let sweep = lab.submit(&spec(0..2)).await?.id;
    let claim = lab.claim(lab.worker("w").await?).await?;
    store
        .attempt_fail(&claim.lease, failure(FailureClass::BadInput, "torn"))
        .await?;
    let changes = SweepChanges {
        priority: Some(7),
        ..SweepChanges::default()
    };
    for _ in 0..2 {
        // Only the first finds something to be tried again.
        store
            .jobs_retry(&TESTER, sweep, &JobFilter::default())
            .await?;
    }
    store.sweep_update(&TESTER, sweep, None, &changes).await?;
    store.sweep_pause(&TESTER, sweep, None, "full").await?;
    for _ in 0..2 {
        store.sweep_resume(&TESTER, sweep, None).await?;
        store.job_cancel(&TESTER, claim.lease.job).await?;
    }
    extend(&lab, sweep, &spec(0..3)).await?;
    store.sweep_cancel(&TESTER, sweep).await?;
    store.sweep_delete(&TESTER, sweep, None).await?;

    let query = AuditQuery {
        sweep: None,
        actor: Some(TESTER.name),
        before: None,
        limit: 20,
    };
    let mut entries = store.audit_list(query).await?.entries;
    entries.reverse();
    let told = entries.iter().map(|entry| {
        let method = entry.method.rsplit('/').next().unwrap_or_default();
        (method, entry.sweep == Some(sweep), entry.detail.clone())
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("CreateToken", false, entries[0].detail.clone()),
            (
                "CreateSweep",
                true,
                json!({ "owner": "ann", "jobs_created": 4 })
            ),
            ("RetryJobs", true, json!({ "jobs": 1, "revived": 1 })),
            ("UpdateSweep", true, json!({ "priority": 7 })),
            ("PauseSweep", true, json!({ "reason": "full" })),
            ("ResumeSweep", true, json!({})),
            ("CancelJob", false, json!({})),
            ("ExtendSweep", true, json!({ "jobs_created": 2 })),
            ("CancelSweep", true, json!({})),
            ("DeleteSweep", true, json!({ "display_name": "a sweep" })),
        ]
    );
    assert_eq!(entries[6].job, Some(claim.lease.job));
    Ok(())
}
