//! Name → addresses: the static host map, then the hosts file, then DNS; anew for each attempt.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{
    RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use hickory_resolver::net::{DnsError as Answered, NetError as DnsError, NoRecords};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use socket2::Type;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::connect::socket;
use super::{NetError, Surroundings, bounded};
use crate::model::settings::DnsSettings;
use crate::tunnel::machine::STEP_DEADLINE;
use crate::tunnel::machine::event::Endpoint;
use crate::tunnel::target::{Family, Path};
use crate::tunnel::wire::Host;

/// Time for one query where none is configured (RFC 7317, `dns-resolver/options/timeout`).
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts for each resolver where none are configured (RFC 7317, `dns-resolver/options/attempts`).
const QUERY_ATTEMPTS: u8 = 2;

/// The addresses to try, in order; never empty. An address literal is returned as it is.
///
/// The first of these that knows an address of the family is believed: the static host map, the hosts file, the
/// configured resolvers or, without any, the system's. Queries leave by the endpoint's source address and VRF.
pub async fn resolve(
    surroundings: &Surroundings,
    dns: &DnsSettings,
    endpoint: &Endpoint,
) -> Result<Vec<IpAddr>, NetError> {
    let name = match &endpoint.host {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name,
    };
    bounded(async {
        let known = dns.hosts.iter().find(|(other, _)| other == name);
        if let Some(found) = of_family(known.map(|(_, all)| all.as_slice()), endpoint.family) {
            return Ok(found);
        }
        // Without a readable file the device simply has no further hosts.
        let file = tokio::fs::read(&surroundings.hosts_file).await;
        let file = String::from_utf8_lossy(file.as_deref().unwrap_or_default()).into_owned();
        let listed = super::hosts::addresses(&file, name);
        if let Some(found) = of_family(Some(&listed), endpoint.family) {
            return Ok(found);
        }
        query(dns, name, endpoint.family, &endpoint.path).await
    })
    .await
}

fn of_family(addresses: Option<&[IpAddr]>, family: Family) -> Option<Vec<IpAddr>> {
    let fits = |address: &&IpAddr| address.is_ipv4() == (family == Family::Ipv4);
    let found: Vec<_> = addresses?.iter().filter(fits).copied().collect();
    (!found.is_empty()).then_some(found)
}

/// Asks one resolver after the other, each anew as often as configured, until one answers (RFC 7317,
/// `dns-resolver/options`). That a name does not exist is an answer; that a resolver cannot say is none.
async fn query(
    dns: &DnsSettings,
    name: &str,
    family: Family,
    path: &Path,
) -> Result<Vec<IpAddr>, NetError> {
    let (config, mut options) = configuration(dns, path).map_err(failed)?;
    // A missing VRF or source address would otherwise show as resolvers that do not answer.
    if let Some(server) = config.name_servers().first() {
        socket(server.ip.is_ipv4(), Type::DGRAM, &matching(path, server.ip))?;
    }
    let name = Name::from_utf8(name).map_err(|error| failed(error.into()))?;
    let candidates = candidates(&name, &config, options.ndots);
    let servers = config.name_servers();
    let rounds = options.attempts.max(1);
    // The last of them is to have its turn within the step, whatever is configured.
    let turns = u32::try_from(servers.len()).unwrap_or(u32::MAX).max(1);
    options.timeout = options.timeout.min(STEP_DEADLINE / turns);
    options.attempts = 0; // in a turn, beyond what UDP repeats by itself
    let mut last = NetError::NoAddress;
    for server in servers.iter().cycle().take(servers.len() * rounds) {
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server.clone()]);
        let resolver = Resolver::builder_with_config(config, Runtime::new(path))
            .with_options(options.clone())
            .build()
            .map_err(failed)?;
        match timeout(options.timeout, ask(&resolver, &candidates, family)).await {
            Ok(Ok(addresses)) => return Ok(addresses),
            Ok(Err(error)) if is_negative(&error) => return Err(failed(error)),
            Ok(Err(error)) => last = failed(error),
            Err(_) => last = failed(DnsError::Timeout),
        }
    }
    Err(last)
}

fn failed(error: DnsError) -> NetError {
    NetError::Dns(Box::new(error))
}

/// The names to ask for, in order: those of the search list come after a name that has dots enough, else before it
/// (resolv.conf(5), `ndots`).
fn candidates(name: &Name, config: &ResolverConfig, ndots: usize) -> Vec<Name> {
    let mut absolute = name.clone();
    absolute.set_fqdn(true);
    let domains = config.domain().into_iter().chain(config.search());
    let mut names: Vec<Name> = domains
        .filter_map(|domain| name.clone().append_domain(domain).ok())
        .collect();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let place = if dots >= ndots { 0 } else { names.len() };
    names.insert(place, absolute);
    names
}

