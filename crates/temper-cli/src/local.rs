//! How other commands find the token of the `temper up` that they speak to: a note named by the
//! address, in the user's state folder, which says where the token lies.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use temper_service::{access::Secret, client};

/// Notes where the token for the services at these URLs lies.
pub fn announce(urls: &[&str], token: &Path) -> io::Result<()> {
    let folder = notes().ok_or(io::ErrorKind::NotFound)?;
    fs::create_dir_all(&folder)?;
    for name in urls.iter().filter_map(|url| note(url)) {
        fs::write(folder.join(name), token.display().to_string())?;
    }
    Ok(())
}

/// Takes the notes away.
pub fn retract(urls: &[&str]) {
    let Some(folder) = notes() else { return };
    for name in urls.iter().filter_map(|url| note(url)) {
        // What stays of one that was killed harms nothing: its token is no longer good.
        let _ = fs::remove_file(folder.join(name));
    }
}

/// The token for the services at `url`, where a `temper up` of this user's serves them.
pub fn token(url: &str) -> Option<Secret> {
    let path = fs::read_to_string(notes()?.join(note(url)?)).ok()?;
    client::token_in(Path::new(path.trim())).ok()
}

/// Name of the note for a URL; none for what is not on this machine.
fn note(url: &str) -> Option<String> {
    let address = url.strip_prefix("http://")?.trim_end_matches('/');
    let address = address.replace("localhost:", "127.0.0.1:");
    let parsed: std::net::SocketAddr = address.parse().ok()?;
    parsed.ip().is_loopback().then_some(address)
}

fn notes() -> Option<PathBuf> {
    folder(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"))
}

fn folder(state: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let given = |variable: Option<OsString>| {
        let path = variable.map(PathBuf::from)?;
        path.is_absolute().then_some(path)
    };
    let base = given(state).or_else(|| Some(given(home)?.join(".local/state")));
    base.map(|base| base.join("temper/up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_have_notes() {
        for url in ["http://127.0.0.1:7070", "http://localhost:7070/"] {
            assert_eq!(note(url).as_deref(), Some("127.0.0.1:7070"), "{url}");
        }
        for url in [
            "http://10.0.0.7:7070",
            "https://127.0.0.1:7070",
            "http://lab:7070",
            "http://../x",
        ] {
            assert_eq!(note(url), None, "{url}");
        }
    }

    #[test]
    fn notes_lie_where_xdg_says() {
        let path = |text: &str| Some(OsString::from(text));
        let expected = |text: &str| Some(PathBuf::from(text));
        assert_eq!(folder(path("/s"), path("/h")), expected("/s/temper/up"));
        assert_eq!(
            folder(path("relative"), path("/h")),
            expected("/h/.local/state/temper/up")
        );
        assert_eq!(folder(None, None), None);
    }
}
