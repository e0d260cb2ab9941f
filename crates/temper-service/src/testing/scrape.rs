//! Metrics as Prometheus reads them, without a client of HTTP.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What an address tells at /metrics.
///
/// # Errors
/// When nothing answers there, or it refuses.
pub async fn scrape(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // Without keep-alive and chunks, which an answer of HTTP/1.0 does not have.
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nhost: metrics\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.0 200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(answer)),
    }
}

/// The value of a series in what was told; none where it is not told.
#[must_use]
pub fn value(told: &str, series: &str) -> Option<f64> {
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}
