use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
use temper_core::{ErrorKind, job::JobState, schedule::Schedule};
use temper_store::{JobsQuery, SweepFilter, SweepState};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::lab::{Lab, Submission, epsilon, expansion, inputs, refusal, spec};

#[tokio::test]
async fn stored_sweep_reads_back_as_it_was_submitted() -> Result<()> {
    let lab = Lab::new().await?;
    let mut wanted = spec([1, (1 << 53) - 1]);
    wanted.schedules = vec![
        Schedule::Standard,
        Schedule::two_hinge_default(),
        Schedule::Linear,
    ];
    wanted.target_epsilons = vec![epsilon(4), epsilon(8)];
    wanted.hyperparameters[0].learning_rate = 0.1 + 0.2;
    let created = lab.submit(&wanted).await?;
    let request = lab.store().sweep_request(created.id).await?;
    assert_eq!((request.spec, request.inputs), (wanted.clone(), inputs()));
    let expansion = expansion(&wanted);
    let row = lab.store().sweep_get(created.id).await?;
    assert_eq!(
        (row.owner.as_str(), row.display_name.as_str()),
        ("ann", "a sweep")
    );
    assert_eq!(
        row.labels,
        BTreeMap::from([("paper".to_owned(), "iclr".to_owned())])
    );
    assert_eq!(
        (row.cells as usize, row.cells_succeeded),
        (expansion.layout().cells().len(), 0)
    );
    assert_eq!(row.jobs.queued as usize, expansion.jobs().len());
    assert_eq!(
        (row.jobs_created, row.state),
        (created.jobs_created, SweepState::Running)
    );
    let jobs = lab.jobs(created.id).await?;
    let keys: Vec<_> = jobs.iter().map(|job| job.key).collect();
    assert_eq!(
        keys,
        expansion.jobs().map(|(key, _)| key).collect::<Vec<_>>()
    );
    assert_eq!(
        jobs[0].title,
        "mobilenetv2 on fashion-mnist, standard, seed 1"
    );
    let hinged = jobs
        .iter()
        .find(|job| job.title.contains("two-hinge") && job.epochs == 0);
    let title = "mobilenetv2 on fashion-mnist, two-hinge to 4/255, seed 1: pgd-10 up to 4/255";
    assert_eq!(hinged.map(|job| job.title.as_str()), Some(title));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_request_makes_one_sweep_and_a_reused_id_is_refused() -> Result<()> {
    let lab = Arc::new(Lab::new().await?);
    let request_id = Some(Uuid::new_v4());
    let mut requests = JoinSet::new();
    for _ in 0..6 {
        let lab = Arc::clone(&lab);
        requests.spawn(async move {
            let spec = spec(0..10);
            Submission {
                request_id,
                ..Submission::of(&spec)
            }
            .send(lab.store())
            .await
        });
    }
    let answers = requests
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    assert_eq!(answers.iter().filter(|answer| !answer.existed).count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.id == answers[0].id && answer.jobs_created == 20)
    );
    assert_eq!(
        lab.store()
            .sweep_list(&SweepFilter::default(), 10, None)
            .await?
            .sweeps
            .len(),
        1
    );
    let other = spec([99]);
    let reused = Submission {
        request_id,
        ..Submission::of(&other)
    }
    .send(lab.store())
    .await;
    refusal(reused, ErrorKind::AlreadyExists);
    assert_eq!(lab.count("SELECT count(*) FROM temper.job").await?, 20);
    Ok(())
}

#[tokio::test]
async fn pages_of_sweeps_and_jobs_tell_every_row_once() -> Result<()> {
    let lab = Lab::new().await?;
    let mut newest_first = Vec::new();
    for seed in 0..5 {
        newest_first.insert(0, lab.submit(&spec([seed])).await?.id);
    }
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = lab
            .store()
            .sweep_list(&SweepFilter::default(), 2, after)
            .await?;
        listed.extend(page.sweeps.iter().map(|sweep| sweep.id));
        // A sweep submitted meanwhile belongs to no later page.
        lab.submit(&spec([100 + listed.len() as u64])).await?;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, newest_first);

    let sweep = lab.submit(&spec(0..5)).await?.id;
    let worker = lab.worker("w").await?;
    let leased = lab.claim(worker).await?.lease.job;
    let (mut listed, mut query) = (
        Vec::new(),
        JobsQuery {
            sweep,
            state: None,
            after: None,
            limit: 3,
        },
    );
    loop {
        let page = lab.store().job_list(query).await?;
        assert!(page.jobs.len() <= 3);
        listed.extend(page.jobs);
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(listed, lab.jobs(sweep).await?);
    assert_eq!(listed.len(), 10);
    let query = JobsQuery {
        sweep,
        state: Some(JobState::Leased),
        after: None,
        limit: 3,
    };
    let page = lab.store().job_list(query).await?;
    assert_eq!(
        page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(),
        [leased]
    );
    assert_eq!(page.next, None);
    Ok(())
}
