//! Layer 0: the YANG model, its data, and what both become as Rust types.
pub mod crypt_hash;
pub mod date_and_time;
pub mod error;
pub mod network;
pub mod paths;
pub mod schema;
pub mod secret;
pub mod settings;
pub mod status;
pub mod tree;
pub mod xml;
