//! The one integration binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod actions;
mod architecture;
mod backup;
mod chaos;
mod cloud;
mod commit_table;
mod datastore;
mod discovery;
mod errors;
mod filters;
mod further_modules;
mod hooks;
mod isolation;
mod machine;
mod messages;
mod monitoring;
mod nacm;
mod netconf;
mod nmda;
mod notifications;
mod plain_model;
mod rfc6241;
mod round_trip;
mod schema;
mod services;
mod source;
mod steps;
mod support;
mod system;
mod through_tunnel;
mod tunnel;
mod unbinding;
mod wire;
mod with_defaults;
