//! A line between two processes that can be cut, or made to hold a message back.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// What only a Complete says: of a training the name of its model's file, of an evaluation a strength
/// (field 1 of a point, five bytes long).
const COMPLETE: [&[u8]; 2] = [b"/model.safetensors", b"\x0a\x051/255"];
const BUFFER: usize = 64 << 10;

/// Where a line leads.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// To a port.
    Tcp(SocketAddr),
    /// To a socket.
    Unix(PathBuf),
}

/// Whether what a client sends passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Open,
    /// The next Complete will close it.
    Armed,
    /// A Complete waits, and all that was sent after it.
    Held,
}

/// The gate of all lines of one client. Clones share it.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<Passage>);

/// A line. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    /// Changes when the connections are to break.
    cuts: watch::Sender<u64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(Passage::Open))
    }
}

impl Gate {
    /// Holds the next Complete that comes, and waits for it.
    pub async fn hold_next_complete(&self) {
        let mut passage = self.0.subscribe();
        self.0.send_replace(Passage::Armed);
        // Fails only once the gate is gone, and we have it.
        let _held = passage.wait_for(|passage| *passage == Passage::Held).await;
    }

    /// Lets everything pass.
    pub fn open(&self) {
        self.0.send_replace(Passage::Open);
    }

    /// Waits while what was read may not pass.
    async fn pass(&self, bytes: &[u8]) {
        let has = |part: &[u8]| bytes.windows(part.len()).any(|found| found == part);
        let is_complete = || COMPLETE.into_iter().any(has);
        self.0.send_if_modified(|passage| {
            let closes = *passage == Passage::Armed && is_complete();
            if closes {
                *passage = Passage::Held;
            }
            closes
        });
        let mut passage = self.0.subscribe();
        let _open = passage.wait_for(|passage| *passage != Passage::Held).await;
    }
}

impl Proxy {
    /// Opens a line on a free port.
    ///
    /// # Errors
    /// When the machine has no port to give.
    pub async fn start(upstream: Upstream, gate: Gate) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let cuts = watch::Sender::new(0);
        // Ends when the proxy is dropped, and its connections with it: they watch `cuts`.
        let accepting = tokio::spawn(accept(listener, upstream, gate, cuts.clone()));
        Ok(Self {
            address,
            cuts,
            accepting,
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection. New ones are taken.
    pub fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, upstream: Upstream, gate: Gate, cuts: watch::Sender<u64>) {
    // A connection that is broken before it is taken is the client's to make anew.
    while let Ok((client, _)) = listener.accept().await {
        let (upstream, gate, mut cut) = (upstream.clone(), gate.clone(), cuts.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                // Whoever fails here is told by the end of the connection.
                _ended = serve(client, upstream, &gate) => {}
                _cut = cut.changed() => {}
            }
        });
    }
}

async fn serve(client: TcpStream, upstream: Upstream, gate: &Gate) -> io::Result<()> {
    client.set_nodelay(true)?;
    match upstream {
        Upstream::Tcp(address) => {
            let server = TcpStream::connect(address).await?;
            server.set_nodelay(true)?;
            join(client.into_split(), server.into_split(), gate).await
        }
        Upstream::Unix(path) => {
            let server = UnixStream::connect(path).await?;
            join(client.into_split(), server.into_split(), gate).await
        }
    }
}

/// Passes bytes both ways until one side is done: half-open connections are of no use to gRPC or
/// PostgreSQL.
async fn join(
    (mut client, mut to_client): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    (mut server, mut to_server): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    gate: &Gate,
) -> io::Result<()> {
    let forth = async {
        let mut bytes = vec![0; BUFFER];
        loop {
            let read = client.read(&mut bytes).await?;
            if read == 0 {
                return Ok(());
            }
            gate.pass(&bytes[..read]).await;
            to_server.write_all(&bytes[..read]).await?;
        }
    };
    let back = async {
        tokio::io::copy(&mut server, &mut to_client).await?;
        Ok(())
    };
    tokio::select! {
        ended = forth => ended,
        ended = back => ended,
    }
}

/// A line that nothing holds up.
///
/// # Errors
/// As [`Proxy::start`].
pub async fn plain(upstream: Upstream) -> io::Result<Arc<Proxy>> {
    Proxy::start(upstream, Gate::default()).await.map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((peer, _)) = listener.accept().await {
                let (mut from, mut to) = peer.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        address
    }

    async fn say(peer: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        peer.write_all(text).await?;
        let mut heard = vec![0; text.len()];
        peer.read_exact(&mut heard).await?;
        Ok(heard)
    }

    #[tokio::test]
    async fn cut_breaks_what_is_there_and_takes_new_connections() {
        let proxy = plain(Upstream::Tcp(echo().await)).await.unwrap();
        let mut first = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut first, b"one").await.unwrap(), b"one");
        proxy.cut();
        assert!(say(&mut first, b"two").await.is_err());
        let mut second = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut second, b"three").await.unwrap(), b"three");
    }

    #[tokio::test]
    async fn complete_is_held_until_the_gate_opens_and_nothing_else_is() {
        let gate = Gate::default();
        let proxy = Proxy::start(Upstream::Tcp(echo().await), gate.clone());
        let proxy = proxy.await.unwrap();
        let mut peer = TcpStream::connect(proxy.address()).await.unwrap();
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.hold_next_complete().await }
        });
        gate.0
            .subscribe()
            .wait_for(|passage| *passage == Passage::Armed)
            .await
            .unwrap();
        assert_eq!(say(&mut peer, b"heartbeat").await.unwrap(), b"heartbeat");
        peer.write_all(b"key/3/model.safetensors").await.unwrap();
        waiting.await.unwrap();
        let mut heard = [0; 23];
        let early = tokio::time::timeout(
            std::time::Duration::from_millis(50),
            peer.read_exact(&mut heard),
        );
        assert!(early.await.is_err());
        gate.open();
        peer.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"key/3/model.safetensors");
    }
}
