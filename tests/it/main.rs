//! The one integration binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod machine;
mod netconf;
mod steps;
mod tunnel;
mod wire;