/// What one resolver knows: the addresses of the first of the names that has any. A name of which it cannot say anything
/// is followed by the next; if none has an address, it has not answered.
async fn ask(
    resolver: &Resolver<Runtime>,
    names: &[Name],
    family: Family,
) -> Result<Vec<IpAddr>, DnsError> {
    let record = match family {
        Family::Ipv4 => RecordType::A,
        Family::Ipv6 => RecordType::AAAA,
    };
    let (mut nothing, mut unsaid) = (None, None);
    for name in names {
        match resolver.lookup(name.clone(), record).await {
            Ok(answer) => {
                let all = addresses(answer.answers(), name);
                if let Some(found) = of_family(Some(&all), family) {
                    return Ok(found);
                }
                let query = Query::query(name.clone(), record);
                nothing = Some(NoRecords::new(query, ResponseCode::NoError).into());
            }
            Err(error) if is_negative(&error) => nothing = Some(error),
            Err(error @ DnsError::Dns(_)) => unsaid = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(unsaid.or(nothing).unwrap_or(DnsError::NoConnections))
}

/// Whether a resolver knows that there is nothing.
fn is_negative(error: &DnsError) -> bool {
    let DnsError::Dns(Answered::NoRecordsFound(none)) = error else {
        return false;
    };
    matches!(
        none.response_code,
        ResponseCode::NXDomain | ResponseCode::NoError
    )
}

/// The addresses of a name and of those that it is an alias of; what else a resolver adds is not asked for.
fn addresses(records: &[Record], name: &Name) -> Vec<IpAddr> {
    let mut owners = vec![name];
    for record in records {
        if let RData::CNAME(alias) = &record.data
            && owners.contains(&&record.name)
        {
            owners.push(&alias.0);
        }
    }
    let own = records
        .iter()
        .filter(|record| owners.contains(&&record.name));
    own.filter_map(|record| record.data.ip_addr()).collect()
}

fn configuration(
    dns: &DnsSettings,
    path: &Path,
) -> Result<(ResolverConfig, ResolverOpts), DnsError> {
    let (mut config, mut options) = if dns.servers.is_empty() {
        read_system_conf()?
    } else {
        configured(dns)?
    };
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    // Aliases are followed here, so they are to be seen.
    options.preserve_intermediates = true;
    for server in &mut config.name_servers {
        let source = matching(path, server.ip).source;
        for connection in &mut server.connections {
            connection.bind_addr = source.map(|source| SocketAddr::new(source, 0));
        }
    }
    Ok((config, options))
}

fn configured(dns: &DnsSettings) -> Result<(ResolverConfig, ResolverOpts), DnsError> {
    let search = dns.search.iter().map(Name::from_utf8);
    let search = search.collect::<Result<_, _>>()?;
    let servers = dns.servers.iter().map(|(address, port)| {
        let mut server = NameServerConfig::udp_and_tcp(*address);
        for connection in &mut server.connections {
            connection.port = *port;
        }
        server
    });
    let mut options = ResolverOpts::default();
    options.timeout = match dns.timeout {
        Duration::ZERO => QUERY_TIMEOUT,
        timeout => timeout,
    };
    options.attempts = usize::from(match dns.attempts {
        0 => QUERY_ATTEMPTS,
        attempts => attempts,
    });
    let config = ResolverConfig::from_parts(None, search, servers.collect());
    Ok((config, options))
}

/// The path to a resolver: a source address of the other family does not apply to it.
fn matching(path: &Path, resolver: IpAddr) -> Path {
    Path {
        source: path
            .source
            .filter(|source| source.is_ipv4() == resolver.is_ipv4()),
        vpn_instance: path.vpn_instance.clone(),
    }
}

/// Opens the resolver's sockets inside the VRF.
#[derive(Clone)]
struct Runtime {
    tokio: TokioRuntimeProvider,
    vpn_instance: Option<String>,
}

impl Runtime {
    fn new(path: &Path) -> Self {
        Self {
            tokio: TokioRuntimeProvider::new(),
            vpn_instance: path.vpn_instance.clone(),
        }
    }

    fn socket(&self, kind: Type, local: SocketAddr) -> io::Result<socket2::Socket> {
        let domain = socket2::Domain::for_address(local);
        let socket = socket2::Socket::new(domain, kind, None)?;
        socket.set_nonblocking(true)?;
        if let Some(device) = &self.vpn_instance {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        socket.bind(&local.into())?;
        Ok(socket)
    }
}

type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

impl RuntimeProvider for Runtime {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        wait: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        let unspecified = if server.is_ipv4() {
            SocketAddr::from(([0; 4], 0))
        } else {
            SocketAddr::from(([0; 8], 0))
        };
        let socket = self.socket(Type::STREAM, local.unwrap_or(unspecified));
        Box::pin(async move {
            let socket = tokio::net::TcpSocket::from_std_stream(socket?.into());
            let wait = wait.unwrap_or(QUERY_TIMEOUT);
            let stream = tokio::time::timeout(wait, socket.connect(server)).await??;
            Ok(AsyncIoTokioAsStd(stream))
        })
    }

    fn bind_udp(&self, local: SocketAddr, _server: SocketAddr) -> Opening<Self::Udp> {
        let socket = self.socket(Type::DGRAM, local);
        Box::pin(async move { UdpSocket::from_std(socket?.into()) })
    }
}
