//! Connections as they open: who speaks plaintext to a server of TLS is told so, in plaintext.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How every HTTP/2 client begins in plaintext (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI ";
/// What it is told.
const ANSWER: &[u8] = b"this server speaks TLS: use https";
/// An error code of HTTP/2 (RFC 9113, section 7).
const INADEQUATE_SECURITY: u8 = 0xc;

/// A connection that was just accepted.
pub(crate) struct Opening {
    stream: TcpStream,
    stage: Stage,
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
        Self { stream, stage }
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
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let came = &buffer.filled()[before..];
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
