//! The reference cloud as a program.
//!
//! ```sh
//! cargo run --example cloud -- --config examples/cloud.toml --listen 127.0.0.1:0 --ca-out /tmp/ca.pem
//! ```
//!
//! Prints `cloud: ready https=127.0.0.1:PORT` once it listens, then a line for each step of each device. With
//! `--netconf-listen 127.0.0.1` it also prints `cloud: netconf SERIAL 127.0.0.1:PORT` when a device first offers its service
//! netconf: a port that leads to the device's own SSH server. Reads commands
//! from standard input (`help` lists them). Ends in order on SIGINT and SIGTERM.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::io::{IsTerminal as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tether::sim::cloud::{
    Authentication, Cloud, CloudConfig, Device, Event, Misbehaviour, ServiceOffer, Sink, Step, What,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Commands read ahead of the one being done.
const COMMANDS: usize = 16;

/// A reference cloud: TLS, the eleven steps, and misbehaviour on request.
#[derive(Parser)]
struct Arguments {
    /// Devices and rules, as described in examples/cloud.toml.
    #[arg(long)]
    config: PathBuf,
    /// Address and port to listen on; several may be given. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: Vec<SocketAddr>,
    /// Writes the certificate that devices must trust (PEM) to this file.
    #[arg(long)]
    ca_out: Option<PathBuf>,
    /// Writes the ports to this file, one a line, in the order of --listen.
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// Address at which each device gets a port for managers (service netconf).
    #[arg(long, value_name = "ADDRESS")]
    netconf_listen: Option<IpAddr>,
    /// Prints TCP connections, requests and pings too.
    #[arg(long, short)]
    verbose: bool,
}

/// Why the program ended early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] tether::sim::cloud::ConfigError),
    #[error(transparent)]
    Start(#[from] tether::sim::cloud::StartError),
    #[error("cannot write {}: {error}", path.display())]
    Write {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cloud: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut config = CloudConfig::load(&arguments.config)?;
    config.listen = arguments.listen;
    config.netconf_listen = arguments.netconf_listen.or(config.netconf_listen);
    config.sink = Some(printer(arguments.verbose));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
    let mut cloud = Cloud::start(config).await?;
    if let Some(path) = arguments.ca_out {
        write(path, cloud.ca_pem())?;
    }
    let addresses = cloud.addrs();
    if let Some(path) = arguments.port_file {
        let ports: String = addresses
            .iter()
            .map(|address| format!("{}\n", address.port()))
            .collect();
        write(path, &ports)?;
    }
    let ready: String = addresses
        .iter()
        .map(|address| format!(" https={address}"))
        .collect();
    say(&format!("cloud: ready{ready}"));
    let mut commands = standard_input();
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            Some(line) = commands.recv() => match obey(&mut cloud, &line).await {
                Ok(Some(answer)) => say(&answer),
                Ok(None) => break,
                Err(why) => say(&format!("cloud: {why}")),
            },
        }
    }
    cloud.shutdown().await;
    say("cloud: ended");
    Ok(())
}

fn write(path: PathBuf, text: &str) -> Result<(), Failure> {
    std::fs::write(&path, text).map_err(|error| Failure::Write { path, error })
}

/// Prints a line; a reader that has gone away does not matter.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Lines of standard input, read by a thread of its own since a read cannot be cancelled. At its end the program
/// goes on without commands.
fn standard_input() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(COMMANDS);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { break };
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Prints each step, coloured on a terminal; the details between the steps when verbose.
fn printer(verbose: bool) -> Sink {
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Arc::new(move |event: &Event| {
        if !verbose && is_detail(&event.what) {
            return;
        }
        if let (What::NetconfDoor(address), Some(serial)) = (&event.what, &event.serial) {
            return say(&format!("cloud: netconf {serial} {address}"));
        }
        let time = chrono::DateTime::<chrono::Local>::from(event.at).format("%H:%M:%S%.3f");
        let line = format!("{time} {event}");
        match colour(&event.what).filter(|_| coloured) {
            Some(code) => say(&format!("\x1b[{code}m{line}\x1b[0m")),
            None => say(&line),
        }
    })
}

