//! The unbinding code: sent once for each commit or action that sets it, again until an answer came, never after
//! (cloud-protocol.md, "Unbinding").

use std::time::Instant;

use super::event::{Action, Notification};
use super::{State, Tunnel};
use crate::model::settings::Secret;
use crate::model::status::{FailureReason, Moment, UnbindingState};
use crate::model::xml::presentable;
use crate::tunnel::wire::{DeviceMessage, UnbindAnswer};

/// Longest reason of the cloud that is kept (`unbinding/reason` of the YANG module).
const LONGEST_REASON: usize = 255;

impl Tunnel {
    /// The leaf as it is now; after the start too, where a value that was already taken over is not sent again.
    pub(super) fn configured_code(&mut self, code: Option<Secret>, now: Instant) {
        if code == self.unbinding.configured {
            return;
        }
        let before = std::mem::replace(&mut self.unbinding.configured, code.clone());
        match code {
            Some(code) => self.new_code(code, now),
            None => {
                // A code that is taken out of the configuration before it was sent is not to be sent.
                if self.unbinding.state == UnbindingState::Pending && self.unbinding.code == before
                {
                    self.unbinding.code = None;
                    self.unbinding.state = UnbindingState::None;
                    self.unbinding.at = None;
                }
                self.save_unbinding();
            }
        }
    }

    /// The leaf as it was before a commit that is taken back.
    pub(super) fn restored_code(&mut self, code: Option<Secret>) {
        if code != self.unbinding.configured {
            self.unbinding.restore(code);
            self.save_unbinding();
        }
    }

    /// One more code; it takes the place of one that is not answered.
    pub(super) fn new_code(&mut self, code: Secret, now: Instant) {
        self.unbinding.id += 1;
        self.unbinding.code = Some(code);
        self.unbinding.reason = None;
        self.unbinding.state = UnbindingState::Pending;
        self.unbinding.at = Some(Moment::Run(now));
        // Stored before it is sent: after a crash it goes out again under the same number.
        self.save_unbinding();
        match self.state {
            // "Slow retry; an unbinding code lifts it": the one refusal to which it is the answer.
            State::Waiting { .. } if self.retry.failed_for(FailureReason::BoundToAnotherUser) => {
                self.wake(now);
            }
            _ => self.send_code(now),
        }
    }

    /// The code that still needs an answer, with its number.
    pub(super) fn unanswered_code(&self) -> Option<(u64, Secret)> {
        let code = self.unbinding.code.clone()?;
        Some((self.unbinding.id, code))
    }

    /// Sends the code if there is one to send and a connection to send it on.
    pub(super) fn send_code(&mut self, now: Instant) {
        let Some((id, code)) = self.unanswered_code() else {
            return;
        };
        let State::Established(established) = &mut self.state else {
            return;
        };
        established.sends(self.interval, now);
        self.out
            .push(Action::Send(DeviceMessage::Unbind { code, id }));
        self.code_sent(now);
    }

    /// It is on its way, by a message or with the authentication.
    pub(super) fn code_sent(&mut self, now: Instant) {
        if self.unbinding.state != UnbindingState::Sent {
            self.unbinding.state = UnbindingState::Sent;
            self.unbinding.at = Some(Moment::Run(now));
            self.save_unbinding();
        }
    }

    /// The cloud answered the code of this number. False when nobody waits for that answer.
    pub(super) fn code_answered(&mut self, id: u64, answer: UnbindAnswer, now: Instant) -> bool {
        if id != self.unbinding.id || self.unbinding.state != UnbindingState::Sent {
            return false;
        }
        let code = self.unbinding.code.take();
        let (state, reason) = match answer {
            UnbindAnswer::Accepted => (UnbindingState::Accepted, None),
            UnbindAnswer::Refused { reason } => {
                (UnbindingState::Refused, shorten(&without(&reason, code)))
            }
        };
        self.unbinding.state = state;
        self.unbinding.reason.clone_from(&reason);
        self.unbinding.at = Some(Moment::Run(now));
        self.save_unbinding();
        self.out
            .push(Action::Notify(Notification::UnbindingAnswered {
                id,
                state,
                reason,
            }));
        true
    }

    fn save_unbinding(&mut self) {
        self.out.push(Action::SaveUnbinding(self.unbinding.clone()));
    }
}

/// The cloud's word without the code, which it may repeat: more may read the state than the code.
fn without(reason: &str, code: Option<Secret>) -> String {
    match code {
        Some(code) if !code.reveal().is_empty() => reason.replace(code.reveal(), "***"),
        _ => reason.to_owned(),
    }
}

/// The cloud's word as it may stand in the leaf.
fn shorten(reason: &str) -> Option<String> {
    let reason = presentable(reason, LONGEST_REASON);
    (!reason.is_empty()).then_some(reason)
}
