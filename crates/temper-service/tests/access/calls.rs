//! Calls with good tokens, bad ones and none.

use std::sync::atomic::Ordering;

use temper_core::access::{Role, Standing};
use temper_proto::v1::{
    self, GetCurveRequest, results_service_client::ResultsServiceClient,
    worker_service_client::WorkerServiceClient,
};
use temper_service::{
    access::{Secret, TRUSTED_FOR},
    client::{Channel, Credentials, connect},
    status,
};
use tonic::{Code, Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::lab::{Lab, credentials, standing};

async fn channel(lab: &Lab, credentials: &Credentials) -> Channel {
    connect(&lab.url(), credentials).await.unwrap()
}

async fn name(lab: &Lab, credentials: &Credentials) -> Result<String, Status> {
    let mut results = ResultsServiceClient::new(channel(lab, credentials).await);
    let curve = results.get_curve(GetCurveRequest::default()).await?;
    Ok(curve.into_inner().job)
}

#[tokio::test]
async fn service_learns_who_calls() {
    let lab = Lab::open(None).await;
    let secret = lab.book.add(standing(Role::Viewer));
    let told = name(&lab, &credentials(&secret)).await.unwrap();
    assert_eq!(told, "the viewer");
}

#[tokio::test]
async fn caller_without_a_good_token_is_told_what_to_do() {
    let lab = Lab::open(None).await;
    let cases = [
        (Credentials::default(), "TEMPER_TOKEN_FILE"),
        (credentials(&Secret::generate().unwrap()), "is not known"),
        (credentials(&lab.book.add(Standing::Revoked)), "was revoked"),
        (credentials(&lab.book.add(Standing::Expired)), "has expired"),
    ];
    for (credentials, said) in cases {
        let refused = name(&lab, &credentials).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
        assert!(refused.message().contains(said), "{refused:?}");
    }
}

#[tokio::test]
async fn what_is_no_bearer_token_is_refused_without_asking_anybody() {
    let lab = Lab::open(None).await;
    let channel = channel(&lab, &Credentials::default()).await;
    for value in ["Bearer", "Bearer hunter2", "Basic aHVudGVyMg==", "temper_"] {
        let mut request = Request::new(GetCurveRequest::default());
        request
            .metadata_mut()
            .insert("authorization", value.parse().unwrap());
        let mut results = ResultsServiceClient::new(channel.clone());
        let refused = results.get_curve(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{value}");
        assert!(!refused.message().contains("hunter2"), "{refused:?}");
    }
    assert_eq!(lab.book.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn role_that_is_needed_is_named() {
    let lab = Lab::open(None).await;
    let secret = lab.book.add(standing(Role::Worker));
    let refused = name(&lab, &credentials(&secret)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let said = refused.message();
    assert!(said.contains("viewer, submitter or admin"), "{said}");
    assert!(said.contains("`the worker` has the role worker"), "{said}");
}

#[tokio::test]
async fn what_is_not_served_is_refused_to_strangers_and_unimplemented_to_others() {
    let lab = Lab::open(None).await;
    let call = async |credentials: &Credentials| {
        let mut workers = WorkerServiceClient::new(channel(&lab, credentials).await);
        let answer = workers.release(v1::ReleaseRequest::default()).await;
        answer.unwrap_err().code()
    };
    assert_eq!(call(&Credentials::default()).await, Code::Unauthenticated);
    let worker = lab.book.add(standing(Role::Worker));
    assert_eq!(call(&credentials(&worker)).await, Code::Unimplemented);
}

#[tokio::test]
async fn health_is_told_to_everybody() {
    let lab = Lab::open(None).await;
    let mut health = HealthClient::new(channel(&lab, &Credentials::default()).await);
    health.check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn token_is_asked_for_once_in_a_while_and_its_end_is_noticed() {
    let lab = Lab::open(None).await;
    let secret = lab.book.add(standing(Role::Viewer));
    let credentials = credentials(&secret);
    for _ in 0..20 {
        name(&lab, &credentials).await.unwrap();
    }
    assert_eq!(lab.book.asked.load(Ordering::Relaxed), 1);
    lab.book.set(&secret, Standing::Revoked);
    let mut waited = TRUSTED_FOR.mul_f32(1.5).as_millis() / 50;
    while name(&lab, &credentials).await.is_ok() {
        waited = waited.checked_sub(1).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn database_that_is_away_is_no_refusal() {
    let lab = Lab::open(None).await;
    let secret = lab.book.add(standing(Role::Viewer));
    *lab.book.away.lock().unwrap() = true;
    let failed = name(&lab, &credentials(&secret)).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable, "{failed:?}");
    assert!(status::explain(&failed).contains("database"), "{failed:?}");
}
