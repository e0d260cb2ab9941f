//! Migrating, and the roles that only read.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

use serde_json::{Value, json};
use temper_store::{
    READER,
    testing::{Database, tables::role_password},
};

fn migrate(database: &Database, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_temper"))
        .arg("migrate")
        .args(arguments)
        .env("TEMPER_DATABASE_URL", database.url())
        .output()
        .unwrap()
}

#[tokio::test]
async fn roles_are_made_with_the_password_of_a_file_that_is_never_shown() {
    let database = Database::new().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "open sesame\n").unwrap();
    let file = path.display().to_string();
    for _ in 0..2 {
        let output = migrate(&database, &["--roles", "--reader-password-file", &file]);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(said.contains(READER) && !said.contains("sesame"), "{said}");
    }
    let kept = role_password(database.store(), READER)
        .await
        .unwrap()
        .unwrap();
    assert!(kept.starts_with("SCRAM-SHA-256$"), "{kept}");
}

#[tokio::test]
async fn without_asking_no_role_is_touched_and_an_empty_password_is_refused() {
    let database = Database::new().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "\n").unwrap();
    let output = migrate(
        &database,
        &[
            "--roles",
            "--reader-password-file",
            &path.display().to_string(),
        ],
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("is empty"), "{said}");
    let output = migrate(&database, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !said.contains(READER), "{said}");
    let output = migrate(&database, &["--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said, json!({ "upToDate": true, "roles": [] }));
}
