//! Who asks, and who gets to know it.

use temper_core::ErrorKind;
use temper_hub::{
    BlockingHub, HubConfig, HubError, RepoKind, Token,
    testing::{Fault, On},
};

use crate::{Lab, REPO, fetch};

const TOKEN: &str = "hf_s3cretToken";

fn with_token(lab: &Lab) -> HubConfig {
    HubConfig {
        token: Token::new(TOKEN),
        ..lab.config()
    }
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let lab = Lab::new();
    lab.hub.require_token(TOKEN);
    lab.assert_whole(&fetch(with_token(&lab), &lab.wanted()).unwrap());
    let seen = lab.hub.seen();
    let bearer = Some(format!("Bearer {TOKEN}"));
    assert!(seen.iter().any(|seen| seen.elsewhere), "{seen:?}");
    for seen in seen {
        let expected = if seen.elsewhere { &None } else { &bearer };
        assert_eq!(&seen.authorization, expected, "{seen:?}");
    }
}

#[test]
fn a_redirect_within_the_hub_is_followed_with_the_token() {
    let lab = Lab::new();
    lab.hub.require_token(TOKEN);
    let location = format!("/{REPO}/resolve/{}/{}", lab.commit, crate::FILE);
    let moved = Fault::Status(307, vec![("location", location)]);
    lab.hub.misbehave(On::Head, 1, moved);
    lab.assert_whole(&fetch(with_token(&lab), &lab.wanted()).unwrap());
}

#[test]
fn redirects_in_a_circle_end() {
    let lab = Lab::new();
    let location = format!("/{REPO}/resolve/{}/{}", lab.commit, crate::FILE);
    let circle = Fault::Status(302, vec![("location", location)]);
    lab.hub.misbehave(On::Head, 99, circle);
    let error = lab.fetch().unwrap_err();
    assert!(matches!(error, HubError::Protocol { .. }), "{error:?}");
}

#[test]
fn a_gated_repository_asks_for_a_token_and_its_terms() {
    let lab = Lab::new();
    lab.hub.require_token("another");
    for config in [lab.config(), with_token(&lab)] {
        let error = fetch(config, &lab.wanted()).unwrap_err();
        assert!(matches!(error, HubError::Gated { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("accept its terms") && !text.contains(TOKEN),
            "{text}"
        );
    }
    assert!(
        fetch(lab.config(), &lab.wanted())
            .unwrap_err()
            .to_string()
            .contains("HF_TOKEN")
    );
    assert_eq!(lab.hub.seen().len(), 3, "none is asked twice");
}

#[test]
fn refusals_without_the_hub_s_code_are_told_by_their_status() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Api, 1, Fault::Status(401, vec![]));
    lab.hub.misbehave(On::Api, 1, Fault::Status(403, vec![]));
    lab.hub.misbehave(On::Api, 1, Fault::Status(404, vec![]));
    let hub = BlockingHub::new(lab.config()).unwrap();
    let ask = || hub.resolve(RepoKind::Model, REPO, "main").unwrap_err();
    assert!(matches!(
        ask(),
        HubError::Unauthorized {
            with_token: false,
            ..
        }
    ));
    assert!(matches!(ask(), HubError::Gated { .. }));
    assert!(matches!(ask(), HubError::RepoNotFound { .. }));
    assert_eq!(lab.hub.seen().len(), 3);
}

#[test]
fn errors_of_the_other_host_show_no_signature() {
    let lab = Lab::new();
    for fault in [
        Fault::Status(403, vec![]),
        Fault::CutAfter(0),
        Fault::Excess(1),
    ] {
        lab.hub.behave();
        lab.hub.misbehave(On::Bytes, 99, fault);
        let error = lab.fetch().unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("s3cret") && !text.contains("signature"),
            "{text}"
        );
        assert!(
            !matches!(error, HubError::Gated { .. }),
            "it is not the hub that refuses"
        );
    }
}
