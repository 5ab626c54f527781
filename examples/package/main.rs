//! Writes the pages of the manual and the completions of bash, zsh and fish for the package, from the definition of the
//! arguments:
//!
//! ```sh
//! cargo run --example package -- target/package
//! ```
#![allow(clippy::print_stderr)]

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};
use tether::arguments::Arguments;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("package: the folder to write to is missing");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("package: {} cannot be written: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut command = Arguments::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "tether", folder)?;
    }
    clap_mangen::generate_to(Arguments::command().disable_help_subcommand(true), folder)
}
