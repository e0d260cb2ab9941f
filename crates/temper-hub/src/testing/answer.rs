//! What the fake hub answers.

use std::io;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
};
use bytes::Bytes;
use futures::stream;
use serde_json::json;

use super::{FakeFile, FakeRepo, Fault, On, Seen, Shared, State, git_name};
use crate::RepoKind;

type Reply = Response<Body>;

/// A file that was asked for, and what the request said of it.
struct Asked {
    file: FakeFile,
    commit: String,
    /// The request's path.
    path: String,
}

pub(super) async fn answer(shared: &Shared, elsewhere: bool, request: Request) -> Reply {
    // Nothing is read of a body, and one cannot be shared with what waits.
    let (request, _) = request.into_parts();
    let parts: Vec<String> = request
        .uri
        .path()
        .split('/')
        .skip(1)
        .map(|part| part.replace("%2F", "/").replace("%20", " "))
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let header = |name| Some(request.headers.get(name)?.to_str().ok()?.to_owned());
    let seen = Seen {
        method: request.method.to_string(),
        target: request.uri.to_string(),
        elsewhere,
        range: header(header::RANGE),
        authorization: header(header::AUTHORIZATION),
    };
    let range = seen.range.clone();
    let authorization = seen.authorization.clone();
    shared.state().seen.push(seen);
    shared.changed.notify_all();
    let allowed = match &shared.state().token {
        Some(token) => elsewhere || authorization == Some(format!("Bearer {token}")),
        None => true,
    };
    if !allowed {
        return refuse(401, "GatedRepo");
    }
    if let ["api", kind, owner, name, "revision", revision] = parts[..] {
        return api(
            &mut shared.state(),
            kind,
            &format!("{owner}/{name}"),
            revision,
        );
    }
    let asked = match find(&shared.state(), request.uri.path(), &parts) {
        Ok(asked) => asked,
        Err(code) => return refuse(404, code),
    };
    if request.method == Method::HEAD {
        return head(shared, &asked);
    }
    if !elsewhere {
        if let Some(reply) = fault_status(&mut shared.state(), On::Get) {
            return reply;
        }
        if asked.file.lfs {
            return redirect(shared, &asked);
        }
    }
    let mut held = shared.held.subscribe();
    // The sender lives as long as the server.
    let _ = held.wait_for(|held| !held).await;
    let fault = {
        let mut state = shared.state();
        state.sent += 1;
        take(&mut state, On::Bytes)
    };
    send(&asked, range.as_deref(), fault)
}

fn api(state: &mut State, kind: &str, repo: &str, revision: &str) -> Reply {
    if let Some(reply) = fault_status(state, On::Api) {
        return reply;
    }
    let Some(kind) = kind_of(kind) else {
        return refuse(404, "RepoNotFound");
    };
    let Some(found) = state.repos.get(&(kind, repo.to_owned())) else {
        return refuse(404, "RepoNotFound");
    };
    if !found.is(revision) {
        return refuse(404, "RevisionNotFound");
    }
    let sibling = |file: &FakeFile| {
        let size = file.content.len();
        let mut value =
            json!({ "rfilename": file.path, "size": size, "blobId": git_name(&file.content) });
        if file.lfs {
            value["blobId"] = git_name(b"the pointer").into();
            value["lfs"] = json!({ "sha256": file.etag(), "size": size, "pointerSize": 11 });
        }
        value
    };
    let siblings: Vec<_> = found.files.iter().map(sibling).collect();
    let body = json!({ "id": repo, "sha": found.commit, "siblings": siblings });
    reply(
        200,
        &[("content-type", "application/json")],
        body.to_string(),
    )
}

/// `{owner}/{name}/resolve/{commit}/{file}`, with `datasets/` before it for those.
fn find(state: &State, path: &str, parts: &[&str]) -> Result<Asked, &'static str> {
    let (kind, parts) = match parts {
        ["datasets", rest @ ..] => (RepoKind::Dataset, rest),
        rest => (RepoKind::Model, rest),
    };
    let [owner, name, "resolve", revision, file @ ..] = parts else {
        return Err("RepoNotFound");
    };
    let repo = format!("{owner}/{name}");
    let found: &FakeRepo = state
        .repos
        .get(&(kind, repo.clone()))
        .ok_or("RepoNotFound")?;
    if !found.is(revision) {
        return Err("RevisionNotFound");
    }
    let name = file.join("/");
    let file = found.files.iter().find(|file| file.path == name);
    Ok(Asked {
        file: file.ok_or("EntryNotFound")?.clone(),
        commit: found.commit.clone(),
        path: path.to_owned(),
    })
}

