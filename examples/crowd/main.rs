//! A crowd of NETCONF clients, honest and hostile, against an agent that runs already. The tests of `tests/interop` use
//! it; by hand, with the key of a user of the agent:
//!
//! ```sh
//! cargo run --release --example crowd -- --ssh 127.0.0.1:8830 --key ~/.ssh/id_ed25519 ask --requests 1000
//! ```
//!
//! `ask` measures one session that asks and waits, `lives` opens sessions that end in every way there is, `siege` holds
//! hostile clients until its standard input ends. Each prints one line, `crowd: NAME=NUMBER …`; `siege` one more when
//! all are in place.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::wire::{Door, Failure, GET, request};

mod lives;
mod siege;
mod wire;

/// Many clients of one agent.
#[derive(Parser)]
struct Arguments {
    /// Where the agent serves NETCONF over SSH.
    #[arg(long)]
    ssh: SocketAddr,
    /// The agent's local socket: the sessions of `lives` that need no SSH come there.
    #[arg(long)]
    socket: Option<PathBuf>,
    #[arg(long, default_value = "admin")]
    user: String,
    /// The user's private key, without a passphrase.
    #[arg(long)]
    key: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// One session that asks and waits; the times are those of a whole batch.
    Ask {
        #[arg(long)]
        requests: usize,
        /// Requests that are sent together.
        #[arg(long, default_value_t = 1)]
        batch: usize,
    },
    /// Sessions that end in every way.
    Lives {
        #[arg(long)]
        count: usize,
        /// Sessions at a time.
        #[arg(long, default_value_t = 32)]
        abreast: usize,
    },
    /// Hostile clients, until standard input ends.
    Siege {
        #[arg(long, default_value_t = 1000)]
        silent: usize,
        /// Of each kind that logs in and holds its session.
        #[arg(long, default_value_t = 100)]
        sessions: usize,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crowd: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    // A thousand connections need more than the usual 1,024 descriptors.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let key = russh::keys::load_secret_key(&arguments.key, None)?;
    let door = Arc::new(Door {
        ssh: arguments.ssh,
        socket: arguments.socket,
        user: arguments.user,
        key: Arc::new(key),
    });
    match arguments.what {
        What::Ask { requests, batch } => ask(&door, requests, batch.max(1)).await,
        What::Lives { count, abreast } => lives::run(door, count, abreast).await,
        What::Siege { silent, sessions } => siege::run(door, silent, sessions).await,
    }
}

async fn ask(door: &Door, requests: usize, batch: usize) -> Result<(), Failure> {
    let (mut line, _connection) = door.session().await?;
    let mut times = Vec::with_capacity(requests / batch + 1);
    let together = request(GET).repeat(batch);
    let began = Instant::now();
    for _ in 0..requests.div_ceil(batch) {
        let asked = Instant::now();
        line.say(&together).await?;
        for _ in 0..batch {
            line.hear(b"\n##\n").await?;
        }
        times.push(asked.elapsed());
    }
    let each_second = (times.len() * batch) as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| -> Duration { times[((times.len() - 1) as f64 * share) as usize] };
    println!(
        "crowd: requests={requests} p50={} p99={} max={} each_second={each_second:.0}",
        at(0.5).as_micros(),
        at(0.99).as_micros(),
        at(1.0).as_micros()
    );
    Ok(())
}
