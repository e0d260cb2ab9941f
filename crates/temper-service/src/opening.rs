//! Connections as they open: who says nothing is left, and who speaks plaintext to a server of TLS is told so, in
//! plaintext.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How every HTTP/2 client begins in plaintext (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI ";
/// All bytes of that beginning. TLS begins with more.
const PREFACE_BYTES: usize = 24;
/// How long a client may take to send them. HTTP/2 asks whether a client is still there only behind them: one
/// that is silent from the start would hold its connection for ever, and each is a file that the process may open.
const PATIENCE: Duration = Duration::from_secs(10);
/// What it is told.
const ANSWER: &[u8] = b"this server speaks TLS: use https";
/// An error code of HTTP/2 (RFC 9113, section 7).
const INADEQUATE_SECURITY: u8 = 0xc;

/// A connection that was just accepted.
pub(crate) struct Opening {
    stream: TcpStream,
    stage: Stage,
    /// Bytes that must come before its time is over; none once they have.
    awaited: Option<(usize, Pin<Box<Sleep>>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// TLS is to come, and nothing has come yet.
    ExpectsTls,
    /// What comes is handed on.
    Open,
    /// The client was told. What it sent meanwhile is read until it closes: were the connection cut
    /// under its hands, it would not see the answer. The time limit of the handshake bounds that.
    Refused,
}

impl Opening {
    pub(crate) fn new(stream: TcpStream, expects_tls: bool) -> Self {
        let stage = if expects_tls {
            Stage::ExpectsTls
        } else {
            Stage::Open
        };
        Self {
            stream,
            stage,
            awaited: Some((PREFACE_BYTES, Box::pin(sleep(PATIENCE)))),
        }
    }

    /// So many bytes more have come.
    fn note(&mut self, came: usize) {
        self.awaited = self.awaited.take().and_then(|(bytes, time)| {
            let left = bytes.saturating_sub(came);
            (left > 0).then_some((left, time))
        });
    }

    /// Nothing has come: whether that has gone on for too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((_, time)) = &mut self.awaited else {
            return Poll::Pending;
        };
        ready!(time.as_mut().poll(context));
        let message = "the client was silent from the start";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }
}

/// Empty settings, as a connection begins, and GOAWAY with the answer (RFC 9113, sections 6.5, 6.8).
fn farewell() -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u8::try_from(8 + ANSWER.len()).unwrap_or(u8::MAX);
    let goaway = [0, 0, length, 7, 0, 0, 0, 0, 0];
    let reason = [0, 0, 0, 0, 0, 0, 0, INADEQUATE_SECURITY];
    [&SETTINGS[..], &goaway, &reason, ANSWER].concat()
}

impl Connected for Opening {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Opening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) else {
                return self.poll_silence(context);
            };
            read?;
            let came = &buffer.filled()[before..];
            self.note(came.len());
            match self.stage {
                Stage::ExpectsTls if came.starts_with(PREFACE) => {
                    self.stage = Stage::Refused;
                    // So few bytes fit into the buffer of a fresh socket; if not, it goes without.
                    let _ = self.stream.try_write(&farewell());
                }
                Stage::ExpectsTls | Stage::Open => {
                    self.stage = Stage::Open;
                    return Poll::Ready(Ok(()));
                }
                Stage::Refused if came.is_empty() => {
                    let message = "the client spoke plaintext";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
                }
                Stage::Refused => {}
            }
            buffer.set_filled(before);
        }
    }
}

impl AsyncWrite for Opening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    /// A client, and its connection as a server in plaintext has it.
    async fn connection() -> (TcpStream, Opening) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        (client, Opening::new(accepted, false))
    }

    async fn read(opening: &mut Opening) -> Result<usize, io::ErrorKind> {
        let read = opening.read(&mut [0; 64]).await;
        read.map_err(|error| error.kind())
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_is_silent_or_stops_within_the_preface_is_left() {
        let (_client, mut opening) = connection().await;
        assert_eq!(read(&mut opening).await, Err(io::ErrorKind::TimedOut));
        let (mut client, mut opening) = connection().await;
        client.write_all(PREFACE).await.unwrap();
        assert_eq!(read(&mut opening).await, Ok(PREFACE.len()));
        assert_eq!(read(&mut opening).await, Err(io::ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_has_begun_may_be_silent() {
        let (mut client, mut opening) = connection().await;
        client.write_all(&[7; PREFACE_BYTES]).await.unwrap();
        assert_eq!(read(&mut opening).await, Ok(PREFACE_BYTES));
        let later = timeout(PATIENCE * 10, read(&mut opening)).await;
        assert!(later.is_err(), "{later:?}");
    }
}
