//! Certificates that are right, and each way in which they are not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::{Connection, NetError, Surroundings, TlsConnection, tls};
use super::scripted::{always, json, serve};
use super::{endpoint, surroundings};
use crate::tunnel::machine::event::{AuthenticationOutcome, StepError};
use crate::tunnel::wire::AuthenticationRequest;

type Authority = CertifiedIssuer<'static, KeyPair>;

struct Server {
    listener: TcpListener,
    /// The server's own.
    certificate: Vec<u8>,
    acceptor: TlsAcceptor,
}

/// For this name or address, valid from 1 January of one year to that of another.
fn params(name: &str, years: std::ops::Range<i32>) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.start, 1, 1);
    params.not_after = date_time_ymd(years.end, 1, 1);
    params
}

fn authority_params(name: &str, years: std::ops::Range<i32>) -> CertificateParams {
    let mut params = params(name, years);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn root(name: &str) -> Authority {
    let key = KeyPair::generate().unwrap();
    CertifiedIssuer::self_signed(authority_params(name, 2020..2040), key).unwrap()
}

fn intermediate(years: std::ops::Range<i32>, root: &Authority) -> Authority {
    let key = KeyPair::generate().unwrap();
    let params = authority_params("intermediate", years);
    CertifiedIssuer::signed_by(params, key, root).unwrap()
}

impl Server {
    /// With a certificate that it signed itself.
    async fn new(name: &str, years: std::ops::Range<i32>) -> Self {
        let key = KeyPair::generate().unwrap();
        let own = params(name, years).self_signed(&key).unwrap();
        Self::with(vec![own.der().clone()], &key).await
    }

    /// With one that `issuer` signed, sent with those above it.
    async fn signed(years: std::ops::Range<i32>, issuer: &Authority, above: &[&Authority]) -> Self {
        let key = KeyPair::generate().unwrap();
        let own = params("cloud.example", years)
            .signed_by(&key, issuer)
            .unwrap();
        let above = above.iter().map(|authority| authority.der().clone());
        let chain = std::iter::once(own.der().clone()).chain(above);
        Self::with(chain.collect(), &key).await
    }

    async fn with(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        let certificate = chain[0].to_vec();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            certificate,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }

    /// Dials it as `host`, trusting this certificate.
    async fn dial(
        self,
        surroundings: &Surroundings,
        host: &str,
        trusted: impl IntoIterator<Item = Vec<u8>>,
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
        endpoint.trust = Arc::new(BTreeSet::from_iter(trusted));
        let tcp = TcpStream::connect(address).await.unwrap();
        tls(surroundings, &endpoint, tcp).await
    }

    /// Dials it by its name, trusting these authorities.
    async fn trusting(self, anchors: &[&Authority]) -> Result<TlsConnection, NetError> {
        let trusted = anchors.iter().map(|anchor| anchor.der().to_vec());
        self.dial(&surroundings(), "cloud.example", trusted).await
    }

    async fn dial_trusted(
        self,
        surroundings: &Surroundings,
        host: &str,
    ) -> Result<TlsConnection, NetError> {
        let trusted = self.certificate.clone();
        self.dial(surroundings, host, [trusted]).await
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
    refused(server.dial(&surroundings(), "cloud.example", [other]).await);
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
    let server = Server::new("::1", 2026..2030).await;
    let done = server.dial_trusted(&surroundings(), "::1").await;
    assert!(done.is_ok());
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
            .dial(&surroundings(), "cloud.example", [b"no".to_vec()])
            .await,
    );
}

fn der(authority: &Authority) -> Vec<u8> {
    authority.der().to_vec()
}

#[tokio::test]
async fn one_of_several_trust_anchors_is_enough() {
    let [first, second, third] = ["first", "second", "third"].map(root);
    let server = Server::signed(2026..2030, &second, &[]).await;
    let done = server.trusting(&[&first, &second, &third]).await.unwrap();
    let certificate = done.certificate.unwrap();
    assert!(certificate.issuer.contains("second"), "{certificate:?}");
}

#[tokio::test]
async fn an_anchor_that_is_the_certificate_of_another_authority_does_not_help() {
    let (known, unknown) = (root("authority"), root("authority"));
    let server = Server::signed(2026..2030, &unknown, &[&unknown]).await;
    refused(server.trusting(&[&known]).await);
}

/// RFC 5280, section 6.1: an anchor says who may sign, and a server does not sign itself.
#[tokio::test]
async fn an_anchor_that_is_the_servers_own_certificate_counts_only_if_it_signed_itself() {
    let server = Server::signed(2026..2030, &root("authority"), &[]).await;
    refused(server.dial_trusted(&surroundings(), "cloud.example").await);
    let server = Server::new("cloud.example", 2026..2030).await;
    let done = server.dial_trusted(&surroundings(), "cloud.example").await;
    assert!(done.is_ok());
}

#[tokio::test]
async fn a_chain_is_followed_and_a_missing_intermediate_is_missed() {
    let root = root("authority");
    let between = intermediate(2025..2031, &root);
    let server = Server::signed(2026..2030, &between, &[&between]).await;
    assert!(server.trusting(&[&root]).await.is_ok());
    let server = Server::signed(2026..2030, &between, &[]).await;
    refused(server.trusting(&[&root]).await);
    // The intermediate may be the anchor just as well.
    let server = Server::signed(2026..2030, &between, &[]).await;
    assert!(server.trusting(&[&between]).await.is_ok());
}

#[tokio::test]
async fn an_expired_intermediate_is_refused() {
    let root = root("authority");
    let between = intermediate(2020..2026, &root);
    let server = Server::signed(2020..2030, &between, &[&between]).await;
    refused(server.trusting(&[&root]).await);
}

#[tokio::test]
async fn an_unset_clock_takes_the_latest_start_of_the_whole_chain() {
    let root = root("authority");
    // The first alone would be judged before its intermediate began, the last has ended by then.
    for (years, expected) in [(2026..2036, true), (2033..2036, true), (2025..2031, false)] {
        let between = intermediate(2032..2035, &root);
        let server = Server::signed(years, &between, &[&between]).await;
        let done = server
            .dial(&clock_unset(), "cloud.example", [der(&root)])
            .await;
        assert_eq!(done.is_ok(), expected);
    }
}

#[tokio::test]
async fn the_certificate_is_shown_whether_or_not_it_is_accepted() {
    let end_of = |years: std::ops::Range<i32>| async move {
        let server = Server::new("cloud.example", years).await;
        match server.dial_trusted(&surroundings(), "cloud.example").await {
            Ok(done) => (true, done.certificate.unwrap().not_after),
            Err(error) => (false, error.certificate().unwrap().not_after),
        }
    };
    let seconds = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(end_of(2026..2030).await, (true, seconds(1_893_456_000)));
    assert_eq!(end_of(2020..2026).await, (false, seconds(1_767_225_600)));
}
