//! Requests to the hub: who asks, where redirects lead, and what refusals mean.

use std::time::Duration;

use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, DATE, HeaderMap, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
    },
    redirect::Policy,
};

use crate::{
    HubConfig, HubError,
    config::Endpoint,
    name::{FilePath, Repo},
};

/// The digest of the file's bytes, where the answer is a redirect to them.
pub(crate) const LINKED_ETAG: &str = "x-linked-etag";

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// What a request is about: refusals are told in its terms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) repo: &'a Repo,
    pub(crate) revision: &'a str,
    pub(crate) file: Option<&'a FilePath>,
}

/// A client of one hub.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
}

impl Http {
    pub(crate) fn new(config: &HubConfig) -> Result<Self, HubError> {
        let mut builder = Client::builder()
            .user_agent(concat!("temper/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(config.timeout)
            .read_timeout(config.timeout);
        if config.endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        let authorization =
            config.token.as_ref().map(|token| {
                let mut value = HeaderValue::try_from(format!("Bearer {}", token.secret()))
                    .map_err(|_| HubError::BadSetting {
                        name: "HF_TOKEN",
                        reason: "it holds characters that no token has".to_owned(),
                    })?;
                value.set_sensitive(true);
                Ok(value)
            });
        Ok(Self {
            client: builder.build().map_err(HubError::Client)?,
            endpoint: config.endpoint.clone(),
            authorization: authorization.transpose()?,
        })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// GET, from byte `from` on if that is not 0.
    pub(crate) async fn get(
        &self,
        url: Url,
        from: u64,
        about: Subject<'_>,
    ) -> Result<Response, HubError> {
        self.send(Method::GET, url, from, about).await
    }

    /// HEAD; of a redirect that already tells the digest, the redirect itself.
    pub(crate) async fn head(&self, url: Url, about: Subject<'_>) -> Result<Response, HubError> {
        self.send(Method::HEAD, url, 0, about).await
    }

    async fn send(
        &self,
        method: Method,
        mut url: Url,
        from: u64,
        about: Subject<'_>,
    ) -> Result<Response, HubError> {
        for _ in 0..=REDIRECTS {
            let response = self
                .request(method.clone(), &url, from)
                .send()
                .await
                .map_err(|source| HubError::Network {
                    url: shown(&url),
                    source: source.without_url(),
                })?;
            if response.status().is_success() {
                return Ok(response);
            }
            let Some(location) = location(&response) else {
                return Err(self.refusal(&response, about));
            };
            if method == Method::HEAD && response.headers().contains_key(LINKED_ETAG) {
                return Ok(response);
            }
            url = next_hop(&url, location)?;
        }
        Err(HubError::Protocol {
            url: shown(&url),
            reason: format!("more than {REDIRECTS} redirects"),
        })
    }

    fn request(&self, method: Method, url: &Url, from: u64) -> reqwest::RequestBuilder {
        // Lengths are those of the file, not of something packed.
        let mut request = self
            .client
            .request(method, url.clone())
            .header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        match &self.authorization {
            Some(value) if self.endpoint.is_origin_of(url) => request.header(AUTHORIZATION, value),
            _ => request,
        }
    }

    fn refusal(&self, response: &Response, about: Subject<'_>) -> HubError {
        let headers = response.headers();
        let code = text(headers, "x-error-code").unwrap_or_default();
        let Subject {
            repo,
            revision,
            file,
        } = about;
        let (kind, name) = (repo.kind, repo.to_string());
        let with_token = self.authorization.is_some();
        let of_hub = !code.is_empty() || self.endpoint.is_origin_of(response.url());
        match (response.status(), code, file) {
            (StatusCode::TOO_MANY_REQUESTS, ..) => HubError::RateLimited {
                retry_after: retry_after(headers),
            },
            (StatusCode::NOT_FOUND, "RevisionNotFound", _) => HubError::RevisionNotFound {
                kind,
                repo: name,
                revision: revision.to_owned(),
            },
            (StatusCode::NOT_FOUND, code, Some(file)) if code != "RepoNotFound" => {
                HubError::FileNotFound {
                    kind,
                    repo: name,
                    commit: revision.to_owned(),
                    file: file.as_str().to_owned(),
                }
            }
            (StatusCode::NOT_FOUND, ..) => HubError::RepoNotFound { kind, repo: name },
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, "GatedRepo", _) => HubError::Gated {
                kind,
                repo: name,
                with_token,
            },
            (StatusCode::UNAUTHORIZED, ..) if of_hub => HubError::Unauthorized {
                kind,
                repo: name,
                with_token,
            },
            (StatusCode::FORBIDDEN, ..) if of_hub => HubError::Gated {
                kind,
                repo: name,
                with_token,
            },
            (status, ..) => HubError::Status {
                url: shown(response.url()),
                status: status.as_u16(),
            },
        }
    }
}

/// An address as errors show it: what is in its query may be a signature.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// A header's text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn location(response: &Response) -> Option<&str> {
    if response.status().is_redirection() {
        text(response.headers(), LOCATION.as_str())
    } else {
        None
    }
}

/// Where a redirect leads: never from a protected connection to an open one.
fn next_hop(from: &Url, location: &str) -> Result<Url, HubError> {
    let bad = |reason: &str| HubError::Protocol {
        url: shown(from),
        reason: reason.to_owned(),
    };
    let next = from
        .join(location)
        .map_err(|_| bad("it redirects to what is no address"))?;
    match (from.scheme(), next.scheme()) {
        (_, "https") | ("http", "http") => Ok(next),
        _ => Err(bad("it redirects from https to an unprotected address")),
    }
}

/// The wait that `Retry-After` asks for: seconds, or a date, which is held against the answer's
/// own (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = text(headers, RETRY_AFTER.as_str())?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(asked).ok()?;
    let now = httpdate::parse_http_date(text(headers, DATE.as_str())?).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn redirects_never_leave_protection() {
        let hop = |from: &str, to: &str| next_hop(&url(from), to).map(|url| url.to_string());
        assert_eq!(hop("https://a/b/c", "/d").unwrap(), "https://a/d");
        assert_eq!(
            hop("https://a/b", "https://cdn/x?y").unwrap(),
            "https://cdn/x?y"
        );
        assert_eq!(hop("http://a/b", "https://cdn/x").unwrap(), "https://cdn/x");
        assert_eq!(hop("http://a/b", "http://cdn/x").unwrap(), "http://cdn/x");
        for bad in ["http://cdn/x", "ftp://cdn/x", "file:///etc/passwd"] {
            assert!(hop("https://a/b", bad).is_err(), "{bad}");
        }
        assert!(hop("http://a/b", "file:///etc/passwd").is_err());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                let name: reqwest::header::HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_static(value))
            });
            retry_after(&headers.collect())
        };
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT");
        let earlier = ("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT");
        assert_eq!(asked(&[date, later]), Some(Duration::from_secs(30)));
        assert_eq!(asked(&[date, earlier]), Some(Duration::ZERO));
        assert_eq!(asked(&[later]), None);
        assert_eq!(asked(&[("retry-after", "soon")]), None);
    }

    #[test]
    fn shown_addresses_hold_no_signature() {
        let signed = url("https://cdn/x?Signature=s3cret#part");
        assert_eq!(shown(&signed), "https://cdn/x");
    }
}