/// Whether it is no step of the protocol.
fn is_detail(what: &What) -> bool {
    matches!(
        what,
        What::Accepted { .. } | What::Request { .. } | What::Ping(_) | What::Pong(_) | What::Ended
    )
}

/// The SGR colour of an event: green for what came up, red for what was refused or lost, grey for detail.
fn colour(what: &What) -> Option<&'static str> {
    match what {
        What::MainUp { .. } | What::ServiceUp(_) | What::Registered { .. } => Some("32"),
        What::Authentication(Authentication::Success { .. } | Authentication::CodeAccepted) => {
            Some("32")
        }
        What::Authentication(Authentication::Challenged) => None,
        What::Unbind { accepted, .. } => Some(if *accepted { "32" } else { "31" }),
        What::Authentication(_) | What::TlsFailed(_) | What::RegistrationRefused { .. } => {
            Some("31")
        }
        What::UpgradeRefused { .. } | What::Lost { .. } | What::Refused(_) => Some("31"),
        What::Misbehaved { .. } | What::Closing { .. } | What::PeerClosed { .. } => Some("33"),
        What::Accepted { .. } | What::Request { .. } | What::Ended => Some("90"),
        _ => None,
    }
}

const HELP: &str = "\
commands:
  device SERIAL [PASSWORD]        add a device
  password SERIAL [PASSWORD]      change its password; none lets it in unchallenged
  bind SERIAL [USER]              bind it to a user, or to nobody
  unbind-code SERIAL CODE         add an unbinding code
  remove SERIAL                   forget it; an open connection of it stays
  services [NAME[:REVISION] ...]  replace the subconnection list and send it; another revision is another URL
  limit NUMBER                    subconnections that a device may have
  close [SERIAL [CODE]]           close the main connection (code 1000); SERIAL as below
  disconnect [SERIAL [SECONDS]]   ask the device to leave; without SERIAL the only one connected
  close-service SERIAL NAME [N]   close a subconnection (code 1000)
  send SERIAL TEXT                send a text message on the main connection
  go-away SERIAL                  take leave of the yamux session of its service netconf
  misbehave STEP WHAT             for example: misbehave authentication busy 503 5
  behave [STEP]                   do that step, or all, rightly again
  kill                            reset every TCP connection
  stop                            refuse connections, end those that are open
  start                           listen again on the same ports
  expire                          make tokens and nonces expire
  status                          who is connected
  quit                            end";

/// Does one command: what to print, or `None` to end.
async fn obey(cloud: &mut Cloud, line: &str) -> Result<Option<String>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some((&command, arguments)) = words.split_first() else {
        return Ok(Some(String::new()));
    };
    match command {
        "quit" => return Ok(None),
        "help" => return Ok(Some(HELP.to_owned())),
        "status" => return Ok(Some(status(cloud))),
        "stop" => cloud.stop(true).await,
        "start" => cloud.resume().await.map_err(|error| error.to_string())?,
        "kill" => cloud.kill_connections(),
        "expire" => {
            cloud.expire_tokens();
            cloud.forget_nonces();
        }
        "services" => cloud.set_services(offers(arguments)?),
        "limit" => cloud.set_subconnection_limit(number(command, arguments.first())?),
        "close-service" => close_service(cloud, arguments)?,
        "misbehave" | "behave" => misbehave(cloud, command, arguments)?,
        "close" | "disconnect" | "send" | "go-away" => order(cloud, command, arguments)?,
        _ => register(cloud, command, arguments)?,
    }
    Ok(Some(format!("cloud: {command} done")))
}

fn offers(words: &[&str]) -> Result<Vec<ServiceOffer>, String> {
    let offer = |word: &&str| match word.split_once(':') {
        None => Ok(ServiceOffer::new(*word)),
        Some((name, revision)) => {
            Ok(ServiceOffer::new(name).revision(number("services", Some(&revision))?))
        }
    };
    words.iter().map(offer).collect()
}

