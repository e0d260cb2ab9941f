//! Every method under every role, over the wire; tokens by `AdminService`; the audit log.

use anyhow::{Context as _, ensure};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use temper_core::access::Role::{self, Admin, Submitter, Viewer, Worker};
use temper_proto::v1::{
    self, admin_service_client::AdminServiceClient, sweep_service_client::SweepServiceClient,
};
use temper_service::client::Channel;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::house::{Hand, House};

/// The services of a coordinator.
const SERVED: [&str; 5] = [
    "temper.v1.SweepService",
    "temper.v1.JobService",
    "temper.v1.WorkerService",
    "temper.v1.AdminService",
    "externalscaler.ExternalScaler",
];

struct Method {
    path: String,
    streams: bool,
}

/// Every method of what a coordinator serves, by the descriptors.
fn methods() -> anyhow::Result<Vec<Method>> {
    let set = FileDescriptorSet::decode(temper_proto::DESCRIPTORS)?;
    let mut found = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            if !SERVED.contains(&name.as_str()) {
                continue;
            }
            found.extend(service.method.iter().map(|method| Method {
                path: format!("/{name}/{}", method.name()),
                streams: method.server_streaming(),
            }));
        }
    }
    Ok(found)
}

/// What an empty request to a method is answered.
async fn call(channel: &Channel, method: &Method) -> anyhow::Result<Code> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    let (path, codec) = (
        PathAndQuery::try_from(&method.path)?,
        ProstCodec::<(), ()>::default(),
    );
    let answer = if method.streams {
        let answer = client.server_streaming(Request::new(()), path, codec).await;
        answer.map(drop)
    } else {
        client.unary(Request::new(()), path, codec).await.map(drop)
    };
    Ok(answer.map_or_else(|status| status.code(), |()| Code::Ok))
}

/// Whether a role may call a method, told by the method's name instead of by the table.
fn may(role: Role, path: &str) -> bool {
    let reads = ["Get", "List", "Watch", "Explain"];
    let (service, method) = path.rsplit_once('/').unwrap_or_default();
    match service {
        "/temper.v1.WorkerService" => role == Worker,
        "/temper.v1.AdminService" => role == Admin,
        "/externalscaler.ExternalScaler" => true,
        _ if reads.iter().any(|verb| method.starts_with(verb)) => role != Worker,
        _ => [Submitter, Admin].contains(&role),
    }
}

#[tokio::test]
async fn every_method_answers_its_roles_and_refuses_all_others() -> anyhow::Result<()> {
    let house = House::open().await?;
    let methods = methods()?;
    ensure!(methods.len() >= 20);
    let stranger = house.stranger().await?;
    for method in &methods {
        let code = call(&stranger, method).await?;
        ensure!(code == Code::Unauthenticated, "{}: {code:?}", method.path);
    }
    for role in [Viewer, Submitter, Worker, Admin] {
        let channel = house.channel_of(role, "caller").await?;
        for method in &methods {
            let code = call(&channel, method).await?;
            let said = format!("{role}, {}: {code:?}", method.path);
            if may(role, &method.path) {
                let refusals = [Code::Unauthenticated, Code::PermissionDenied];
                ensure!(!refusals.contains(&code), "{said}");
                ensure!(code != Code::Unimplemented, "{said}");
            } else {
                ensure!(code == Code::PermissionDenied, "{said}");
            }
        }
    }
    house.close().await
}

#[tokio::test]
async fn worker_cannot_write_under_a_lease_that_another_token_holds() -> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    let lease = job.lease.clone().context("a lease")?;
    // It says that it is the worker, with all that the worker knows.
    let mut thief = Hand {
        incarnation: worker.incarnation.clone(),
        ..Hand::register(&house, "thief").await?
    };
    let refused = thief.report(&lease, &[0]).await.err();
    let refused = refused.context("accepted")?;
    ensure!(refused.code() == Code::Aborted, "{refused:?}");
    let refused = thief.complete(&job, b"model").await.err();
    ensure!(refused.context("accepted")?.code() == Code::Aborted);
    let fail = v1::FailRequest {
        lease: job.lease.clone(),
        failure_class: v1::FailureClass::Code.into(),
        ..v1::FailRequest::default()
    };
    let refused = thief.client.fail(fail).await.err();
    ensure!(refused.context("accepted")?.code() == Code::Aborted);
    let release = v1::ReleaseRequest {
        lease: job.lease.clone(),
    };
    let refused = thief.client.release(release).await.err();
    ensure!(refused.context("accepted")?.code() == Code::Aborted);
    ensure!(thief.checkpoint(&job, 1).await.is_err());
    // To others than its own token the worker is unknown, so that nobody keeps its lease for it.
    ensure!(thief.heartbeat(&lease).await.is_err());
    ensure!(thief.lease().await.is_err());

    ensure!(worker.heartbeat(&lease).await? == v1::LeaseStatus::Continue);
    worker.report(&lease, &[0, 1]).await?;
    worker.complete(&job, b"model").await?;
    house.close().await
}

