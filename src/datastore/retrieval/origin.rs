//! Where configuration in use comes from (RFC 8342, section 5.3.4).

use crate::model::tree::{Node, NodeKind, Snapshot};

macro_rules! origins {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// An identity of ietf-origin.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Origin { $($(#[$doc])* $name),+ }
        impl Origin {
            /// The name of the identity, without prefix.
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => $word),+ } }
            /// The origin of that name.
            pub fn parse(word: &str) -> Option<Self> { match word { $($word => Some(Self::$name),)+ _ => None } }
        }
    };
}

origins! {
    /// What all others are derived from.
    Any = "origin",
    /// From the configuration.
    Intended = "intended",
    /// From a dynamic configuration datastore.
    Dynamic = "dynamic",
    /// From the system itself.
    System = "system",
    /// Learned from others, as by DHCP.
    Learned = "learned",
    /// A default in use.
    Default = "default",
    /// Not known.
    Unknown = "unknown",
}

/// Which origins are wanted (RFC 8526, section 3.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginFilter {
    /// These,
    pub origins: Vec<Origin>,
    /// or all but these.
    pub negated: bool,
}

impl OriginFilter {
    /// Whether configuration of an origin is wanted.
    pub(super) fn admits(&self, origin: Origin) -> bool {
        let is_named = self
            .origins
            .iter()
            .any(|named| *named == origin || *named == Origin::Any);
        is_named != self.negated
    }
}

/// The origin of a configuration node in use. `intended` is the configuration in force where the node's tree holds more
/// than that: what is not in it the system has put there.
pub(super) fn origin_of(node: Node<'_>, intended: Option<&Snapshot>) -> Origin {
    let is_value = matches!(node.kind(), NodeKind::Leaf | NodeKind::LeafList);
    let is_set = |tree: &Snapshot| tree.find(&node.path()).is_some();
    match intended {
        _ if is_value && node.is_default() => Origin::Default,
        Some(tree) if !is_set(tree) => Origin::System,
        _ => Origin::Intended,
    }
}
