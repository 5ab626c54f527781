//! The binary: arguments to settings, settings to an agent or a command line.

use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tether::agent::options::Options;
use tether::agent::{Agent, AgentError};
use tether::arguments::{Arguments, Command};
use tether::cli::{self, CliError};
use tether::log::{Log, Sink};
use tether::model::settings::Secret;
use tether::model::tree::heap;
use tether::transport::control::{self, Request};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Agent(options) => agent(*options),
        Command::Cli {
            socket,
            command,
            session_on_stdin,
        } => cli(socket, &command, session_on_stdin),
        Command::DhcpEvent {
            interface,
            domain,
            password_stdin,
            control,
        } => dhcp_event(interface, domain, password_stdin, control),
        Command::Service {
            name,
            control,
            command,
        } => service(&name, control, &command),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tether: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Threads beside the runtime's own: for passwords, the store, names, and to stand in for one that a long edit holds.
/// The runtime would make hundreds, and each leaves a stack.
const BLOCKING_THREADS: usize = 16;

/// How long the end of the process waits for a log that is slow.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// Where the service of the package has its sockets.
const SERVICE_SOCKETS: &str = "/run/tether";

/// What a DHCP option holds, and more than a password may have; the agent says so with the reason.
const LONGEST_PASSWORD: usize = 255;

/// Whatever ends the program; it is printed as one line.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn agent(options: Options) -> Result<ExitCode, Failure> {
    heap::share_arenas();
    let options = options.with_file()?;
    // Where the reason of a failure is printed anyway.
    let goes_to_stderr = options.log().sink == Sink::Stderr;
    let log = Log::start(options.log())?;
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let ran = runtime.block_on(run(options, log.clone()));
    // A thread that waits for a broken disk must not hold the exit up.
    runtime.shutdown_background();
    if let Err(error) = &ran
        && !goes_to_stderr
    {
        tracing::error!(%error, "the agent does not run");
    }
    log.flush(LAST_WORDS);
    ran?;
    Ok(ExitCode::SUCCESS)
}

async fn run(options: Options, log: Log) -> Result<(), AgentError> {
    let password = std::env::var("TETHER_ADMIN_PASSWORD")
        .ok()
        .filter(|password| !password.is_empty());
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        return Err(AgentError::Signals);
    };
    let agent = Agent::start_with_log(options, password, log.clone()).await?;
    if let Some(password) = agent.made_password() {
        let _ = writeln!(
            std::io::stderr(),
            "tether: the user admin was made, with the password {password}"
        );
    }
    announce(&agent);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // The platform's trust anchors are read anew at each attempt anyway.
            _ = hangup.recv() => log.reopen(),
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    agent.stop().await;
    Ok(())
}

/// The one line on stdout, and systemd's notification.
fn announce(agent: &Agent) {
    let mut line = String::from("tether: ready");
    for address in agent.ssh_addresses() {
        line.push_str(&format!(" ssh={address}"));
    }
    // Whoever started us may have closed stdout; that is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{line}");
    let _ = std::io::stdout().flush();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// Every connection is a file descriptor, and the usual limit of 1024 is below the sessions there may be.
fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// Exit status of a program whose reader has gone, as a shell has it: 128 and the number of SIGPIPE.
const NOBODY_READS: u8 = 141;

fn cli(
    socket: Option<PathBuf>,
    commands: &[String],
    session_on_stdin: bool,
) -> Result<ExitCode, Failure> {
    let runtime = small_runtime()?;
    let done = match session_on_stdin {
        true => runtime.block_on(async {
            let session = cli::inherit().await?;
            cli::shell::run(session).await.map(|()| true)
        }),
        false => {
            let socket = socket_path(socket, "tether.sock")?;
            runtime.block_on(command_line(&socket, commands))
        }
    };
    // A thread that waits for standard input must not hold the exit up.
    runtime.shutdown_background();
    Ok(match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(CliError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {
            ExitCode::from(NOBODY_READS)
        }
        Err(error) => return Err(error.into()),
    })
}

async fn command_line(socket: &Path, commands: &[String]) -> Result<bool, CliError> {
    if !commands.is_empty() {
        return cli::run(socket, commands, tokio::io::stdout()).await;
    }
    let mut session = cli::connect(socket).await?;
    if std::io::stdin().is_terminal() {
        return cli::shell::run(session).await.map(|()| true);
    }
    let input = tokio::io::BufReader::new(tokio::io::stdin());
    cli::script(&mut session, input, tokio::io::stdout(), false).await
}

/// What a hook calls. Hooks pass on what they got, and what they did not get is empty.
fn dhcp_event(
    interface: String,
    domain: Option<String>,
    password_stdin: bool,
    control: Option<PathBuf>,
) -> Result<ExitCode, Failure> {
    let password = match password_stdin {
        true => Some(line_of_stdin()?),
        false => None,
    };
    let request = Request::DhcpEvent {
        interface,
        domain: domain.filter(|domain| !domain.is_empty()),
        password: password.filter(|password| !password.reveal().is_empty()),
    };
    let control = socket_path(control, "control.sock")?;
    small_runtime()?.block_on(control::ask(&control, &request))?;
    Ok(ExitCode::SUCCESS)
}

/// Ends with the agent, or on SIGTERM and SIGINT.
fn service(name: &str, control: Option<PathBuf>, command: &[String]) -> Result<ExitCode, Failure> {
    let control = socket_path(control, "control.sock")?;
    small_runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        control::service::program::run(&control, name, command, stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The first line of standard input without its end.
fn line_of_stdin() -> Result<Secret, Failure> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_PASSWORD + 1));
    let mut input = std::io::stdin().lock().take(LONGEST_PASSWORD as u64 + 1);
    input
        .read_until(b'\n', &mut line)
        .map_err(|error| format!("the password cannot be read from standard input: {error}"))?;
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    if line.len() > LONGEST_PASSWORD {
        return Err(format!("the password is longer than {LONGEST_PASSWORD} octets").into());
    }
    let text = std::str::from_utf8(line).map_err(|_| "the password is no text")?;
    Ok(Secret::new(text))
}

/// The socket that was given, else the one of this name of an agent that this user runs, else that of the package's service.
fn socket_path(given: Option<PathBuf>, name: &str) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given);
    }
    let own = tether::agent::options::default_state_directory(None)?.join(name);
    let service = PathBuf::from(SERVICE_SOCKETS).join(name);
    Ok(if !own.exists() && service.exists() {
        service
    } else {
        own
    })
}

fn small_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
