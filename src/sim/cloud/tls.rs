//! The cloud's certificates: made at start by an authority of its own, or given as PEM.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A name that no test asks for.
const OTHER_NAME: &str = "someone-else.invalid";

/// A certificate chain and its key, PEM text.
#[derive(Clone)]
pub struct Pem {
    /// The server certificate first.
    pub chain: String,
    /// PKCS #8, SEC1 or PKCS #1.
    pub key: String,
}

/// What is wrong with a certificate that is shown on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is for another name.
    OtherName,
    /// Its validity ended in 2021.
    Expired,
    /// Its validity starts in 2090.
    NotYetValid,
    /// Another authority signed it.
    UnknownAuthority,
}

/// Certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rcgen refused, most often a name that is neither a DNS name nor an IP address.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The PEM text given holds no certificate or no key.
    #[error("cannot read the certificate or its key: {0}")]
    Read(#[from] rustls::pki_types::pem::Error),
    /// rustls refused certificate and key together.
    #[error("cannot use the certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// The server configurations for good and for flawed handshakes.
pub(super) struct Identities {
    authority: String,
    good: Arc<ServerConfig>,
    flawed: Vec<(Flaw, Arc<ServerConfig>)>,
}

impl Identities {
    /// For these DNS names and IP addresses, with certificates made now unless `given`.
    pub(super) fn new(names: &[String], given: Option<&Pem>) -> Result<Self, TlsError> {
        let authority = authority("tether reference cloud CA")?;
        let stranger = authority_of_nobody()?;
        let other = [OTHER_NAME.to_owned()];
        let flawed = [
            (Flaw::OtherName, leaf(&authority, &other, (2020, 2090))?),
            (Flaw::Expired, leaf(&authority, names, (2020, 2021))?),
            (Flaw::NotYetValid, leaf(&authority, names, (2090, 2091))?),
            (
                Flaw::UnknownAuthority,
                leaf(&stranger, names, (2020, 2090))?,
            ),
        ];
        let flawed = flawed
            .into_iter()
            .map(|(flaw, pem)| Ok((flaw, server_config(&pem)?)));
        let flawed = flawed.collect::<Result<_, TlsError>>()?;
        match given {
            Some(pem) => Ok(Self {
                authority: pem.chain.clone(),
                good: server_config(pem)?,
                flawed,
            }),
            None => {
                let good = server_config(&leaf(&authority, names, (2020, 2090))?)?;
                Ok(Self {
                    authority: authority.pem(),
                    good,
                    flawed,
                })
            }
        }
    }

    /// What a device must trust, PEM: the authority made at start, or the chain that was given.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn config(&self, flaw: Option<Flaw>) -> Arc<ServerConfig> {
        let flawed = flaw.and_then(|flaw| self.flawed.iter().find(|(f, _)| *f == flaw));
        Arc::clone(flawed.map_or(&self.good, |(_, config)| config))
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Result<Authority, TlsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2091, 1, 1);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn authority_of_nobody() -> Result<Authority, TlsError> {
    authority("an authority that nobody trusts")
}

/// A server certificate valid from the first year's January to the second's.
fn leaf(authority: &Authority, names: &[String], (from, to): (i32, i32)) -> Result<Pem, TlsError> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "tether reference cloud");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok(Pem {
        chain: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn server_config(pem: &Pem) -> Result<Arc<ServerConfig>, TlsError> {
    let chain =
        CertificateDer::pem_slice_iter(pem.chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes())?;
    let provider: CryptoProvider = rustls::crypto::ring::default_provider();
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
