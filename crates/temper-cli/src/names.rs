//! Names as people type them: a bare uuid or number stands for the resource.

use temper_proto::{JobName, SweepName, TokenName};

/// `sweeps/{uuid}`, or the uuid alone.
pub fn sweep(text: &str) -> Result<SweepName, String> {
    let bare = || format!("sweeps/{text}").parse().ok();
    text.parse().ok().or_else(bare).ok_or_else(|| {
        "a sweep is sweeps/{uuid}, or the uuid alone: `temper sweeps` lists them".into()
    })
}

/// `jobs/{number}`, or the number alone.
pub fn job(text: &str) -> Result<JobName, String> {
    let bare = || format!("jobs/{text}").parse().ok();
    text.parse().ok().or_else(bare).ok_or_else(|| {
        "a job is jobs/{number}, or the number alone: `temper jobs SWEEP` lists them".into()
    })
}

/// `tokens/{uuid}`, or the uuid alone.
pub fn token(text: &str) -> Result<TokenName, String> {
    let bare = || format!("tokens/{text}").parse().ok();
    text.parse().ok().or_else(bare).ok_or_else(|| {
        "a token is tokens/{uuid}, or the uuid alone: `temper admin token list` lists them".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_their_collection() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(sweep(id), sweep(&format!("sweeps/{id}")));
        assert_eq!(sweep(id).unwrap().to_string(), format!("sweeps/{id}"));
        assert_eq!(token(id), token(&format!("tokens/{id}")));
        assert_eq!(job("7"), job("jobs/7"));
        assert_eq!(job("7").unwrap().to_string(), "jobs/7");
    }

    #[test]
    fn other_text_is_refused_with_the_form_it_should_have() {
        for text in ["", "7", "jobs/7", "sweeps/", "sweeps/sweeps/x"] {
            assert!(sweep(text).unwrap_err().contains("sweeps/{uuid}"), "{text}");
        }
        for text in ["", "x", "0", "-1", "sweeps/7"] {
            assert!(job(text).unwrap_err().contains("jobs/{number}"), "{text}");
        }
    }
}
