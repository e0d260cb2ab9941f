//! Keeps secrets out of lines that leave this machine. Temper logs none; this is for what an error
//! of another library quotes, such as the address of an object store with its keys.

/// What stands in place of a secret.
const MASK: &str = "***";
/// Shorter values are no secrets, and would be found in ordinary words.
const SHORTEST: usize = 8;
/// What the names of variables that hold secrets contain.
const NAMES: [&str; 6] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "CREDENTIAL",
    "ACCESS_KEY",
];

/// The secrets that this process was given.
#[derive(Default)]
pub(crate) struct Secrets(Vec<String>);

/// Tells how many there are, and none of them.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    /// The values of the environment's variables that hold secrets, by their names.
    pub(crate) fn from_environment() -> Self {
        let variables = std::env::vars_os();
        let texts = variables.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::of(texts)
    }

    fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let secret = |name: &str| {
            let name = name.to_uppercase();
            NAMES.iter().any(|part| name.contains(part))
        };
        let variables = variables.into_iter();
        let mut values: Vec<_> = variables
            .filter(|(name, value)| secret(name) && value.len() >= SHORTEST)
            .map(|(_, value)| value)
            .collect();
        // A secret that contains another goes first, or the rest of it would stay.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(values)
    }

    /// The text without these secrets, and without the user, the password and the query of any
    /// address in it.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret) {
                text = text.replace(secret, MASK);
            }
        }
        without_credentials(&text)
    }
}

fn without_credentials(text: &str) -> String {
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
        let (address, next) = after.split_at(after.find(ends).unwrap_or(after.len()));
        clean.push_str(before);
        push_address(&mut clean, address);
        rest = next;
    }
    clean.push_str(rest);
    clean
}

fn push_address(clean: &mut String, address: &str) {
    let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let (authority, user) = match authority.rsplit_once('@') {
        Some((_, host)) => (host, MASK),
        None => (authority, ""),
    };
    if !user.is_empty() {
        clean.push_str(user);
        clean.push('@');
    }
    let bare = format!("{authority}{path}");
    match bare.split_once('?') {
        Some((place, _)) => {
            clean.push_str(place);
            clean.push('?');
            clean.push_str(MASK);
        }
        None => clean.push_str(&bare),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_passwords_and_queries_of_addresses_are_masked() {
        let secrets = Secrets::default();
        for (text, clean) in [
            ("plain: 3/4 of it?", "plain: 3/4 of it?"),
            ("see https://host:1/a/b.", "see https://host:1/a/b."),
            (
                "error sending request for url (https://ann:pa?s,w@host/a?X-Amz-Signature=1f2e) now",
                "error sending request for url (https://***@host/a?*** now",
            ),
            (
                "`postgres://u:p@db/temper` and s3://key:secret@bucket/x",
                "`postgres://***@db/temper` and s3://***@bucket/x",
            ),
        ] {
            assert_eq!(secrets.redact(text), clean, "{text}");
        }
    }

    #[test]
    fn values_of_secret_variables_are_masked_wherever_they_stand() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let secrets = Secrets::of([
            variable("HF_TOKEN", "hf_abcdefgh"),
            variable("AWS_SECRET_ACCESS_KEY", "hf_abcdefgh+and+more"),
            variable("SHORT_TOKEN", "on"),
            variable("HOME", "/home/ann/somewhere"),
        ]);
        assert_eq!(
            secrets.redact("hf_abcdefgh, hf_abcdefgh+and+more, on /home/ann/somewhere"),
            "***, ***, on /home/ann/somewhere"
        );
        assert_eq!(format!("{secrets:?}"), "2 secrets");
    }
}
