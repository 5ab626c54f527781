//! What one connection's client asks for, answered.
//!
//! Slowing down a client that sends faster than its session reads: the SSH library opens a channel's window again by
//! itself, up to a size that it asks for here each time. While a session is behind, that size is the smallest there
//! is, two octets, and every such packet is answered late. So the client waits as it would with a closed window, but
//! its next two octets are also what tells us to open it again: nothing has to be remembered or woken.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf, MethodKind, MethodSet, Pty};
use tokio::sync::watch;
use tracing::warn;

use super::channel::{drain, run_session};
use super::command_line::{CommandLine, Wanted};
use super::inbox::Inbox;
use super::line::Hangup;
use super::login::{Login, Verdict};
use super::shell::Terminal;
use super::{ConnectionError, Shared, Source, WINDOW};
use crate::transport::{Owed, Peer, Transport};

/// Window of a client that must wait. One is not possible: the library opens a window when less than half is left.
const CLOSED_WINDOW: u32 = 2;
/// How long each packet of a client that must wait is held.
const PACE: Duration = Duration::from_millis(50);
/// Channels a connection may open in all its life: the library keeps a few KiB of each one that we close first.
const CHANNELS_IN_ALL: usize = 4096;

/// Characters of the name of a terminal's kind.
const TERMINAL_KIND: usize = 64;

/// Rows or columns of a terminal, within what the system counts with.
fn cells(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// What the rest of the connection needs to know.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Who has logged in.
    pub(super) user: Option<String>,
    /// Sessions that are being served.
    pub(super) sessions: usize,
}

/// One connection as the SSH library sees it.
pub(super) struct Connection {
    shared: Arc<Shared>,
    login: Login,
    source: Source,
    progress: watch::Sender<Progress>,
    owed: Owed,
    channels: HashMap<ChannelId, OpenChannel>,
    channels_in_all: usize,
}

struct OpenChannel {
    inbox: Arc<Inbox>,
    /// Taken by the session when it begins.
    writer: Option<ChannelWriteHalf<Msg>>,
    /// Of its terminal, if it has one.
    window: Option<Window>,
}

/// The window of a client's terminal.
struct Window {
    /// What kind of terminal it is.
    kind: String,
    /// Rows and columns.
    size: watch::Sender<(u16, u16)>,
}

/// What runs on a channel.
enum Service {
    /// The subsystem `netconf`.
    Netconf,
    /// Commands of one request, or of the stream.
    Commands(Option<Vec<u8>>),
    /// What a client without a command wants: a shell if it has a terminal.
    Shell,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        source: Source,
        hangup: Hangup,
        progress: watch::Sender<Progress>,
        owed: Owed,
    ) -> Self {
        Self {
            login: Login::new(shared.clone(), source, hangup),
            shared,
            source,
            progress,
            owed,
            channels: HashMap::new(),
            channels_in_all: 0,
        }
    }

    fn begin_and_answer(
        &mut self,
        id: ChannelId,
        service: Service,
        session: &mut Session,
    ) -> Result<(), ConnectionError> {
        match self.begin_session(id, service) {
            true => session.channel_success(id)?,
            false => session.channel_failure(id)?,
        }
        Ok(())
    }

    fn may_still_try(&self) -> Result<(), ConnectionError> {
        if self.login.is_exhausted() {
            return Err(ConnectionError::TooManyAttempts);
        }
        Ok(())
    }

    fn has_room(&mut self) -> bool {
        self.channels
            .retain(|_, channel| !channel.inbox.is_closed());
        self.channels.len() < self.shared.limits.borrow().channels
            && self.channels_in_all < CHANNELS_IN_ALL
    }

    fn begin_session(&mut self, id: ChannelId, service: Service) -> bool {
        let Some(peer) = self.peer() else {
            return false;
        };
        let Some(channel) = self.channels.get_mut(&id) else {
            return false;
        };
        if channel.inbox.is_closed() {
            return false;
        }
        let Some(writer) = channel.writer.take() else {
            return false;
        };
        let wanted = channel.wanted(service);
        let inbox = channel.inbox.clone();
        self.shared.counters.sessions.fetch_add(1, Relaxed);
        let running = Running::new(self.progress.clone());
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let serve = shared.serve.clone();
            match wanted {
                None => run_session(serve, peer, writer, inbox).await,
                Some(wanted) => {
                    let line = CommandLine {
                        serve,
                        peer,
                        writer,
                        inbox,
                        program: shared.program.clone(),
                        places: shared.places.clone(),
                        write_timeout: shared.limits.borrow().write_timeout,
                    };
                    line.run(wanted).await;
                }
            }
            drop(running);
        });
        true
    }

    /// Who has logged in.
    fn peer(&self) -> Option<Peer> {
        Some(Peer {
            user: self.login.user()?.to_owned(),
            transport: Transport::Ssh,
            source: Some(self.source.to_string()),
            // The users of ietf-system have no groups of their own.
            groups: Vec::new(),
            may_recover: false,
            owed: self.owed.clone(),
        })
    }
}

impl OpenChannel {
    /// What of the command line serves this; none if that is not what does.
    fn wanted(&self, service: Service) -> Option<Wanted> {
        let terminal = self.window.as_ref().map(|window| Terminal {
            kind: window.kind.clone(),
            size: window.size.subscribe(),
        });
        match (service, terminal) {
            (Service::Netconf, _) => None,
            (Service::Shell, Some(terminal)) => Some(Wanted::Shell(terminal)),
            (Service::Shell, None) => Some(Wanted::commands(None, false)),
            (Service::Commands(given), terminal) => {
                Some(Wanted::commands(given, terminal.is_some()))
            }
        }
    }
}