fn number<T: FromStr>(command: &str, word: Option<&&str>) -> Result<T, String> {
    let word = word.ok_or_else(|| format!("{command}: a number is missing"))?;
    word.parse()
        .map_err(|_| format!("{command}: {word:?} is not a number"))
}

fn close_service(cloud: &Cloud, arguments: &[&str]) -> Result<(), String> {
    let [serial, service, code @ ..] = arguments else {
        return Err("close-service: say which serial number and which service".to_owned());
    };
    let code = match code.first() {
        Some(_) => number("close-service", code.first())?,
        None => 1000,
    };
    let closed = cloud.close_service(serial, service, code);
    closed.map_err(|error| error.to_string())
}

/// Commands that change what the cloud knows of a device.
fn register(cloud: &Cloud, command: &str, arguments: &[&str]) -> Result<(), String> {
    if !["device", "password", "bind", "unbind-code", "remove"].contains(&command) {
        return Err(format!("no command {command:?}; try help"));
    }
    let serial = arguments
        .first()
        .copied()
        .ok_or_else(|| format!("{command}: say which serial number"))?;
    if command != "device" && !cloud.serials().iter().any(|known| known == serial) {
        return Err(format!("no device {serial}"));
    }
    match (command, arguments.get(1).copied()) {
        ("device", password) => {
            let device = Device {
                password: password.map(str::to_owned),
                ..Device::new(serial)
            };
            cloud.add_serial(&device);
        }
        ("password", password) => cloud.set_password(serial, password),
        ("bind", user) => cloud.bind(serial, user),
        ("remove", _) => cloud.remove_serial(serial),
        (_, Some(code)) => cloud.add_unbinding_code(serial, code),
        (_, None) => return Err("unbind-code: say which code".to_owned()),
    }
    Ok(())
}

/// Commands to a device that is connected.
fn order(cloud: &Cloud, command: &str, arguments: &[&str]) -> Result<(), String> {
    let connected: Vec<String> = cloud
        .serials()
        .into_iter()
        .filter(|serial| cloud.is_connected(serial))
        .collect();
    let serial = match (arguments.first(), connected.as_slice()) {
        (Some(serial), _) => (*serial).to_owned(),
        (None, [only]) => only.clone(),
        (None, _) => {
            return Err(format!(
                "{command}: say which serial number, {} are connected",
                connected.len()
            ));
        }
    };
    let number = |default: u16| match arguments.get(1) {
        Some(_) => number(command, arguments.get(1)),
        None => Ok(default),
    };
    let done = match command {
        "close" => cloud.close(&serial, number(1000)?),
        "disconnect" => cloud.disconnect(
            &serial,
            "maintenance",
            Duration::from_secs(number(30)?.into()),
        ),
        "go-away" => cloud.go_away(&serial),
        _ => cloud.send_to(&serial, arguments.get(1..).unwrap_or_default().join(" ")),
    };
    done.map_err(|error| error.to_string())
}

fn misbehave(cloud: &Cloud, command: &str, arguments: &[&str]) -> Result<(), String> {
    let step = arguments
        .first()
        .map(|word| word.parse::<Step>())
        .transpose()
        .map_err(|error| error.to_string())?;
    match (command, step) {
        ("behave", step) => cloud.clear_misbehaviour(step),
        (_, None) => return Err("misbehave: say at which step".to_owned()),
        (_, Some(step)) => {
            let words = arguments.get(1..).unwrap_or_default().join(" ");
            let wrong = words
                .parse::<Misbehaviour>()
                .map_err(|error| error.to_string())?;
            cloud.set_misbehaviour(step, wrong);
        }
    }
    Ok(())
}

fn status(cloud: &Cloud) -> String {
    let describe = |serial: String| {
        let bound = cloud
            .bound_to(&serial)
            .map(|user| format!(", bound to {user}"))
            .unwrap_or_default();
        if cloud.is_connected(&serial) {
            format!(
                "{serial}: connected, subconnections {}{bound}",
                cloud.open_services(&serial).join(" ")
            )
        } else {
            format!("{serial}: not connected{bound}")
        }
    };
    let lines: Vec<String> = cloud.serials().into_iter().map(describe).collect();
    lines.join("\n")
}
