//! The tunnel machine in virtual time: recorded scenarios, properties, and the language both are told in.

mod chaos;
mod properties;
mod render;
mod scenarios;
mod script;
