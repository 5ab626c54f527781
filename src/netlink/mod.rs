//! Layer 1: the network of the device as the kernel tells it (rtnetlink).
//!
//! [`watcher`] keeps a [`Network`](crate::model::network::Network) up to date; [`read`] makes it of the kernel's messages.

pub mod read;
pub mod watcher;
