//! Where the hub is, who asks, and where files are kept.

use std::{env, ffi::OsString, fmt, fs, io, path::PathBuf, str::FromStr, time::Duration};

use reqwest::Url;

use crate::{HubError, retry::RetryPolicy};

/// The public hub, where `HF_ENDPOINT` names no other.
pub const PUBLIC_HUB: &str = "https://huggingface.co";

/// How to reach the hub and where to keep what comes from it.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The hub, or a mirror that speaks its API.
    pub endpoint: Endpoint,
    /// Who asks: needed for gated and private repositories. It is sent to the endpoint alone,
    /// never to where the endpoint redirects.
    pub token: Option<Token>,
    /// The folder that holds `models--owner--name` and so on; made when first needed.
    pub cache: PathBuf,
    /// Never use the network.
    pub offline: bool,
    /// When to try again.
    pub retry: RetryPolicy,
    /// How long connecting may take, and how long an open connection may stay silent.
    pub timeout: Duration,
}

/// The address of a hub: `http` or `https`, without user, query or fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// An access token. Its text is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl HubConfig {
    /// The hub at `endpoint`, with files kept below `cache`; anonymous, with the usual patience.
    #[must_use]
    pub fn new(endpoint: Endpoint, cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint,
            token: None,
            cache: cache.into(),
            offline: false,
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(30),
        }
    }

    /// What the environment says; the crate's documentation lists the variables.
    ///
    /// # Errors
    /// `BadSetting` if a variable has no sense or no home folder is known; `Io` if the token's file
    /// is there but cannot be read.
    pub fn from_environment() -> Result<Self, HubError> {
        Self::from_variables(&|name| env::var_os(name))
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let variables = Variables(variable);
        let endpoint = variables.text("HF_ENDPOINT")?;
        let endpoint = endpoint.as_deref().unwrap_or(PUBLIC_HUB).parse()?;
        let cache = match variables.path("HF_HUB_CACHE") {
            Some(cache) => cache,
            None => variables.hub_home()?.join("hub"),
        };
        Ok(Self {
            token: variables.token()?,
            offline: variables
                .text("HF_HUB_OFFLINE")?
                .is_some_and(|text| is_true(&text)),
            ..Self::new(endpoint, cache)
        })
    }
}

impl Endpoint {
    /// The address of `parts` below the endpoint; each part is encoded, `/` in it too.
    pub(crate) fn below<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    /// Whether `url` leads to the same scheme, host and port.
    pub(crate) fn is_origin_of(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }

    /// Whether it is this very machine, to which no proxy leads.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.0.host_str() {
            Some("localhost") => true,
            Some(host) => host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback()),
            None => false,
        }
    }
}

