//! The terminal of a shell, and how it is left.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr};

/// Kinds of terminals that cannot take back what they show; the line editor does not edit on them either.
const PLAIN: [&str; 3] = ["dumb", "cons25", "emacs"];

/// Standard input as the terminal of a shell, until this is dropped.
///
/// If it can take back what it shows: between the prompts its keys come as they are typed and are not echoed: what is typed ahead is shown with its prompt, and
/// a Ctrl-D is a key that can wait like the others. Ctrl-C still is a signal.
#[derive(Debug)]
pub struct Terminal {
    tty: File,
    before: Termios,
}

impl Terminal {
    /// Takes standard input.
    ///
    /// # Errors
    /// It is no terminal.
    pub fn take() -> io::Result<Self> {
        // How it is read is this process's own business, not that of all who have been given the same terminal – if the
        // system lets it be opened again.
        if let Ok(own) = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/proc/self/fd/0")
        {
            nix::unistd::dup2_stdin(&own)?;
        }
        let tty = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let before = prepare(&tty, &kind())?;
        Ok(Self { tty, before })
    }
}

/// Puts a terminal of this kind into the mode that a shell has between its prompts, and gives the mode before. Whoever makes a
/// terminal for a shell calls it first: what is typed before the shell runs waits like the rest.
///
/// # Errors
/// It is no terminal.
pub fn prepare(tty: impl AsFd, kind: &str) -> io::Result<Termios> {
    let before = tcgetattr(&tty)?;
    if !is_plain(kind) {
        let mut mode = before.clone();
        mode.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&tty, SetArg::TCSADRAIN, &mode)?;
    }
    Ok(before)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs it no more.
        let _ = tcsetattr(&self.tty, SetArg::TCSADRAIN, &self.before);
    }
}

/// Throws away what was typed and not read yet.
pub fn forget_typed() {
    // A terminal that is gone has nothing.
    let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
}

fn kind() -> String {
    std::env::var("TERM").unwrap_or_default()
}

fn is_plain(kind: &str) -> bool {
    PLAIN.iter().any(|plain| kind.eq_ignore_ascii_case(plain))
}

/// Whether the terminal can take back what it shows.
pub fn has_pages() -> bool {
    !is_plain(&kind())
}

/// While it lives, whoever reads standard input does not wait for it, and what is shown is not seen.
#[derive(Debug)]
pub struct Glance {
    flags: OFlag,
    shown: OwnedFd,
}

impl Glance {
    /// Begins.
    ///
    /// # Errors
    /// The system refuses.
    pub fn begin() -> io::Result<Self> {
        let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
        let shown = io::stdout().as_fd().try_clone_to_owned()?;
        let flags = OFlag::from_bits_retain(fcntl(io::stdin(), FcntlArg::F_GETFL)?);
        fcntl(io::stdin(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let glance = Self { flags, shown };
        nix::unistd::dup2_stdout(&nowhere)?;
        Ok(glance)
    }
}

impl Drop for Glance {
    fn drop(&mut self) {
        // The system has taken the same before.
        let _ = nix::unistd::dup2_stdout(&self.shown);
        let _ = fcntl(io::stdin(), FcntlArg::F_SETFL(self.flags));
    }
}
