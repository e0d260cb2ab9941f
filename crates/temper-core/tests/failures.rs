//! The page on failures says what the code does.

use temper_core::job::{FailureClass, LONGEST_PAUSE};

#[test]
fn table_of_classes_has_the_tries_and_pauses_of_each() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/failures.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<Vec<&str>> = rows
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for class in FailureClass::ALL {
        let row = rows.iter().find(|row| row[1] == class.as_str());
        let row = row.unwrap_or_else(|| panic!("{class} is not in the table"));
        let policy = class.policy();
        let tries = policy.tries.map(|tries| tries.to_string());
        assert_eq!(
            row[3],
            tries.unwrap_or("without limit".to_owned()),
            "{class}"
        );
        let pause = match policy.tries {
            Some(1) => String::new(),
            _ => format!("{} s", policy.first_pause.as_secs()),
        };
        assert_eq!(row[4], pause, "{class}");
    }
    let longest = format!("{} minutes", LONGEST_PAUSE.as_secs() / 60);
    assert!(page.contains(&longest), "{longest}");
}
