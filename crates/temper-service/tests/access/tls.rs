//! TLS from files.

use std::{fs, path::PathBuf, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use temper_core::access::Role;
use temper_proto::v1::{GetCurveRequest, results_service_client::ResultsServiceClient};
use temper_service::{
    access::Secret,
    client::{Access, ConnectError, Credentials, connect},
    health::{self, HealthError},
    server::{ServeError, Server},
    status,
    stop::Stop,
    tls::{ClientTls, ServerTls},
};
use tempfile::TempDir;
use tonic::Status;

use crate::lab::{Book, Lab, standing};

/// Longer than any of these servers takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// Certificates in a folder.
struct Files {
    folder: TempDir,
}

impl Files {
    /// An authority, and certificates of it for a server on the loopback and for a client.
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = Self { folder };
        files.write("ca.pem", &authority.pem());
        for (name, host) in [("server", "127.0.0.1"), ("client", "worker")] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([host.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            files.write(&format!("{name}.pem"), &certificate.pem());
            files.write(&format!("{name}.key"), &key.serialize_pem());
        }
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self, mutual: bool) -> ServerTls {
        ServerTls {
            tls_cert: Some(self.path("server.pem")),
            tls_key: Some(self.path("server.key")),
            tls_client_ca: mutual.then(|| self.path("ca.pem")),
        }
    }

    async fn lab(&self, mutual: bool) -> Lab {
        Lab::open(self.server(mutual).load().unwrap()).await
    }

    fn client(&self, certified: bool) -> ClientTls {
        let own = |name| certified.then(|| self.path(name));
        ClientTls {
            tls_ca: Some(self.path("ca.pem")),
            tls_client_cert: own("client.pem"),
            tls_client_key: own("client.key"),
        }
    }
}

/// Calls at `url`; the error is as a command would show it.
async fn call(url: &str, tls: ClientTls, token: &Secret) -> Result<String, String> {
    let access = Access {
        token_file: None,
        tls,
    };
    let credentials = access.load().unwrap().with_token(token.clone());
    let channel = connect(url, &credentials).await;
    let channel = channel.map_err(|error| status::chain(&error))?;
    let mut results = ResultsServiceClient::new(channel);
    let answer = results.get_curve(GetCurveRequest::default()).await;
    let explained = |status: Status| status::explain(&status);
    answer
        .map(|answer| answer.into_inner().job)
        .map_err(explained)
}

fn https(lab: &Lab) -> String {
    format!("https://{}", lab.address)
}

#[tokio::test]
async fn calls_over_tls_are_answered_to_who_trusts_the_servers_authority() {
    let (files, strangers) = (Files::make(), Files::make());
    let lab = files.lab(false).await;
    let token = lab.book.add(standing(Role::Viewer));
    let told = call(&https(&lab), files.client(false), &token).await;
    assert_eq!(told.as_deref(), Ok("the viewer"));
    let refused = call(&https(&lab), strangers.client(false), &token).await;
    let refused = refused.unwrap_err();
    assert!(refused.contains("--tls-ca"), "{refused}");
}

#[tokio::test]
async fn health_is_asked_over_tls_by_the_name_that_the_certificate_bears() {
    let files = Files::make();
    let lab = files.lab(true).await;
    let by_another_name = format!("https://localhost:{}", lab.address.port());
    let credentials = Credentials::of_nobody(&files.client(true)).unwrap();
    let told = health::check(&by_another_name, &credentials, "", PATIENCE).await;
    let untrusted = matches!(
        told,
        Err(HealthError::Connect(ConnectError::Untrusted { .. }))
    );
    assert!(untrusted, "{told:?}");
    let named = credentials.with_server_name("127.0.0.1");
    health::check(&by_another_name, &named, "", PATIENCE)
        .await
        .unwrap();
}

#[tokio::test]
async fn tls_replaces_no_token() {
    let files = Files::make();
    let lab = files.lab(true).await;
    let unknown = Secret::generate().unwrap();
    let refused = call(&https(&lab), files.client(true), &unknown).await;
    let refused = refused.unwrap_err();
    assert!(refused.contains("Unauthenticated"), "{refused}");
}

#[tokio::test]
async fn client_without_a_certificate_is_refused_under_mutual_tls() {
    let (files, strangers) = (Files::make(), Files::make());
    let lab = files.lab(true).await;
    let token = lab.book.add(standing(Role::Viewer));
    let told = call(&https(&lab), files.client(true), &token).await;
    assert_eq!(told.as_deref(), Ok("the viewer"));
    let none = call(&https(&lab), files.client(false), &token).await;
    let none = none.unwrap_err();
    assert!(none.to_lowercase().contains("certificate"), "{none}");
    // One of another authority is as good as none.
    let foreign = ClientTls {
        tls_ca: Some(files.path("ca.pem")),
        ..strangers.client(true)
    };
    call(&https(&lab), foreign, &token).await.unwrap_err();
}

#[tokio::test]
async fn plaintext_to_a_server_of_tls_and_the_reverse_say_so() {
    let files = Files::make();
    let lab = files.lab(false).await;
    let token = lab.book.add(standing(Role::Viewer));
    let plaintext = call(&lab.url(), ClientTls::default(), &token).await;
    let plaintext = plaintext.unwrap_err();
    assert!(plaintext.contains("use https"), "{plaintext}");

    let open = Lab::open(None).await;
    let error = call(&https(&open), files.client(false), &token).await;
    let error = error.unwrap_err();
    assert!(error.contains("no TLS with https://127.0.0.1"), "{error}");
}

#[tokio::test]
async fn files_that_are_no_certificates_are_named() {
    let files = Files::make();
    files.write("text.pem", "nothing");
    let broken = ServerTls {
        tls_cert: Some(files.path("text.pem")),
        ..files.server(false)
    };
    let error = broken.load().unwrap_err().to_string();
    assert!(
        error.contains("text.pem") && error.contains("certificate"),
        "{error}"
    );
    let absent = ServerTls {
        tls_key: Some(files.path("absent.key")),
        ..files.server(false)
    };
    let error = absent.load().unwrap_err().to_string();
    assert!(
        error.contains("private key") && error.contains("absent.key"),
        "{error}"
    );
    // Of another certificate: only rustls can tell.
    let swapped = ServerTls {
        tls_key: Some(files.path("client.key")),
        ..files.server(false)
    };
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = server.secured(swapped.load().unwrap());
    let book = std::sync::Arc::new(Book::default());
    let outcome = server.serve(book, Stop::new()).await;
    assert!(matches!(outcome, Err(ServeError::Tls(_))), "{outcome:?}");
    let client = ClientTls {
        tls_client_key: Some(files.path("text.pem")),
        ..files.client(true)
    };
    assert!(client.load().is_err());
}

#[tokio::test]
async fn system_roots_are_believed_where_no_authority_is_named() {
    let files = Files::make();
    let lab = files.lab(false).await;
    let credentials = Access::default().load().unwrap();
    let refused = connect(&https(&lab), &credentials).await.err();
    // A machine without any roots is told to name an authority.
    assert!(
        matches!(
            refused,
            Some(ConnectError::Untrusted { .. } | ConnectError::Tls(_))
        ),
        "{refused:?}"
    );
}
