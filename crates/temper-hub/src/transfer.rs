//! The bytes of one file, in as many requests as it takes.
//!
//! They are written at the place that they have in the file, never appended, so that two writers
//! (on a file system where locks hold nobody back) write the same.

use std::{
    io::{self, SeekFrom},
    path::Path,
};

use reqwest::{Response, StatusCode};
use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt, BufWriter},
};

use crate::{
    HubError, Progress,
    cache::{blocking, remove},
    download::{About, Download},
    http::{shown, text},
    retry::Patience,
};

/// Bytes that count as progress, after which retries begin anew.
const PROGRESS: u64 = 1 << 20;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// What an answer's body is of the file.
struct Piece {
    start: u64,
    total: Option<u64>,
}

impl Download<'_> {
    /// Fetches until the length is right.
    pub(crate) async fn complete(&self, about: &About, partial: &Path) -> Result<(), HubError> {
        let mut patience = Patience::new(self.retry);
        let mut reached = length(partial).await?;
        loop {
            let Err(error) = self.attempt(about, partial).await else {
                return Ok(());
            };
            let here = length(partial).await?;
            if here >= reached.saturating_add(PROGRESS) {
                reached = here;
                patience.renew();
            }
            patience.wait(error).await?;
        }
    }

    /// One request, from where the last one ended.
    async fn attempt(&self, about: &About, partial: &Path) -> Result<(), HubError> {
        let mut here = length(partial).await?;
        if let Some(size) = about.size {
            if here > size {
                remove(partial)?;
                here = 0;
            }
            if here == size && size > 0 {
                return Ok(());
            }
            room_for(size - here, partial).await?;
        }
        let mut response = match self.http.get(self.url(), here, self.subject()).await {
            // Nothing more is there: what is here is not of this file.
            Err(HubError::Status { status: 416, .. }) => {
                remove(partial)?;
                return Err(self.truncated(0, about.size, None));
            }
            answer => answer?,
        };
        let mut piece = Piece::of(&response, here)?;
        piece.total = about.size.or(piece.total);
        let io_error = || HubError::io(partial.to_owned());
        let mut file = File::options()
            .create(true)
            .truncate(piece.start == 0)
            .write(true)
            .open(partial)
            .await
            .map_err(io_error())?;
        file.seek(SeekFrom::Start(piece.start))
            .await
            .map_err(io_error())?;
        let mut writer = BufWriter::with_capacity(BUFFER, file);
        let end = self.pour(&mut response, &mut writer, &piece, partial).await;
        // Whatever came is kept, however it ended.
        writer.flush().await.map_err(io_error())?;
        end?;
        writer.into_inner().sync_all().await.map_err(io_error())
    }

    /// Writes the body.
    async fn pour(
        &self,
        response: &mut Response,
        writer: &mut BufWriter<File>,
        piece: &Piece,
        partial: &Path,
    ) -> Result<(), HubError> {
        let mut done = piece.start;
        let total = piece.total;
        loop {
            (self.progress)(Progress {
                file: self.target.file.as_str(),
                done,
                total,
            });
            let bytes = match response.chunk().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) if total.is_some_and(|total| done < total) => {
                    return Err(self.truncated(done, total, None));
                }
                Ok(None) => return Ok(()),
                Err(source) => return Err(self.truncated(done, total, Some(source))),
            };
            done = done.saturating_add(bytes.len() as u64);
            if total.is_some_and(|total| done > total) {
                return Err(HubError::Protocol {
                    url: shown(response.url()),
                    reason: format!(
                        "it sends more than the {} bytes that it announced",
                        total.unwrap_or_default()
                    ),
                });
            }
            writer
                .write_all(&bytes)
                .await
                .map_err(HubError::io(partial))?;
        }
    }

    fn truncated(&self, done: u64, total: Option<u64>, source: Option<reqwest::Error>) -> HubError {
        HubError::Truncated {
            file: self.target.file.as_str().to_owned(),
            done,
            total,
            source: source.map(reqwest::Error::without_url),
        }
    }
}

impl Piece {
    /// Which bytes the answer to a request from byte `asked` on holds (RFC 9110, section 14.4).
    fn of(response: &Response, asked: u64) -> Result<Self, HubError> {
        let headers = response.headers();
        let bad = |reason: &str| HubError::Protocol {
            url: shown(response.url()),
            reason: reason.to_owned(),
        };
        match response.status() {
            StatusCode::OK => Ok(Self {
                start: 0,
                total: text(headers, "content-length").and_then(|text| text.parse().ok()),
            }),
            StatusCode::PARTIAL_CONTENT => {
                let (start, total) = text(headers, "content-range")
                    .and_then(content_range)
                    .ok_or_else(|| bad("a part comes without a Content-Range"))?;
                if start != asked {
                    return Err(bad("another part comes than was asked for"));
                }
                Ok(Self { start, total })
            }
            _ => Err(bad("neither the file nor a part of it comes")),
        }
    }
}

/// First byte and whole length of `bytes first-last/length`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((first.parse().ok()?, total))
}

/// Bytes that are here of a file; 0 if there is none.
async fn length(path: &Path) -> Result<u64, HubError> {
    match tokio::fs::metadata(path).await {
        Ok(data) => Ok(data.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(HubError::io(path)(error)),
    }
}

/// Refuses to begin what cannot end. A file system that does not say is believed to have room.
async fn room_for(needed: u64, partial: &Path) -> Result<(), HubError> {
    let folder = partial.parent().unwrap_or(partial).to_owned();
    let path = folder.clone();
    let Ok(data) = blocking(move || rustix::fs::statvfs(&path)).await else {
        return Ok(());
    };
    let free = data.f_bavail.saturating_mul(data.f_frsize);
    // Some network file systems say 0 of everything.
    if data.f_blocks == 0 || needed <= free {
        return Ok(());
    }
    Err(HubError::DiskFull {
        folder,
        needed: Some(needed),
        free: Some(free),
        source: None,
    })
}