/// Counts one session for as long as it lives, however it ends.
struct Running(watch::Sender<Progress>);

impl Running {
    fn new(progress: watch::Sender<Progress>) -> Self {
        progress.send_modify(|progress| progress.sessions += 1);
        Self(progress)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|progress| progress.sessions -= 1);
    }
}

/// The ways to log in; named with every refusal, since the library drops a method after its first failure otherwise.
pub(super) fn methods() -> MethodSet {
    MethodSet::from(&[MethodKind::PublicKey, MethodKind::Password][..])
}

fn answer(verdict: Verdict) -> Auth {
    let remaining = match verdict {
        Verdict::Accepted => return Auth::Accept,
        Verdict::Refused => methods(),
        Verdict::Exhausted => MethodSet::empty(),
    };
    Auth::Reject {
        proceed_with_methods: Some(remaining),
        partial_success: false,
    }
}

impl Handler for Connection {
    type Error = ConnectionError;

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, ConnectionError> {
        self.may_still_try()?;
        Ok(answer(Verdict::Refused))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, ConnectionError> {
        self.may_still_try()?;
        Ok(answer(self.login.password(user, password).await))
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, ConnectionError> {
        self.may_still_try()?;
        let useful = self.login.offers(user, offer.public_key, offer.algorithm);
        // A client offers all its keys in turn: the wrong ones are no attempt to break in.
        Ok(answer(if useful {
            Verdict::Accepted
        } else {
            Verdict::Refused
        }))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, ConnectionError> {
        self.may_still_try()?;
        Ok(answer(self.login.proves(
            user,
            key.public_key,
            key.algorithm,
        )))
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), ConnectionError> {
        let user = self.login.user().map(ToOwned::to_owned);
        self.progress.send_modify(|progress| progress.user = user);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), ConnectionError> {
        if !self.has_room() {
            self.shared.counters.channels_refused.fetch_add(1, Relaxed);
            warn!(user = self.login.user(), source = %self.source, "ssh channel refused: too many");
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.channels_in_all += 1;
        let id = channel.id();
        let (reader, writer) = channel.split();
        let inbox = Arc::new(Inbox::default());
        tokio::spawn(drain(reader, inbox.clone()));
        let writer = Some(writer);
        let opened = OpenChannel {
            inbox,
            writer,
            window: None,
        };
        self.channels.insert(id, opened);
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(
        &mut self,
        id: ChannelId,
        _session: &mut Session,
    ) -> Result<(), ConnectionError> {
        if let Some(channel) = self.channels.remove(&id) {
            channel.inbox.close();
        }
        Ok(())
    }

    fn adjust_window(&mut self, _channel: ChannelId, _current: u32) -> u32 {
        // The library keeps one size for all channels of a connection, so they wait together.
        let congested = self.channels.values().any(|c| c.inbox.is_congested());
        if congested { CLOSED_WINDOW } else { WINDOW }
    }

    async fn data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        _session: &mut Session,
    ) -> Result<(), ConnectionError> {
        if data.len() <= CLOSED_WINDOW as usize
            && let Some(channel) = self.channels.get(&id)
        {
            // Either way the next packet finds out.
            let _ = tokio::time::timeout(PACE, channel.inbox.relieved()).await;
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), ConnectionError> {
        // RFC 6242, section 3: the name is "netconf".
        if name == "netconf" && self.begin_session(id, Service::Netconf) {
            session.channel_success(id)?;
        } else {
            let name: String = name.chars().take(64).collect();
            warn!(user = self.login.user(), source = %self.source, name, "ssh subsystem refused");
            session.channel_failure(id)?;
        }
        Ok(())
    }

    // Without an answer of ours a client that asked for one would wait for ever.

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), ConnectionError> {
        self.begin_and_answer(id, Service::Shell, session)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), ConnectionError> {
        let command = Service::Commands(Some(command.to_vec()));
        self.begin_and_answer(id, command, session)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _session: &mut Session,
    ) -> Result<(), ConnectionError> {
        let channel = self.channels.get(&id);
        if let Some(window) = channel.and_then(|channel| channel.window.as_ref()) {
            window.size.send_replace((cells(rows), cells(columns)));
        }
        Ok(())
    }

    fn env_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> impl Future<Output = Result<(), ConnectionError>> + Send {
        refuse(id, session)
    }

    /// Of no effect on the stream of NETCONF, which is never cooked. Clients that start `ssh -tt -s` (scrapli) are ended by
    /// the OpenSSH client if there is no terminal.
    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), ConnectionError> {
        // What runs already has the terminal that it was started with, or none.
        let channel = self.channels.get_mut(&id);
        let Some(channel) = channel.filter(|channel| channel.writer.is_some()) else {
            session.channel_failure(id)?;
            return Ok(());
        };
        channel.window = Some(Window {
            // The shell's environment holds it.
            kind: term
                .chars()
                .filter(|c| *c != '\0')
                .take(TERMINAL_KIND)
                .collect(),
            size: watch::Sender::new((cells(rows), cells(columns))),
        });
        session.channel_success(id)?;
        Ok(())
    }

    fn x11_request(
        &mut self,
        id: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> impl Future<Output = Result<(), ConnectionError>> + Send {
        refuse(id, session)
    }
}

fn refuse(
    id: ChannelId,
    session: &mut Session,
) -> impl Future<Output = Result<(), ConnectionError>> + Send + use<> {
    let refused = session.channel_failure(id).map_err(ConnectionError::from);
    std::future::ready(refused)
}
