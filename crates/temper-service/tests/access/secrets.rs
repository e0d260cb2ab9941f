//! No secret in a log, whatever the level, or in an error.

use std::{
    io,
    sync::{Arc, Mutex},
};

use temper_core::access::{Role, Standing};
use temper_proto::v1::{GetCurveRequest, results_service_client::ResultsServiceClient};
use temper_service::{
    access::Secret,
    client::{Access, connect},
    status,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::lab::{Lab, credentials, standing};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

// On one thread, so that all of it logs here.
#[tokio::test]
async fn no_log_line_holds_a_secret_at_any_level() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let lab = Lab::open(None).await;
    let (good, bad) = (
        lab.book.add(standing(Role::Viewer)),
        lab.book.add(Standing::Revoked),
    );
    let mut said = Vec::new();
    for secret in [&good, &bad] {
        let credentials = credentials(secret);
        said.push(format!("{credentials:?}"));
        let channel = connect(&lab.url(), &credentials).await.unwrap();
        said.push(format!("{channel:?}"));
        let mut results = ResultsServiceClient::new(channel);
        if let Err(refused) = results.get_curve(GetCurveRequest::default()).await {
            said.push(format!("{refused:?} {}", status::explain(&refused)));
        }
    }
    let said = said.concat();
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("GetCurve"), "the log is on: {log}");
    for secret in [&good, &bad] {
        let digits = &secret.reveal()["temper_".len()..];
        assert!(!log.contains(digits), "{log}");
        assert!(!said.contains(digits), "{said}");
    }
}

#[test]
fn file_without_a_token_is_named_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let access = Access {
        token_file: Some(path.clone()),
        ..Access::default()
    };
    let error = access.load().unwrap_err().to_string();
    assert!(error.contains("token"), "{error}");
    std::fs::write(&path, "almost-a-secret").unwrap();
    let error = access.load().unwrap_err();
    let error = status::chain(&error);
    let named = error.contains(&path.display().to_string());
    assert!(named && !error.contains("almost"), "{error}");
    let secret = Secret::generate().unwrap();
    std::fs::write(&path, format!("{}\n", secret.reveal())).unwrap();
    assert!(access.load().unwrap().has_token());
}
