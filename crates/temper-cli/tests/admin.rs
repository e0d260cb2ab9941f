//! The first token, made at the database.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

use serde_json::{Value, json};
use temper_core::access::{Role, Standing};
use temper_service::access::Secret;
use temper_store::{AuditQuery, testing::Database};

fn bootstrap(database: &Database, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_temper"))
        .args(["admin", "bootstrap"])
        .args(arguments)
        .env("TEMPER_DATABASE_URL", database.url())
        .output()
        .unwrap()
}

async fn standing(database: &Database, secret: &str) -> Standing {
    let secret: Secret = secret.trim().parse().unwrap();
    let store = database.store();
    store.token_standing(&secret.digest()).await.unwrap()
}

#[tokio::test]
async fn first_token_is_made_at_the_database_shown_once_and_noted() {
    let database = Database::new().await.unwrap();
    let output = bootstrap(&database, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let secret = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains(secret.trim()), "{said}");
    let Standing::Good(admin) = standing(&database, &secret).await else {
        panic!("it is not good")
    };
    assert_eq!((admin.name.as_str(), admin.role), ("admin", Role::Admin));
    let query = AuditQuery {
        sweep: None,
        actor: Some("temper admin bootstrap"),
        before: None,
        limit: 10,
    };
    let noted = database.store().audit_list(query).await.unwrap();
    assert_eq!(noted.entries.len(), 1);
}

#[tokio::test]
async fn json_tells_of_the_token_and_holds_the_secret_that_is_in_no_file() {
    let database = Database::new().await.unwrap();
    let told = |arguments: &[&str]| {
        let output = bootstrap(&database, arguments);
        assert!(output.status.success());
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let shown = told(&["--json", "--expires-in", "1h"]);
    let secret = shown["secret"].as_str().unwrap();
    let standing = standing(&database, secret).await;
    assert!(matches!(standing, Standing::Good(_)), "{standing:?}");
    assert_eq!(shown["token"]["role"], "ROLE_ADMIN");
    assert!(shown["token"]["expireTime"].is_string(), "{shown}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token").display().to_string();
    let wanted = ["--json", "--unless-exists", "--output", &file];
    let made = told(&wanted);
    assert!(made["token"]["name"].is_string() && made["secret"].is_null());
    assert_eq!(told(&wanted), json!({ "path": file, "made": false }));
}

#[tokio::test]
async fn token_goes_into_a_new_file_alone() {
    let database = Database::new().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worker.token");
    let file = path.display().to_string();
    let wanted = ["--role", "worker", "--name", "lab", "--output", &file];
    let output = bootstrap(&database, &wanted);
    assert!(output.status.success() && output.stdout.is_empty());
    let secret = std::fs::read_to_string(&path).unwrap();
    let Standing::Good(worker) = standing(&database, &secret).await else {
        panic!("it is not good")
    };
    assert_eq!(worker.role, Role::Worker);
    // A second time nothing is made that nobody could use.
    assert!(!bootstrap(&database, &wanted).status.success());
    let tokens = database.store().token_list(10, None).await.unwrap().tokens;
    assert_eq!(tokens.len(), 1);
}

#[tokio::test]
async fn token_that_is_there_is_kept_while_it_is_good() {
    let database = Database::new().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worker.token");
    let file = path.display().to_string();
    let wanted = |role| ["--unless-exists", "--role", role, "--output", &file];
    for _ in 0..2 {
        let output = bootstrap(&database, &wanted("worker"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
    }
    let tokens = database.store().token_list(10, None).await.unwrap().tokens;
    assert_eq!(tokens.len(), 1);
    let refused = |role| {
        let output = bootstrap(&database, &wanted(role));
        assert!(!output.status.success(), "{role}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused("viewer");
    assert!(said.contains("has the role worker"), "{said}");
    let stranger = Secret::generate().unwrap();
    std::fs::write(&path, stranger.reveal()).unwrap();
    let said = refused("worker");
    assert!(said.contains("not of this database"), "{said}");
}
