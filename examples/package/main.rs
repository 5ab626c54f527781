//! Writes the pages of the manual and the completions of bash, zsh and fish for the package, from the definition of the
//! arguments and the table of commands:
//!
//! ```sh
//! cargo run --example package -- target/package
//! ```
#![allow(clippy::print_stderr)]

mod commands;
mod pages;

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use clap_mangen::roff::Roff;
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
    let mut visible = visible(&Arguments::command());
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut visible, "tether", folder)?;
    }
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    write_page(&command, folder)?;
    for subcommand in command.get_subcommands() {
        write_page(subcommand, folder)?;
    }
    let mut file = File::create(folder.join("tether-commands.7"))?;
    commands::page().to_writer(&mut file)
}

/// The page of a command: what its definition gives, and the sections beside.
fn write_page(command: &Command, folder: &Path) -> io::Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let mut file = File::create(folder.join(format!("{name}.1")))?;
    Man::new(command.clone()).render(&mut file)?;
    let mut beside = Roff::new();
    pages::write(pages::sections(name), &mut beside);
    beside.to_writer(&mut file)
}

/// A command without its hidden arguments, which completions would offer.
fn visible(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|it| !it.is_hide_set());
    let about = command.get_about().cloned().unwrap_or_default();
    // clap takes texts that stay; this program is over soon.
    let stays = |text: &str| -> &'static str { text.to_owned().leak() };
    Command::new(stays(command.get_name()))
        .version(command.get_version().map(stays))
        .about(about)
        .args(arguments.cloned())
        .subcommands(command.get_subcommands().map(visible))
}
