//! tether: the agent that a network element runs to be managed.
//!
//! A YANG model of the cloud connection's configuration and state is served over NETCONF (SSH), and a commit makes
//! the tunnel engine apply it. This page is the map; the code follows it.
//!
//! # Layers
//! Imports point downwards, never sideways.
//!
//! | layer | modules | what they are |
//! | --- | --- | --- |
//! | 6 | `main.rs` | arguments → an agent or a command |
//! | 5 | [`arguments`], [`sim`] | what the binary is told; the other end (a reference cloud), for tests and examples |
//! | 4 | [`agent`] | builds every part and wires the channels: the only file that knows them all |
//! | 3 | [`transport`] | the doors: SSH and the local socket find out who the peer is and hand on a stream; programs beside the agent ask at the control socket |
//! | 2 | [`netconf`], [`tunnel`], [`cli`], [`system`] | the server of RFC 6241, the cloud connection, the command line, the device; none knows another |
//! | 1 | [`datastore`], [`protocol`], [`dhcp`], [`netlink`], [`log`] | running, candidate, operational and what guards them; framing, hellos, a client; discovery of the cloud; the device's network; the log |
//! | 0 | [`model`] | the YANG schema, data trees (the one place with `unsafe`), settings, status, errors |
//!
//! `netconf`, `tunnel` and `cli` meet in the traits of [`datastore::subscriber`]: who takes changes over, who shows
//! state, who does actions. What waits – sockets, files, the clock, randomness – is in few files: `driver.rs`, `store/` and
//! parts of `events/` of the datastore; `server.rs`, `evaluator.rs`, `session` and `subscription` of netconf; `driver`, `net` and `service` of the tunnel;
//! `client.rs` of protocol; `client` of dhcp; `watcher.rs` of netlink; cli; everything from layer 3 up. All other files are pure: same input, same output.
//!
//! # A commit, in reading order
//! 1. `netconf/session.rs` reads the message, `netconf/rpc` makes it an operation, `netconf/server.rs` hands it to
//!    the one task that owns the datastore (`datastore/driver.rs`).
//! 2. `netconf/ops/edit.rs` → `datastore/edit` puts an edit onto a copy of the candidate; secrets are sealed there. The
//!    copy is of the part that the edit can touch ([`datastore::part`]): of long lists, the entries that it names.
//! 3. `netconf/ops/commit.rs` → [`datastore::commit`] ★: validate → diff → access control → prepare all subscribers →
//!    *store* → swap → apply all. Whatever refuses before the swap leaves no trace: a dropped `Prepared` is an abort.
//! 4. The store step (`datastore/store`) runs off that task: one transaction appends the difference and is synced
//!    before the reply; reads go on meanwhile from the old running.
//! 5. [`tunnel::CloudConnection`] prepared by reserving room in the driver's queue; its `apply` fills it. The driver
//!    tells [`tunnel::machine`] ★ the new target, and the machine says what to do: nothing, if it is an equal one.
//!
//! There is one door to running. Whoever changes it – a manager, the command line, a confirmed commit that is taken back
//! ([`datastore::confirm`]), the commit guard ([`datastore::guard`]: what it may meet meanwhile is in a table there) – comes
//! through [`datastore::commit`].
//!
//! # A get, in reading order
//! 1. The owner of the datastores publishes a view of them ([`datastore::View`]) and takes it back only while they change:
//!    a reader asks nobody (`datastore/driver.rs`).
//! 2. `netconf/ops/retrieve.rs` takes snapshots of what is asked for and gathers the state of the modules that the filter
//!    can reach.
//! 3. [`datastore::retrieval`] walks the snapshots as the reply is sent: `datastore/filter` says which children are
//!    selected, [`datastore::nacm`] which of them the reader may see, `retrieval/write.rs` how they are written. An XPath
//!    filter ([`datastore::xpath`]) is evaluated on a copy of what the reader may see.
//!
//! # An event, in reading order
//! 1. [`datastore::commit`] announces a change once it is in force; `datastore/events/announcer.rs` puts it in words, off the
//!    commit's way. Sessions and the tunnel publish theirs themselves.
//! 2. [`datastore::events`] has the log of the stream, which is also everybody's queue: an event costs the same whoever
//!    listens. `recorder.rs` writes it to the disk.
//! 3. [`netconf::subscription`] reads the log at the pace of its session, asks access control and the filter, and gives the
//!    session messages to send between its replies.
//!
//! # A push, in reading order
//! 1. [`datastore::changes`] hears of each commit's difference, off the commit's way, and of the state's: a part of the agent
//!    says that its state may be another one, and it is compared once for all (`netconf/subscription/push/state.rs`).
//! 2. `netconf/subscription/push/on_change.rs` picks its subscriber's part out of each and puts them together while they are
//!    dampened; `datastore/changes/patch.rs` makes edits of them.
//!
//! # The tunnel
//! [`tunnel::machine`] takes an event and the time and returns actions; it does no I/O. [`tunnel::driver`] carries
//! actions out and reports events; it decides nothing. Every action that is answered bears a number that the answer
//! echoes, so what is late is dropped in one place. [`tunnel::net`] is DNS, TCP, TLS, HTTP/1.1 and WebSocket,
//! [`tunnel::wire`] the bodies and frames as types.
//!
//! [`dhcp::client`] publishes what is discovered and [`netlink::watcher`] what the device's network is like; the driver hears
//! of both. [`tunnel::target`] puts what is discovered before what is configured.
//!
//! # A line of the command line, in reading order
//! 1. `cli/grammar.rs` is the table of commands; `cli/parse.rs` reads a line by it, and `?`, completion and
//!    `cli/commands.md` are made of it.
//! 2. [`cli::session`] asks the agent by NETCONF for what the command means (`cli/edit.rs`) and puts the answer in an
//!    operator's words (`cli/show.rs`, `lists.rs`, `configuration.rs`).
//! 3. `cli/shell.rs` is the line editor on a terminal. `transport/ssh/command_line.rs` gives one to whoever logs in, with a
//!    NETCONF session under his own name.
//!
//! # Where to start
//! [`datastore::commit`] and [`tunnel::machine`], then [`agent`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod agent;
pub mod arguments;
pub mod cli;
pub mod datastore;
pub mod dhcp;
pub mod log;
pub mod model;
pub mod netconf;
pub mod netlink;
pub mod protocol;
pub mod sim;
pub mod system;
pub mod transport;
pub mod tunnel;
