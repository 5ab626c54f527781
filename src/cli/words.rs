//! The words of the commands, and what `?` says of each.

/// Sorted by the word.
pub const WORDS: &[(&str, &str)] = &[
    ("backup-server", "Backup cloud servers"),
    ("begin", "Begin with the line that matches"),
    ("cipher", "Specify a password in encrypted form"),
    ("cloud-management", "Cloud connection"),
    ("comment", "Say why"),
    ("commit", "Commit of the configuration"),
    ("configuration", "History of the configuration"),
    (
        "configure",
        "Edit the configuration without changing it at once",
    ),
    (
        "confirmed",
        "Take the commit back unless another confirms it in time",
    ),
    ("current-configuration", "Configuration in force"),
    ("diff", "What a commit would change"),
    ("display", "Display current system information"),
    ("domain", "Domain name of the cloud server"),
    ("exclude", "Exclude lines that match"),
    ("exclusive", "Keep others from editing meanwhile"),
    ("free", "End a session"),
    ("host", "Static host name mapping"),
    ("include", "Include lines that match"),
    ("ip", "IP configuration"),
    ("ipv6", "IPv6 information"),
    ("keepalive", "Keepalive interval"),
    ("list", "All commits that are kept"),
    ("netconf", "NETCONF"),
    ("password", "Password for establishing cloud connections"),
    ("port", "TCP port number"),
    ("quit", "Exit from current view"),
    ("reset", "Reset operation"),
    ("return", "Return to user view"),
    ("rollback", "Go back to an earlier configuration"),
    ("save", "Save the current configuration"),
    (
        "saved-configuration",
        "Configuration that the device starts with",
    ),
    ("server", "Cloud server"),
    ("session", "NETCONF session"),
    ("sessions", "NETCONF sessions"),
    ("simple", "Specify a password in plaintext form"),
    ("source-ip", "Source IP address"),
    ("state", "State information"),
    ("sysname", "Name of the device"),
    ("system-view", "Enter the system view"),
    ("tunnel", "Tunnel to the cloud server"),
    ("unbinding-code", "Verification code for device unbinding"),
    ("undo", "Cancel current setting"),
    ("verbose", "All that is known"),
    ("vpn-instance", "VPN instance of the cloud server"),
    ("|", "Filter the output"),
];

/// What `?` says of a word; nothing of one that is none.
pub fn help(word: &str) -> &'static str {
    let found = WORDS.iter().find(|(own, _)| *own == word);
    found.map_or("", |(_, help)| *help)
}
