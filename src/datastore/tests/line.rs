//! A tunnel that a test makes up: up and down when the test says so.

use std::sync::{Arc, Mutex};

use crate::datastore::guard::News;
use crate::datastore::subscriber::{Change, ConfigSubscriber, Direction, Prepared, Reach};
use crate::datastore::{Guarded, Parts, Version};
use crate::model::error::RpcError;
use crate::model::paths;

/// What its target is.
pub const PORT: &str = "/cloud-management:cloud-management/server/port";

/// A tunnel whose target is the port of the server.
#[derive(Debug, Default)]
pub struct Line {
    /// The port that it stands on.
    up: Option<String>,
    /// What is configured, and by which change.
    port: Option<String>,
    number: Version,
    reached: Version,
    /// How often it was told that the guard takes back.
    pub rolled_back: usize,
}

/// The tunnel, as a part of the agent.
#[derive(Clone, Default)]
pub struct Tunnel(pub Arc<Mutex<Line>>);

impl Tunnel {
    /// The parts of an agent that has it.
    pub fn parts(&self) -> Parts {
        let line = Arc::clone(&self.0);
        Parts {
            subscribers: vec![Box::new(self.clone())],
            guarded: Some(Guarded {
                ask: Box::new(move || News {
                    reached: line.lock().unwrap().reached,
                    ..News::default()
                }),
                show: Box::new(|_| {}),
                last: None,
            }),
            ..Parts::default()
        }
    }

    /// It is established.
    pub fn comes_up(&self) {
        let mut line = self.0.lock().unwrap();
        line.up = line.port.clone();
        if line.up.is_some() {
            line.reached = line.number;
        }
    }

    /// It is lost.
    pub fn is_lost(&self) {
        self.0.lock().unwrap().up = None;
    }
}

struct Ready {
    line: Arc<Mutex<Line>>,
    port: Option<String>,
    number: Version,
    direction: Direction,
    reach: Reach,
}

impl ConfigSubscriber for Tunnel {
    fn reads(&self) -> Option<Vec<&'static str>> {
        Some(vec![paths::SERVER])
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        let line = self.0.lock().unwrap();
        if !change.at_start && !change.diff.touches(paths::SERVER) {
            return Ok(Box::new(|| {}));
        }
        let port = change.new.value(PORT);
        let reach = match (port == line.port, &line.up) {
            (true, _) => Reach::Kept,
            (false, None) => Reach::Moved,
            (false, Some(_)) => Reach::Cut,
        };
        Ok(Box::new(Ready {
            line: Arc::clone(&self.0),
            port,
            number: change.number,
            direction: change.direction,
            reach,
        }))
    }
}

impl Prepared for Ready {
    fn apply(self: Box<Self>) {
        let mut line = self.line.lock().unwrap();
        if line.port != self.port {
            line.up = None;
        }
        line.port = self.port;
        line.number = self.number;
        line.rolled_back += usize::from(self.direction == Direction::RolledBack);
        if line.up.is_some() {
            line.reached = line.number;
        }
    }

    fn reach(&self) -> Reach {
        self.reach
    }
}