#[tokio::test]
async fn admin_makes_lists_and_revokes_tokens() -> anyhow::Result<()> {
    let house = House::open().await?;
    let mut admin = AdminServiceClient::new(house.channel_of(Admin, "root").await?);
    let wanted = v1::CreateTokenRequest {
        display_name: "bob".to_owned(),
        role: v1::Role::Submitter.into(),
        owner: "vision".to_owned(),
        lifetime: Some(prost_types::Duration {
            seconds: 3600,
            nanos: 0,
        }),
    };
    let made = admin.create_token(wanted).await?.into_inner();
    ensure!(!format!("{made:?}").contains(&made.secret[7..]));
    let token = made.token.context("no token")?;
    ensure!(token.created_by == "root" && token.expire_time.is_some());
    let bob = house.channel_with(made.secret.parse()?).await?;
    let mut sweeps = SweepServiceClient::new(bob);
    sweeps.list_sweeps(v1::ListSweepsRequest::default()).await?;

    let listed = admin.list_tokens(v1::ListTokensRequest::default()).await?;
    let listed = listed.into_inner().tokens;
    let names: Vec<_> = listed.iter().map(|token| &token.display_name).collect();
    ensure!(names == ["bob", "root", "ann"], "{names:?}");
    ensure!(listed[0].last_use_time.is_some(), "{listed:?}");
    let name = token.name.clone();
    let revoked = admin.revoke_token(v1::RevokeTokenRequest { name }).await?;
    ensure!(revoked.into_inner().revoke_time.is_some());
    // Another coordinator knows at once; this one trusts it for some seconds more.
    let mut code = Code::Ok;
    for _ in 0..200 {
        let answer = sweeps.list_sweeps(v1::ListSweepsRequest::default()).await;
        code = answer.err().map_or(Code::Ok, |status| status.code());
        if code != Code::Ok {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    ensure!(code == Code::Unauthenticated, "{code:?}");
    house.close().await
}

#[tokio::test]
async fn token_that_makes_no_sense_is_refused_with_every_mistake() -> anyhow::Result<()> {
    let house = House::open().await?;
    let mut admin = AdminServiceClient::new(house.channel_of(Admin, "root").await?);
    let wanted = v1::CreateTokenRequest {
        display_name: "two\nlines".to_owned(),
        role: 99,
        owner: "x".repeat(101),
        lifetime: Some(prost_types::Duration::default()),
    };
    let refused = admin.create_token(wanted).await.err().context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    for field in ["display_name", "role", "owner", "lifetime"] {
        ensure!(refused.message().contains(field), "{field}: {refused:?}");
    }
    house.close().await
}

#[tokio::test]
async fn audit_says_who_did_what_to_which_sweep() -> anyhow::Result<()> {
    let house = House::open().await?;
    let sweep = house.submit("").await?.name;
    house.submit("").await?;
    let mut bob = SweepServiceClient::new(house.channel_of(Submitter, "bob").await?);
    let cancel = v1::CancelSweepRequest {
        name: sweep.clone(),
    };
    bob.cancel_sweep(cancel).await?;
    let mut admin = AdminServiceClient::new(house.channel_of(Admin, "root").await?);
    let mut list = async |sweep: &str, actor: &str| {
        let request = v1::ListAuditRequest {
            sweep: sweep.to_owned(),
            actor: actor.to_owned(),
            ..v1::ListAuditRequest::default()
        };
        let entries = admin.list_audit(request).await?.into_inner().entries;
        let told = entries.into_iter().map(|entry| {
            ensure!(entry.time.is_some() && entry.token.starts_with("tokens/"));
            Ok((entry.actor, entry.method, entry.sweep))
        });
        told.collect::<anyhow::Result<Vec<_>>>()
    };
    let entry = |actor: &str, method: &str| {
        let method = format!("SweepService/{method}");
        (actor.to_owned(), method, sweep.clone())
    };
    let expected = [entry("bob", "CancelSweep"), entry("ann", "CreateSweep")];
    ensure!(list(&sweep, "").await? == expected);
    ensure!(list(&sweep, "bob").await? == expected[..1]);
    ensure!(list("", "ann").await?.len() == 2);
    house.close().await
}