fn head(shared: &Shared, asked: &Asked) -> Reply {
    let mut state = shared.state();
    let extra = match take(&mut state, On::Head) {
        Some(Fault::Headers(headers)) => headers,
        Some(Fault::Status(status, headers)) => return status_reply(status, &headers),
        _ => Vec::new(),
    };
    drop(state);
    let mut response = if asked.file.lfs {
        redirect(shared, asked)
    } else {
        let etag = format!("\"{}\"", asked.file.etag());
        let length = asked.file.content.len().to_string();
        let headers = [
            ("etag", etag.as_str()),
            ("content-length", &length),
            ("x-repo-commit", &asked.commit),
        ];
        reply(200, &headers, Body::empty())
    };
    for (name, value) in extra {
        put(response.headers_mut(), name, &value);
    }
    response
}

fn redirect(shared: &Shared, asked: &Asked) -> Reply {
    let location = format!("http://{}{}?signature=s3cret", shared.elsewhere, asked.path);
    let etag = format!("\"{}\"", asked.file.etag());
    let size = asked.file.content.len().to_string();
    let headers = [
        ("location", location.as_str()),
        ("x-linked-etag", &etag),
        ("x-linked-size", &size),
        ("x-repo-commit", &asked.commit),
    ];
    reply(302, &headers, Body::empty())
}

/// The bytes, or what the fault makes of them.
fn send(asked: &Asked, range: Option<&str>, fault: Option<Fault>) -> Reply {
    let whole = &asked.file.content;
    let from = range
        .filter(|_| fault != Some(Fault::NoRanges))
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        });
    let start: usize = from.unwrap_or(0);
    if start > 0 && start >= whole.len() {
        return status_reply(416, &[]);
    }
    let mut bytes = whole.slice(start..);
    let mut length = bytes.len();
    match &fault {
        Some(Fault::Status(status, headers)) => return status_reply(*status, headers),
        Some(Fault::CutAfter(end) | Fault::StallAfter(end)) => bytes.truncate(*end),
        Some(Fault::EndAfter(end)) => {
            bytes.truncate(*end);
            length = bytes.len();
        }
        Some(Fault::WrongBytes) => bytes = bytes.iter().map(|byte| !byte).collect(),
        Some(Fault::Excess(more)) => {
            bytes = [&bytes[..], &vec![0; *more]].concat().into();
            length = bytes.len();
        }
        Some(Fault::Headers(_) | Fault::NoRanges) | None => {}
    }
    let stalls = matches!(fault, Some(Fault::StallAfter(_)));
    let body = if bytes.len() < length {
        broken_body(bytes, stalls)
    } else {
        bytes.into()
    };
    let length = length.to_string();
    let content_range = format!(
        "bytes {start}-{}/{}",
        whole.len().saturating_sub(1),
        whole.len()
    );
    let mut headers = vec![
        ("content-length", length.as_str()),
        ("x-repo-commit", &asked.commit),
    ];
    if from.is_some() {
        headers.push(("content-range", &content_range));
    }
    let mut response = reply(if from.is_some() { 206 } else { 200 }, &headers, body);
    if let Some(Fault::Headers(headers)) = fault {
        for (name, value) in headers {
            put(response.headers_mut(), name, &value);
        }
    }
    response
}

/// A body that breaks off, or falls silent, after `bytes`.
fn broken_body(bytes: Bytes, stalls: bool) -> Body {
    let pieces = stream::unfold(Some(bytes), move |bytes| async move {
        // What came before leaves before the connection is cut.
        tokio::task::yield_now().await;
        match bytes {
            Some(bytes) => Some((Ok(bytes), None)),
            None if stalls => std::future::pending().await,
            None => Some((Err(io::Error::other("cut")), None)),
        }
    });
    Body::from_stream(pieces)
}

impl FakeRepo {
    fn is(&self, revision: &str) -> bool {
        self.revision == revision || self.commit == revision
    }
}

/// The fault that is due at this place.
fn take(state: &mut State, on: On) -> Option<Fault> {
    let due = state
        .faults
        .iter_mut()
        .find(|(place, times, _)| *place == on && *times > 0)?;
    due.1 -= 1;
    Some(due.2.clone())
}

fn fault_status(state: &mut State, on: On) -> Option<Reply> {
    match take(state, on) {
        Some(Fault::Status(status, headers)) => Some(status_reply(status, &headers)),
        _ => None,
    }
}

fn kind_of(plural: &str) -> Option<RepoKind> {
    [RepoKind::Model, RepoKind::Dataset]
        .into_iter()
        .find(|kind| kind.plural() == plural)
}

fn refuse(status: u16, code: &str) -> Reply {
    reply(status, &[("x-error-code", code)], Body::empty())
}

fn status_reply(status: u16, headers: &[(&'static str, String)]) -> Reply {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    reply(status, &headers, Body::empty())
}

fn reply(status: u16, headers: &[(&'static str, &str)], body: impl Into<Body>) -> Reply {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    for (name, value) in headers {
        put(response.headers_mut(), name, value);
    }
    response
}

#[expect(clippy::expect_used, reason = "a test that asks for nonsense is wrong")]
fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("a header's value");
    headers.insert(HeaderName::from_static(name), value);
}
