//! Name → addresses: the static host map, then the hosts file, then DNS; anew for each attempt.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{
    NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::NetError as DnsError;
use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{
    RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use socket2::Type;
use tokio::net::{TcpStream, UdpSocket};

use super::connect::socket;
use super::{NetError, Surroundings, bounded};
use crate::model::settings::DnsSettings;
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

async fn query(
    dns: &DnsSettings,
    name: &str,
    family: Family,
    path: &Path,
) -> Result<Vec<IpAddr>, NetError> {
    let failed = |error| NetError::Dns(Box::new(error));
    let (config, options) = configuration(dns, path).map_err(failed)?;
    // A missing VRF or source address would otherwise show as resolvers that do not answer.
    if let Some(server) = config.name_servers().first() {
        socket(server.ip.is_ipv4(), Type::DGRAM, &matching(path, server.ip))?;
    }
    let resolver = Resolver::builder_with_config(config, Runtime::new(path))
        .with_options(options)
        .build()
        .map_err(failed)?;
    let record = match family {
        Family::Ipv4 => RecordType::A,
        Family::Ipv6 => RecordType::AAAA,
    };
    let name = Name::from_utf8(name).map_err(|error| failed(error.into()))?;
    let answer = resolver.lookup(name, record).await.map_err(failed)?;
    let addresses = answer
        .answers()
        .iter()
        .filter_map(|record| record.data.ip_addr());
    let addresses: Vec<_> = addresses.collect();
    of_family(Some(&addresses), family).ok_or(NetError::NoAddress)
}

fn configuration(
    dns: &DnsSettings,
    path: &Path,
) -> Result<(ResolverConfig, ResolverOpts), DnsError> {
    let (mut config, mut options) = if dns.servers.is_empty() {
        read_system_conf()?
    } else {
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
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        (
            ResolverConfig::from_parts(None, search, servers.collect()),
            options,
        )
    };
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    for server in &mut config.name_servers {
        let source = matching(path, server.ip).source;
        for connection in &mut server.connections {
            connection.bind_addr = source.map(|source| SocketAddr::new(source, 0));
        }
    }
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
