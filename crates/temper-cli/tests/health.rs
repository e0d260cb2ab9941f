//! The command that container engines ask for health.

use std::{net::TcpListener, process::Command};

use serde_json::Value;

#[test]
fn probe_exits_1_and_says_where_nothing_answers() {
    // Bound and dropped: nobody listens on it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ask = |form: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_temper"))
            .args(["health", "--timeout", "1m", "--address", &url])
            .args(form)
            // No token is asked for, and a bad one does not matter.
            .env("TEMPER_TOKEN", "none")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&url), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask(&[]), "");
    let answer: Value = serde_json::from_str(&ask(&["--json"])).unwrap();
    assert_eq!(answer["serving"], false);
    assert_eq!(answer["address"], url);
    assert!(answer["error"].is_string(), "{answer}");
}