impl FromStr for Endpoint {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let bad = |wanted: &str| HubError::BadSetting {
            name: "HF_ENDPOINT",
            reason: wanted.to_owned(),
        };
        // Neither the text nor the parser's word on it is shown: it may hold a password.
        let url = Url::parse(text.trim()).map_err(|_| bad("it is no http or https address"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(bad("it is no http or https address"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it must not hold a user or a password; set HF_TOKEN"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it must end with its path"));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl Token {
    /// The token in `text`, without the white space around it; none if nothing is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text: String = text.split_whitespace().collect();
        (!text.is_empty()).then_some(Self(text))
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The environment, or what a test puts in its place.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Variables<'_> {
    /// The variable's text; empty is absent.
    fn text(&self, name: &'static str) -> Result<Option<String>, HubError> {
        let Some(value) = (self.0)(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let value = value.into_string().map_err(|_| HubError::BadSetting {
            name,
            reason: "it is not UTF-8".to_owned(),
        })?;
        Ok(Some(value))
    }

    /// The variable's path, where `~/` stands for the home folder as in Python's client.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from((self.0)(name).filter(|value| !value.is_empty())?);
        match (path.strip_prefix("~"), self.home()) {
            (Ok(rest), Some(home)) => Some(home.join(rest)),
            _ => Some(path),
        }
    }

    fn home(&self) -> Option<PathBuf> {
        (self.0)("HOME")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    fn hub_home(&self) -> Result<PathBuf, HubError> {
        if let Some(home) = self.path("HF_HOME") {
            return Ok(home);
        }
        let caches = match self.path("XDG_CACHE_HOME") {
            Some(caches) => caches,
            None => self
                .home()
                .ok_or_else(|| HubError::BadSetting {
                    name: "HF_HOME",
                    reason: "it is not set, and neither is HOME: name a folder for the cache"
                        .to_owned(),
                })?
                .join(".cache"),
        };
        Ok(caches.join("huggingface"))
    }

    fn token(&self) -> Result<Option<Token>, HubError> {
        if let Some(token) = self.text("HF_TOKEN")?.as_deref().and_then(Token::new) {
            return Ok(Some(token));
        }
        let path = match (self.path("HF_TOKEN_PATH"), self.hub_home()) {
            (Some(path), _) => path,
            (None, Ok(home)) => home.join("token"),
            // The cache is elsewhere, and nobody has a home: then there is no token either.
            (None, Err(_)) => return Ok(None),
        };
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Token::new(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(HubError::io(path)(error)),
        }
    }
}

fn is_true(text: &str) -> bool {
    ["1", "ON", "YES", "TRUE"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<HubConfig, HubError> {
        HubConfig::from_variables(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name)?;
            Some(found.1.into())
        })
    }

    #[test]
    fn without_variables_it_is_the_public_hub_and_the_home_folder() {
        let config = config(&[("HOME", "/home/ada")]).unwrap();
        assert_eq!(config.endpoint.to_string(), PUBLIC_HUB);
        assert_eq!(
            config.cache,
            PathBuf::from("/home/ada/.cache/huggingface/hub")
        );
        assert!(config.token.is_none() && !config.offline);
    }

    #[test]
    fn variables_move_the_cache_and_the_endpoint() {
        let home = ("HOME", "/home/ada");
        let cache = |variables: &[(&str, &str)]| config(variables).unwrap().cache;
        assert_eq!(
            cache(&[home, ("HF_HOME", "~/hf")]),
            PathBuf::from("/home/ada/hf/hub")
        );
        assert_eq!(
            cache(&[home, ("HF_HOME", "/a"), ("HF_HUB_CACHE", "/b")]),
            PathBuf::from("/b")
        );
        assert_eq!(
            cache(&[home, ("XDG_CACHE_HOME", "/c")]),
            PathBuf::from("/c/huggingface/hub")
        );
        assert!(config(&[]).is_err());
        assert!(config(&[("HF_HUB_CACHE", "/b")]).is_ok());
        let mirror = config(&[home, ("HF_ENDPOINT", "http://mirror.lab:8080/hf/")]).unwrap();
        assert_eq!(
            mirror.endpoint.below(["a b", "c/d"]).as_str(),
            "http://mirror.lab:8080/hf/a%20b/c%2Fd"
        );
        for bad in [
            "mirror",
            "ftp://mirror",
            "http://me:secret@mirror",
            "http://m/?a=b",
        ] {
            let error = config(&[home, ("HF_ENDPOINT", bad)]).unwrap_err();
            assert!(!format!("{error:?}{error}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn offline_takes_the_words_of_the_python_client() {
        let offline = |text| {
            config(&[("HOME", "/home/ada"), ("HF_HUB_OFFLINE", text)])
                .unwrap()
                .offline
        };
        assert!(offline("1") && offline("true") && offline("Yes"));
        assert!(!offline("0") && !offline("") && !offline("no"));
    }

    #[test]
    fn the_token_comes_from_the_variable_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let other = folder.path().join("other");
        fs::write(&other, " from-other ").unwrap();
        let token = |variables: &[(&str, &str)]| {
            let token = config(variables).unwrap().token.unwrap();
            token.secret().to_owned()
        };
        assert_eq!(token(&[("HF_HOME", home)]), "from-file");
        assert_eq!(
            token(&[("HF_HOME", home), ("HF_TOKEN", "from-text\n")]),
            "from-text"
        );
        assert_eq!(
            token(&[
                ("HF_HOME", home),
                ("HF_TOKEN_PATH", other.to_str().unwrap())
            ]),
            "from-other"
        );
    }

    #[test]
    fn no_secret_is_shown() {
        let config = config(&[("HOME", "/home/ada"), ("HF_TOKEN", "hf_secret")]).unwrap();
        assert!(config.token.is_some());
        assert!(!format!("{config:?}").contains("hf_secret"));
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        let loopback = |text: &str| text.parse::<Endpoint>().unwrap().is_loopback();
        assert!(loopback("http://127.0.0.1:80") && loopback("http://[::1]:80"));
        assert!(loopback("http://localhost:1") && !loopback("http://hub.lab"));
    }
}
