//! Layer 1: the datastores of RFC 8342 and the one door to running.
pub mod commit;
pub mod driver;
pub mod edit;
pub mod filter;
pub mod lock;
pub mod nacm;
pub mod store;
pub mod subscriber;
