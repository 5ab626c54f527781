//! Certificates that are right, and each way in which they are not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::{Connection, NetError, Surroundings, TlsConnection, tls};
use super::scripted::{always, json, serve};
use super::{endpoint, surroundings};
use crate::tunnel::machine::event::{AuthenticationOutcome, StepError};
use crate::tunnel::wire::AuthenticationRequest;

struct Server {
    listener: TcpListener,
    certificate: Vec<u8>,
    acceptor: TlsAcceptor,
}

impl Server {
    /// With a certificate for this name or address, valid from 1 January of one year to that of another.
    async fn new(name: &str, years: std::ops::Range<i32>) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            certificate: certificate.to_vec(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }

    /// Dials it as `host`, trusting this certificate.
    async fn dial(
        self,
        surroundings: &Surroundings,
        host: &str,
        trusted: Vec<u8>,
    ) -> Result<TlsConnection, NetError> {
        let address = self.listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (tcp, _) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(tcp).await {
                let granted = r#"{"result":"success","token":"t","expires-in":1}"#;
                serve(stream, vec![always(json(200, "", granted))]).await;
            }
        });
        let mut endpoint = endpoint(host, address.port());
        endpoint.trust = Arc::new(BTreeSet::from([trusted]));
        let tcp = TcpStream::connect(address).await.unwrap();
        tls(surroundings, &endpoint, tcp).await
    }

    async fn dial_trusted(
        self,
        surroundings: &Surroundings,
        host: &str,
    ) -> Result<TlsConnection, NetError> {
        let trusted = self.certificate.clone();
        self.dial(surroundings, host, trusted).await
    }
}

fn refused(done: Result<TlsConnection, NetError>) -> String {
    let error = done.unwrap_err();
    assert_eq!(error.step(), StepError::Tls);
    error.to_string()
}

#[tokio::test]
async fn http_runs_over_a_verified_connection() {
    let server = Server::new("cloud.example", 2026..2030).await;
    let done = server.dial_trusted(&surroundings(), "Cloud.Example.").await;
    let done = done.unwrap();
    assert!(!done.clock_unset);
    let session = done.stream.get_ref().1;
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(
        session.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );

    let endpoint = endpoint("cloud.example", 443);
    let opened = Connection::open(&surroundings(), &endpoint, done.stream).await;
    let request = AuthenticationRequest {
        serial_number: "s1".into(),
        model: "unknown".into(),
        software: "tether/0.1.0".into(),
        unbinding_code: None,
    };
    let mut connection = opened.unwrap();
    let (outcome, _) = connection
        .authenticate(&Mutex::default(), &request, None)
        .await
        .unwrap();
    assert!(matches!(outcome, AuthenticationOutcome::Granted { .. }));
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused() {
    let server = Server::new("cloud.example", 2026..2030).await;
    let other = Server::new("cloud.example", 2026..2030).await.certificate;
    refused(server.dial(&surroundings(), "cloud.example", other).await);
}

#[tokio::test]
async fn a_certificate_of_another_host_is_refused() {
    let server = Server::new("cloud.example", 2026..2030).await;
    let error = refused(
        server
            .dial_trusted(&surroundings(), "elsewhere.example")
            .await,
    );
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn an_address_must_stand_in_the_certificate_as_an_address() {
    let server = Server::new("127.0.0.1", 2026..2030).await;
    let done = server.dial_trusted(&surroundings(), "127.0.0.1").await;
    assert!(done.is_ok());
    let server = Server::new("cloud.example", 2026..2030).await;
    refused(server.dial_trusted(&surroundings(), "127.0.0.1").await);
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    let expired = Server::new("cloud.example", 2020..2026).await;
    let error = refused(expired.dial_trusted(&surroundings(), "cloud.example").await);
    assert!(error.contains("expired"), "{error}");
    let early = Server::new("cloud.example", 2030..2031).await;
    refused(early.dial_trusted(&surroundings(), "cloud.example").await);
}

fn clock_unset() -> Surroundings {
    Surroundings {
        clock: || SystemTime::UNIX_EPOCH + Duration::from_secs(100),
        ..surroundings()
    }
}

#[tokio::test]
async fn an_unset_clock_is_replaced_by_the_later_of_build_date_and_certificate() {
    for years in [2020..2030, 2031..2033] {
        let server = Server::new("cloud.example", years).await;
        let done = server.dial_trusted(&clock_unset(), "cloud.example").await;
        assert!(done.unwrap().clock_unset);
    }
}

#[tokio::test]
async fn an_unset_clock_does_not_revive_what_expired_before_the_build() {
    let server = Server::new("cloud.example", 2020..2026).await;
    refused(server.dial_trusted(&clock_unset(), "cloud.example").await);
    let server = Server::new("cloud.example", 2020..2030).await;
    refused(
        server
            .dial_trusted(&clock_unset(), "elsewhere.example")
            .await,
    );
}

#[tokio::test]
async fn a_trust_anchor_that_is_no_certificate_trusts_nothing() {
    let server = Server::new("cloud.example", 2026..2030).await;
    refused(
        server
            .dial(&surroundings(), "cloud.example", b"no".to_vec())
            .await,
    );
}
