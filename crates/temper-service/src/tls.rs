//! TLS from files in PEM. The one crypto provider of the workspace is aws-lc-rs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// How long a handshake may take: whoever connects and says nothing must not stay.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// By what a server proves who it is; flatten it into a binary's arguments.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerTls {
    /// Certificate chain of this server (PEM); with it the server speaks TLS alone
    #[arg(
        long,
        env = "TEMPER_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(
        long,
        env = "TEMPER_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// Certificates of the authority that signs clients' certificates (PEM): clients without one are
    /// refused (mutual TLS)
    #[arg(
        long,
        env = "TEMPER_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_client_ca: Option<PathBuf>,
}

/// Whom a client believes, and by what it proves who it is.
#[derive(Debug, Clone, Default, Args)]
pub struct ClientTls {
    /// Certificates of the authority that signed the servers' certificates (PEM), for https URLs
    /// [default: the system's]
    #[arg(long, env = "TEMPER_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate chain of this client (PEM), for servers that ask for one
    #[arg(
        long,
        env = "TEMPER_TLS_CLIENT_CERT",
        value_name = "FILE",
        requires = "tls_client_key"
    )]
    pub tls_client_cert: Option<PathBuf>,
    /// Private key of the client's certificate (PEM)
    #[arg(
        long,
        env = "TEMPER_TLS_CLIENT_KEY",
        value_name = "FILE",
        requires = "tls_client_cert"
    )]
    pub tls_client_key: Option<PathBuf>,
}

/// A file of certificates or keys that is none.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// It cannot be read.
    #[error("cannot read {what} {}", path.display())]
    Read {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{} holds no {what} in PEM", path.display())]
    NotPem {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
}

impl ServerTls {
    /// Reads the files; none where no certificate is named.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub fn load(&self) -> Result<Option<ServerTlsConfig>, TlsFileError> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let mut config = ServerTlsConfig::new()
            .identity(identity(cert, key)?)
            .timeout(HANDSHAKE);
        if let Some(ca) = &self.tls_client_ca {
            config = config.client_ca_root(Certificate::from_pem(certificate(ca)?));
        }
        Ok(Some(config))
    }
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub fn load(&self) -> Result<ClientTlsConfig, TlsFileError> {
        let mut config = match &self.tls_ca {
            None => ClientTlsConfig::new().with_native_roots(),
            Some(ca) => {
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificate(ca)?))
            }
        };
        if let (Some(cert), Some(key)) = (&self.tls_client_cert, &self.tls_client_key) {
            config = config.identity(identity(cert, key)?);
        }
        Ok(config.timeout(HANDSHAKE))
    }
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, TlsFileError> {
    let key = read(key, "private key", "PRIVATE KEY-----")?;
    Ok(Identity::from_pem(certificate(cert)?, key))
}

fn certificate(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    read(path, "certificate", "-----BEGIN CERTIFICATE-----")
}

/// Reads a file that must have this mark in it: what is left of it is checked by whoever uses it.
fn read(path: &Path, what: &'static str, mark: &str) -> Result<Vec<u8>, TlsFileError> {
    let bytes = fs::read(path).map_err(|source| TlsFileError::Read {
        what,
        path: path.to_owned(),
        source,
    })?;
    if bytes
        .windows(mark.len())
        .any(|part| part == mark.as_bytes())
    {
        return Ok(bytes);
    }
    Err(TlsFileError::NotPem {
        what,
        path: path.to_owned(),
    })
}
