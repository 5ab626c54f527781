//! What the extensions of RFC 8341 say of a schema node.

use super::SchemaNode;

/// Access without any rule for it (RFC 8341, section 9, `nacm:default-deny-write` and `nacm:default-deny-all`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DefaultDeny {
    /// As the defaults of the configuration say.
    No,
    /// No creation, change or removal.
    Write,
    /// Nothing at all.
    All,
}

impl SchemaNode {
    /// The strictest statement on the node or on what it is in: both extensions go for all descendants.
    pub fn default_deny(self) -> DefaultDeny {
        let own = self
            .extensions()
            .filter(|(module, _)| *module == "ietf-netconf-acm")
            .map(|(_, name)| match name {
                "default-deny-all" => DefaultDeny::All,
                "default-deny-write" => DefaultDeny::Write,
                _ => DefaultDeny::No,
            })
            .max()
            .unwrap_or(DefaultDeny::No);
        match (own, self.parent()) {
            (DefaultDeny::All, _) | (_, None) => own,
            (_, Some(parent)) => own.max(parent.default_deny()),
        }
    }
}
