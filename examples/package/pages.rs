//! What the pages of the manual say beside what the definition of the arguments gives: a section each, of paragraphs and
//! of terms with what they mean.

use clap_mangen::roff::{Roff, bold, roman};

/// A heading, and what stands below: a term with what it means, or a paragraph where there is no term.
pub type Section = (&'static str, &'static [(&'static str, &'static str)]);

const SOCKETS: (&str, &str) = (
    "tether.sock, control.sock",
    "Where programs of this machine reach the agent: in the state directory, for the service of the package in /run/tether.",
);

const ONE_LINE: (&str, &str) = (
    "1",
    "It could not be done; standard error has the reason in one line.",
);

const USAGE: (&str, &str) = ("2", "The arguments are wrong.");

/// The sections of a page by its name.
pub fn sections(page: &str) -> &'static [Section] {
    match page {
        "tether-agent" => AGENT,
        "tether-cli" => CLI,
        "tether-dhcp-event" => DHCP_EVENT,
        "tether-service" => SERVICE,
        _ => TETHER,
    }
}

const TETHER: &[Section] = &[(
    "SEE ALSO",
    &[(
        "",
        "tether-agent(1), tether-cli(1), tether-dhcp-event(1), tether-service(1), tether-commands(7)",
    )],
)];

const AGENT: &[Section] = &[
    (
        "CONFIGURATION FILE",
        &[
            (
                "",
                "The keys of the TOML file are the options without their hyphens in front; what may be repeated is an array of \
                 strings. An argument comes before the key of its name. Two keys are no arguments:",
            ),
            (
                "restart-command",
                "Array of strings: the program that the rpc system-restart (RFC 7317) starts, and its arguments. Without it the \
                 rpc is answered with operation-not-supported.",
            ),
            ("shutdown-command", "The same for the rpc system-shutdown."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "TETHER_ADMIN_PASSWORD",
                "At the first start the password of the user admin. Without it one is made and printed once on standard error.",
            ),
            (
                "XDG_STATE_HOME, HOME",
                "Where the state directory is for a user who is not root and gives none.",
            ),
            (
                "CREDENTIALS_DIRECTORY",
                "Where systemd puts the credential serial-number, the serial number where no other is given.",
            ),
            (
                "NOTIFY_SOCKET, WATCHDOG_USEC",
                "Of systemd: it is told when the agent is ready, and that its datastores answer.",
            ),
        ],
    ),
    (
        "SIGNALS",
        &[
            (
                "SIGTERM, SIGINT",
                "Sessions and tunnel are ended in order, within five seconds.",
            ),
            ("SIGHUP", "The file of the log is opened again."),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            ("0", "It was ended by a signal."),
            (
                "1",
                "It cannot run; standard error has the reason in one line, and the log too where it goes elsewhere.",
            ),
            USAGE,
        ],
    ),
    (
        "FILES",
        &[
            (
                "/etc/tether/tether.toml",
                "The configuration file of the service of the package.",
            ),
            (
                "/var/lib/tether",
                "The state directory of root and of the service; one agent at a time holds it.",
            ),
            (
                "configuration.redb",
                "In it: the configuration, the last commits and the events.",
            ),
            (
                "secret.key, ssh_host_ed25519_key",
                "In it: the key that secrets of the configuration are encrypted with, and the SSH host key. A backup needs them.",
            ),
            SOCKETS,
        ],
    ),
    (
        "SEE ALSO",
        &[(
            "",
            "tether-cli(1), tether-dhcp-event(1), tether-service(1), tether-commands(7), systemd.service(5)",
        )],
    ),
];

const CLI: &[Section] = &[
    (
        "COMMANDS",
        &[(
            "",
            "tether-commands(7) has them all; ? shows them where they are typed. The same command line is there over SSH, for \
             the user who logs in.",
        )],
    ),
    (
        "EXIT STATUS",
        &[
            ("0", "Every command was done."),
            ("1", "A command failed, or no agent answers."),
            USAGE,
        ],
    ),
    ("FILES", &[SOCKETS]),
    ("SEE ALSO", &[("", "tether-agent(1), tether-commands(7)")]),
];

const DHCP_EVENT: &[Section] = &[
    (
        "EXIT STATUS",
        &[("0", "The agent has heard of it."), ONE_LINE, USAGE],
    ),
    ("FILES", &[SOCKETS]),
    ("SEE ALSO", &[("", "tether-agent(1)")]),
];

const SERVICE: &[Section] = &[
    (
        "ENVIRONMENT",
        &[("TETHER_SERVICE", "The name of the service, for COMMAND.")],
    ),
    (
        "EXIT STATUS",
        &[("0", "It was ended by SIGTERM or SIGINT."), ONE_LINE, USAGE],
    ),
    ("FILES", &[SOCKETS]),
    ("SEE ALSO", &[("", "tether-agent(1)")]),
];

/// Puts sections on a page.
pub fn write(sections: &[Section], page: &mut Roff) {
    for (heading, entries) in sections {
        page.control("SH", [*heading]);
        for (term, text) in *entries {
            entry(page, term, text);
        }
    }
}

/// A term with what it means, or a paragraph.
pub fn entry(page: &mut Roff, term: &str, text: &str) {
    if term.is_empty() {
        page.control("PP", []);
    } else {
        page.control("TP", []);
        page.text([bold(term)]);
    }
    page.text([roman(text)]);
}
