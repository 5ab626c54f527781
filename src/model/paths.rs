//! The data paths that the agent reads and writes by name: the only place where they stand as text.

/// Container of the cloud connection.
pub const CLOUD: &str = "/cloud-management:cloud-management";
/// Its server.
pub const SERVER: &str = "/cloud-management:cloud-management/server";
/// On which interfaces the server is discovered.
pub const DISCOVERY: &str = "/cloud-management:cloud-management/discovery";
/// Trust anchors of the cloud.
pub const TRUST: &str = "/cloud-management:cloud-management/trust";
/// The commit guard.
pub const COMMIT_GUARD: &str = "/cloud-management:cloud-management/commit-guard";
/// What the commit guard does and did.
pub const COMMIT_GUARD_STATE: &str = "/cloud-management:cloud-management/state/commit-guard";
/// Action: end an armed commit guard in favour of the new configuration.
pub const ACCEPT_GUARDED_COMMIT: &str = "/cloud-management:cloud-management/accept-guarded-commit";
/// Notification: the commit guard has restored what was before.
pub const COMMIT_ROLLED_BACK: &str = "/cloud-management:commit-rolled-back";
/// Its operational state.
pub const CLOUD_STATE: &str = "/cloud-management:cloud-management/state";
/// Action: tear the tunnel down and establish it anew.
pub const RESET_TUNNEL: &str = "/cloud-management:cloud-management/reset-tunnel";
/// Action: walk to the servers as an attempt would, beside the tunnel.
pub const TEST_CONNECTION: &str = "/cloud-management:cloud-management/test-connection";
/// What the last of these came to.
pub const CONNECTION_TEST: &str = "/cloud-management:cloud-management/state/connection-test";
/// Action: send an unbinding code.
pub const UNBIND: &str = "/cloud-management:cloud-management/unbind";
/// Notification: the phase of the main connection is another one.
pub const CONNECTION_STATE_CHANGED: &str = "/cloud-management:connection-state-changed";
/// Notification: the state of a subconnection is another one.
pub const SUBCONNECTION_STATE_CHANGED: &str = "/cloud-management:subconnection-state-changed";
/// Notification: the cloud answered an unbinding code.
pub const UNBINDING_ANSWERED: &str = "/cloud-management:unbinding-answered";
/// Notification: no server could be reached.
pub const ALL_SERVERS_FAILED: &str = "/cloud-management:all-servers-failed";
/// Notification: a configuration datastore is another one (RFC 6470).
pub const CONFIG_CHANGE: &str = "/ietf-netconf-notifications:netconf-config-change";
/// Notification: the server announces other capabilities (RFC 6470).
pub const CAPABILITY_CHANGE: &str = "/ietf-netconf-notifications:netconf-capability-change";
/// Notification: a session was opened (RFC 6470).
pub const SESSION_START: &str = "/ietf-netconf-notifications:netconf-session-start";
/// Notification: a session is over (RFC 6470).
pub const SESSION_END: &str = "/ietf-netconf-notifications:netconf-session-end";
/// Notification: a confirmed commit went a step further (RFC 6470).
pub const CONFIRMED_COMMIT: &str = "/ietf-netconf-notifications:netconf-confirmed-commit";
/// Notification: the set of modules is another one (RFC 8525).
pub const LIBRARY_UPDATE: &str = "/ietf-yang-library:yang-library-update";
/// The streams of events (RFC 5277).
pub const STREAMS: &str = "/nc-notifications:netconf/streams";
/// Configured filters of subscriptions (RFC 8639).
pub const FILTERS: &str = "/ietf-subscribed-notifications:filters";
/// The streams of events (RFC 8639).
pub const EVENT_STREAMS: &str = "/ietf-subscribed-notifications:streams";
/// Subscriptions (RFC 8639).
pub const SUBSCRIPTIONS: &str = "/ietf-subscribed-notifications:subscriptions";
/// Notification: the events of the past were sent (RFC 5277).
pub const REPLAY_COMPLETE: &str = "/nc-notifications:replayComplete";
/// Notification: a subscription is over (RFC 5277).
pub const NOTIFICATION_COMPLETE: &str = "/nc-notifications:notificationComplete";
/// What RFC 9196 lists.
pub const CAPABILITIES: &str = "/ietf-system-capabilities:system-capabilities";
/// State of the cloud connection that never settles.
pub const CLOUD_UNSETTLED: [&str; 7] = [
    "/cloud-management:cloud-management/state/duration",
    "/cloud-management:cloud-management/state/attempts",
    "/cloud-management:cloud-management/state/keepalives",
    "/cloud-management:cloud-management/state/subconnection/attempts",
    "/cloud-management:cloud-management/state/subconnection/octets-in",
    "/cloud-management:cloud-management/state/subconnection/octets-out",
    "/cloud-management:cloud-management/state/subconnection/dropped",
];
/// Counters of subscriptions.
pub const SUBSCRIPTIONS_UNSETTLED: [&str; 2] = [
    "/ietf-subscribed-notifications:subscriptions/subscription/receivers/receiver/sent-event-records",
    "/ietf-subscribed-notifications:subscriptions/subscription/receivers/receiver/excluded-event-records",
];
/// When the log of the stream had to drop an event: with each that comes, once it is full.
pub const STREAMS_UNSETTLED: [&str; 1] =
    ["/nc-notifications:netconf/streams/stream/replayLogAgedTime"];
