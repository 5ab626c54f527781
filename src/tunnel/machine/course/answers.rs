//! What the cloud's answers mean for an attempt.

use super::terms::{Goal, Means, Outcome};
use super::{CHALLENGE_CONNECTIONS, Course, Once};
use crate::model::settings::Secret;
use crate::model::status::{FailureReason, ProcessState};
use crate::tunnel::machine::event::{AuthenticationOutcome, Reply};
use crate::tunnel::wire::{RegistrationAnswer, UpgradeRefusal};

impl Course {
    /// To the request that is the goal.
    pub(super) fn answered(&mut self, reply: Reply, means: &mut Means<'_>) -> Outcome {
        use Goal::{Authenticate, Register, Unbind, Upgrade};
        let before = self.progress.process;
        self.progress.process = ProcessState::MessageReceived;
        match (self.goal.clone(), reply) {
            (Authenticate | Unbind { .. }, Reply::Authentication { outcome, reusable }) => {
                self.authenticated(outcome, reusable, means)
            }
            (Register { token }, Reply::Registration { answer, reusable }) => {
                self.registered(token, answer, reusable, means)
            }
            (Upgrade { token, .. }, Reply::Upgraded) => Outcome::Upgraded { token },
            (Upgrade { .. }, Reply::UpgradeRefused { refusal, reusable }) => {
                self.upgrade_refused(&refusal, reusable, means)
            }
            (_, reply) => {
                self.progress.process = before;
                broken(&reply)
            }
        }
    }

    fn authenticated(
        &mut self,
        outcome: AuthenticationOutcome,
        reusable: bool,
        means: &mut Means<'_>,
    ) -> Outcome {
        use AuthenticationOutcome as Answer;
        let unbinds = matches!(self.goal, Goal::Unbind { .. });
        match outcome {
            Answer::Granted { token } => {
                self.goal = Goal::Register { token };
                self.proceed(reusable, means)
            }
            Answer::AskAgain if self.challenges < CHALLENGE_CONNECTIONS => {
                self.challenges += 1;
                self.proceed(false, means)
            }
            Answer::BoundToAnotherUser => self.bound(reusable, means),
            Answer::CodeInvalid if unbinds => self.bound(reusable, means),
            Answer::Busy { retry_after } => Outcome::busy(retry_after),
            refused => Outcome::failed(refused.refusal()),
        }
    }

    /// "After 403 `bound-to-another-user` with an unanswered code the device at once sends one more authentication on
    /// the same connection"; the code may be one that came while another was being judged.
    fn bound(&mut self, reusable: bool, means: &mut Means<'_>) -> Outcome {
        let Some((id, code)) = means.code.take() else {
            return Outcome::failed(FailureReason::BoundToAnotherUser);
        };
        self.goal = Goal::Unbind { id, code };
        self.proceed(reusable, means)
    }

    fn registered(
        &mut self,
        token: Secret,
        answer: RegistrationAnswer,
        reusable: bool,
        means: &mut Means<'_>,
    ) -> Outcome {
        match answer {
            RegistrationAnswer::Success { url, .. } => {
                self.goal = Goal::Upgrade { token, url };
                self.proceed(reusable, means)
            }
            RegistrationAnswer::TokenExpired if self.first(Once::TokenAfterRegistration) => {
                self.goal = Goal::Authenticate;
                self.proceed(reusable, means)
            }
            RegistrationAnswer::Busy { retry_after } => Outcome::busy(retry_after),
            RegistrationAnswer::TokenExpired | RegistrationAnswer::Failed { .. } => {
                Outcome::failed(FailureReason::RegistrationFailed)
            }
        }
    }

    fn upgrade_refused(
        &mut self,
        refusal: &UpgradeRefusal,
        reusable: bool,
        means: &mut Means<'_>,
    ) -> Outcome {
        match refusal {
            UpgradeRefusal::TokenExpired if self.first(Once::TokenAfterHandshake) => {
                self.goal = Goal::Authenticate;
                self.proceed(reusable, means)
            }
            UpgradeRefusal::Busy { retry_after } => Outcome::busy(*retry_after),
            UpgradeRefusal::TokenExpired | UpgradeRefusal::Failed { .. } => {
                Outcome::failed(FailureReason::HandshakeFailed)
            }
        }
    }

    /// True the first time only.
    fn first(&mut self, once: Once) -> bool {
        let first = !self.spent.contains(&once);
        if first {
            self.spent.push(once);
        }
        first
    }
}

/// What a reply means that is no answer to the step.
pub(super) fn broken(reply: &Reply) -> Outcome {
    match reply {
        Reply::Failed(error) => Outcome::failed(error.reason()),
        Reply::Lost | Reply::Closed(_) => Outcome::failed(FailureReason::ConnectFailed),
        // It does not belong to the phase: sent twice or overtaken.
        _ => Outcome::Underway,
    }
}
