//! The arguments of the binary; its pages of the manual and its completions are made from them.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::agent::options::Options;

/// The agent that a network element runs to be managed
#[derive(Parser)]
#[command(version, about)]
pub struct Arguments {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// One of the things that the binary does.
#[derive(Subcommand)]
pub enum Command {
    /// Runs the agent in the foreground
    Agent(Box<Options>),
    /// The command line, with the agent of this machine: interactive, or with commands as arguments or on standard input
    Cli {
        /// Unix socket of the agent [default: tether.sock in the state directory, else in /run/tether]
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// Command to run; several run in one session
        #[arg(short, long, value_name = "COMMAND")]
        command: Vec<String>,
        /// Speak with the agent over standard input, and with the user over the controlling terminal
        #[arg(long, hide = true, conflicts_with_all = ["socket", "command"])]
        session_on_stdin: bool,
    },
    /// Tells the agent what a DHCP client got on an interface; without a value: that it has nothing any more
    DhcpEvent {
        /// Network interface, one of discovery/dhcp
        interface: String,
        /// Domain of the cloud (option 253); an empty one is none
        #[arg(long, value_name = "NAME")]
        domain: Option<String>,
        /// Read the password (option 252) from the first line of standard input; an empty one is none
        #[arg(long)]
        password_stdin: bool,
        /// Control socket of the agent [default: control.sock in the state directory, else in /run/tether]
        #[arg(long, value_name = "PATH")]
        control: Option<PathBuf>,
    },
    /// Is a service of the cloud: COMMAND gets its subconnection on standard input and output, anew for each connection
    Service {
        /// Name of the service
        name: String,
        /// Control socket of the agent [default: control.sock in the state directory, else in /run/tether]
        #[arg(long, value_name = "PATH")]
        control: Option<PathBuf>,
        /// Program and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}