/// The same (RFC 8639).
pub const EVENT_STREAMS_UNSETTLED: [&str; 1] =
    ["/ietf-subscribed-notifications:streams/stream/replay-log-aged-time"];
/// The time of day.
pub const SYSTEM_UNSETTLED: [&str; 1] = ["/ietf-system:system-state/clock/current-datetime"];
/// Counters of the server itself; the history of commits, each of which is told by itself.
pub const SERVER_UNSETTLED: [&str; 9] = [
    "/device-management:device-management/commit",
    "/ietf-netconf-monitoring:netconf-state/statistics",
    "/ietf-netconf-monitoring:netconf-state/sessions/session/in-rpcs",
    "/ietf-netconf-monitoring:netconf-state/sessions/session/in-bad-rpcs",
    "/ietf-netconf-monitoring:netconf-state/sessions/session/out-rpc-errors",
    "/ietf-netconf-monitoring:netconf-state/sessions/session/out-notifications",
    "/ietf-netconf-acm:nacm/denied-operations",
    "/ietf-netconf-acm:nacm/denied-data-writes",
    "/ietf-netconf-acm:nacm/denied-notifications",
];
/// Container of ietf-system (RFC 7317).
pub const SYSTEM: &str = "/ietf-system:system";
/// Its operational state.
pub const SYSTEM_STATE: &str = "/ietf-system:system-state";
/// Name resolution.
pub const DNS_RESOLVER: &str = "/ietf-system:system/dns-resolver";
/// Users.
pub const AUTHENTICATION: &str = "/ietf-system:system/authentication";
/// The agent's own name in logs.
pub const HOSTNAME: &str = "/ietf-system:system/hostname";
/// rpc: run the configured restart command.
pub const SYSTEM_RESTART: &str = "/ietf-system:system-restart";
/// rpc: run the configured shutdown command.
pub const SYSTEM_SHUTDOWN: &str = "/ietf-system:system-shutdown";
/// Hardware state (RFC 8348).
pub const HARDWARE: &str = "/ietf-hardware:hardware";
/// The limits table.
pub const LIMITS: &str = "/device-management:device-management/limits";
/// What became of notifications.
pub const NOTIFICATIONS: &str = "/device-management:device-management/notifications";
/// Action: make running what it was after an earlier commit.
pub const ROLLBACK_TO: &str = "/device-management:device-management/rollback-to";
/// Connections that the agent opens to its managers (RFC 8071).
pub const CALL_HOME: &str = "/device-management:device-management/call-home";
/// Where they stand.
pub const CALL_HOME_STATE: &str = "/device-management:device-management/call-home/state";
/// What the agent logs.
pub const LOGGING: &str = "/device-management:device-management/logging";
/// Action: read the newest of the log.
pub const READ_LOG: &str = "/device-management:device-management/logging/read-log";
/// Monitoring state (RFC 6022).
pub const NETCONF_STATE: &str = "/ietf-netconf-monitoring:netconf-state";
/// The list of modules (RFC 8525).
pub const YANG_LIBRARY: &str = "/ietf-yang-library:yang-library";
/// Access control (RFC 8341).
pub const NACM: &str = "/ietf-netconf-acm:nacm";
