//! TLS 1.2 or 1.3 to the cloud, with the target's own trust anchors or the platform's roots.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::{not_before, server_certificate};
use super::{NetError, Surroundings, bounded};
use crate::model::status::ServerCertificate;
use crate::tunnel::machine::event::Endpoint;
use crate::tunnel::wire::Host;

/// Since the epoch. A clock that shows less is unset: this software did not exist then. The build may set
/// `TETHER_BUILD_DATE` (seconds); without it the date of the first version stands.
pub const BUILD_DATE: Duration = Duration::from_secs(match option_env!("TETHER_BUILD_DATE") {
    Some(seconds) => match u64::from_str_radix(seconds, 10) {
        Ok(seconds) => seconds,
        Err(_) => FIRST_VERSION,
    },
    None => FIRST_VERSION,
});

/// 2026-11-01T00:00:00Z.
const FIRST_VERSION: u64 = 1_793_491_200;

/// An established TLS connection.
#[derive(Debug)]
pub struct TlsConnection {
    /// For HTTP.
    pub stream: TlsStream<TcpStream>,
    /// The server's own certificate.
    pub certificate: Option<ServerCertificate>,
    /// The device's clock is unset and the certificate was judged accordingly.
    pub clock_unset: bool,
}

/// Handshake; the certificate must bear the endpoint's host, an address as an IP address SAN (RFC 6125; RFC 9525).
pub async fn tls(
    surroundings: &Surroundings,
    endpoint: &Endpoint,
    tcp: TcpStream,
) -> Result<TlsConnection, NetError> {
    bounded(async {
        let name = server_name(&endpoint.host)?;
        let roots = roots(&endpoint.trust).await?;
        let clock = Clock::read(surroundings);
        let clock_unset = clock.unset();
        let shown = Arc::default();
        let configuration = configuration(roots, clock, Arc::clone(&shown))?;
        let connector = TlsConnector::from(Arc::new(configuration));
        let connected = connector.connect(name, tcp).await;
        let certificate = shown.get().cloned();
        match connected {
            Ok(stream) => Ok(TlsConnection {
                stream,
                certificate,
                clock_unset,
            }),
            Err(error) => Err(NetError::Tls(error, certificate.map(Box::new))),
        }
    })
    .await
}

fn server_name(host: &Host) -> Result<ServerName<'static>, NetError> {
    match host {
        Host::Address(address) => Ok(ServerName::IpAddress(IpAddr::into(*address))),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error))),
    }
}

/// Before the server has shown a certificate.
fn failed(error: io::Error) -> NetError {
    NetError::Tls(error, None)
}

async fn roots(trust: &BTreeSet<Vec<u8>>) -> Result<RootCertStore, NetError> {
    let mut roots = RootCertStore::empty();
    if trust.is_empty() {
        // Reads a directory of files; anew each time, so that an update of the platform counts at once.
        let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
        let loaded = loaded.map_err(|error| NetError::Trust(error.to_string()))?;
        roots.add_parsable_certificates(loaded.certs);
    } else {
        for anchor in trust {
            let added = roots.add(CertificateDer::from(anchor.as_slice()));
            added.map_err(|error| NetError::Trust(error.to_string()))?;
        }
    }
    Ok(roots)
}

fn configuration(
    roots: RootCertStore,
    clock: Clock,
    shown: Arc<OnceLock<ServerCertificate>>,
) -> Result<ClientConfig, NetError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier {
        inner: WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| NetError::Trust(error.to_string()))?,
        clock,
        shown,
    };
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let mut configuration = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| failed(io::Error::other(error)))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(configuration)
}

/// The time at which certificates are judged.
#[derive(Clone, Copy, Debug)]
struct Clock {
    now: Duration,
    build_date: Duration,
}

impl Clock {
    fn read(surroundings: &Surroundings) -> Self {
        let since_epoch = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap_or(Duration::ZERO)
        };
        Self {
            now: since_epoch((surroundings.clock)()),
            build_date: since_epoch(surroundings.build_date),
        }
    }

    fn unset(self) -> bool {
        self.now < self.build_date
    }

    /// Now; while the clock is unset, the later of the build date and the latest `notBefore` of the chain.
    fn judge_at<'a>(self, chain: impl Iterator<Item = &'a CertificateDer<'a>>) -> UnixTime {
        let at = if self.unset() {
            let latest = chain
                .filter_map(|certificate| not_before(certificate))
                .max();
            latest.map_or(self.build_date, |latest| latest.max(self.build_date))
        } else {
            self.now
        };
        UnixTime::since_unix_epoch(at)
    }
}

/// The verifier of rustls, at the time that [`Clock::judge_at`] says.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    clock: Clock,
    /// What the server has shown, for the state; kept also when it is refused.
    shown: Arc<OnceLock<ServerCertificate>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(certificate) = server_certificate(end_entity) {
            let _ = self.shown.set(certificate); // a handshake has one
        }
        let chain = std::iter::once(end_entity).chain(intermediates);
        let at = self.clock.judge_at(chain);
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
