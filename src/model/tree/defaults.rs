//! Values that the schema gives by default, in a configuration that is copied (RFC 6243, section 4.5.1).
#![allow(unsafe_code)] // the libyang binding is wrapped here

use yang5::ffi;

use super::{Node, Tree};

impl Tree {
    /// Takes out every value that equals its default, set or not.
    pub fn trim_defaults(&mut self) {
        self.retain(&mut |node| !node.has_default_value() || node.is_key());
    }

    /// Makes every default that is in use one that somebody set.
    pub fn set_defaults(&mut self) {
        self.add_defaults(false);
        let nodes = self.roots().flat_map(|root| root.descendants());
        let defaults = nodes.filter(|node| node.is_default() && node.value().is_some());
        let set: Vec<_> = defaults
            .flat_map(|leaf| std::iter::successors(Some(leaf), Node::parent))
            .map(Node::raw)
            .collect();
        for raw in set {
            // SAFETY: nodes of ours, to which no other handle is used; the flag says only who set a value, and a
            // container in which something is set is no default itself.
            unsafe { (*raw).flags &= !ffi::LYD_DEFAULT };
        }
    }
}
