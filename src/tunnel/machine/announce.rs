//! What is told of an event: one notification for each state that is another after it than before.

use std::collections::BTreeMap;

use super::Tunnel;
use super::established::Established;
use super::event::{Action, Notification};
use crate::model::status::{ConnectionState, SubconnectionState, SubconnectionStatus};

/// What is compared over an event to know what to announce.
pub(super) struct Milestones {
    connection: ConnectionState,
    subconnections: BTreeMap<String, SubconnectionStatus>,
}

impl Tunnel {
    pub(super) fn milestones(&self) -> Milestones {
        Milestones {
            connection: self.phase().0,
            subconnections: self.status_of_subconnections(),
        }
    }

    fn status_of_subconnections(&self) -> BTreeMap<String, SubconnectionStatus> {
        let all = self
            .established()
            .map_or_else(Vec::new, Established::subconnections);
        all.into_iter()
            .map(|one| (one.service.clone(), one))
            .collect()
    }

    /// One notification for each state that is another after an event than before it, however it came about.
    pub(super) fn announce(&mut self, before: &Milestones) {
        let (state, device) = self.phase();
        if state != before.connection {
            let ended = before.connection == ConnectionState::Established;
            let changed = Notification::ConnectionStateChanged {
                previous: before.connection,
                state,
                device,
                server: self.shown.server.clone(),
                failure: self.shown.failure,
                down: self
                    .last_down
                    .filter(|_| ended)
                    .map(|last_down| last_down.reason),
            };
            self.out.push(Action::Notify(changed));
        }
        let after = self.status_of_subconnections();
        for gone in before.subconnections.values() {
            if !after.contains_key(&gone.service) {
                self.announce_subconnection(Some(gone), gone, SubconnectionState::Closed);
            }
        }
        for now in after.values() {
            let previous = before.subconnections.get(&now.service);
            if previous.map(|before| before.state) != Some(now.state) {
                self.announce_subconnection(previous, now, now.state);
            }
        }
    }

    fn announce_subconnection(
        &mut self,
        previous: Option<&SubconnectionStatus>,
        subject: &SubconnectionStatus,
        state: SubconnectionState,
    ) {
        self.out
            .push(Action::Notify(Notification::SubconnectionStateChanged {
                service: subject.service.clone(),
                previous: previous.map(|before| before.state),
                state,
                url: subject.url.clone(),
                failure: subject.failure,
            }));
    }
}
