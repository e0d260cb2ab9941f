//! The table of methods against the protocol itself.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use temper_core::access::Role::{self, Admin, Submitter, Viewer, Worker};
use temper_service::access::{Audience, Shape, audience, method};

/// Every method of a set of descriptors, as paths.
fn methods(descriptors: &[u8]) -> Vec<String> {
    let methods = streaming(descriptors).into_iter();
    methods.map(|(path, _)| path).collect()
}

/// The same, with whether it answers more than once.
fn streaming(descriptors: &[u8]) -> Vec<(String, bool)> {
    let set = FileDescriptorSet::decode(descriptors).unwrap();
    let mut paths = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let (package, service) = (file.package(), service.name());
                let path = format!("/{package}.{service}/{}", method.name());
                paths.push((path, method.server_streaming()));
            }
        }
    }
    paths
}

/// Whether a role may call a method, told by the method's name instead of by the table.
fn may(role: Role, path: &str) -> bool {
    let (service, method) = path[1..].split_once('/').unwrap();
    let reads = ["Get", "List", "Watch", "Explain"];
    match service {
        "temper.v1.WorkerService" => role == Worker,
        "temper.v1.AdminService" => role == Admin,
        "externalscaler.ExternalScaler" => true,
        // It only reads.
        "temper.v1.ResultsService" => [Viewer, Submitter, Admin].contains(&role),
        _ if reads.iter().any(|verb| method.starts_with(verb)) => {
            [Viewer, Submitter, Admin].contains(&role)
        }
        _ => [Submitter, Admin].contains(&role),
    }
}

#[test]
fn every_method_of_every_service_is_open_to_its_roles_alone() {
    let paths = methods(temper_proto::DESCRIPTORS);
    assert!(paths.len() >= 22, "{paths:?}");
    let mut wrong = BTreeMap::new();
    for path in &paths {
        let Some(Audience::Roles(roles) | Audience::Carried(roles)) = audience(path) else {
            wrong.insert(path.clone(), "is not in the table of methods".to_owned());
            continue;
        };
        for role in Role::ALL {
            if roles.contains(&role) != may(role, path) {
                wrong.insert(path.clone(), format!("{role}: {}", roles.contains(&role)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn messages_carry_tokens_to_the_scaler_alone() {
    for path in methods(temper_proto::DESCRIPTORS) {
        let carries = matches!(audience(&path), Some(Audience::Carried(_)));
        assert_eq!(carries, path.starts_with("/externalscaler."), "{path}");
    }
}

#[test]
fn only_health_and_reflection_are_everybodys() {
    for descriptors in [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ] {
        for path in methods(descriptors) {
            assert_eq!(audience(&path), Some(Audience::Everybody), "{path}");
        }
    }
}

#[test]
fn methods_that_answer_more_than_once_are_told_apart() {
    for descriptors in [
        temper_proto::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ] {
        for (path, streams) in streaming(descriptors) {
            let shape = method(&path).unwrap().shape;
            assert_eq!(shape == Shape::Stream, streams, "{path}: {shape:?}");
        }
    }
}

#[test]
fn what_the_table_does_not_name_is_nobodys() {
    for path in [
        "",
        "/",
        "/temper.v1.SweepService",
        "/temper.v1.SweepService/",
        "/temper.v1.SweepService/createsweep",
        "/temper.v1.SweepService/CreateSweep/",
        "//temper.v1.SweepService/GetSweep",
        "/temper.v2.SweepService/GetSweep",
    ] {
        assert_eq!(audience(path), None, "{path}");
    }
}
