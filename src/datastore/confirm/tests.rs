//! In virtual time: the machine has no clock of its own.

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A machine whose base is a number: how many changes were there.
struct Timeline {
    confirm: Confirm<u32>,
    start: Instant,
    /// Since the start.
    now: Duration,
    /// Running, as the number of changes in it.
    running: u32,
}

impl Timeline {
    fn new() -> Self {
        Self {
            confirm: Confirm::default(),
            start: Instant::now(),
            now: Duration::ZERO,
            running: 0,
        }
    }

    fn now(&self) -> Instant {
        self.start + self.now
    }

    /// Time goes on; what is due is taken back.
    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.work();
    }

    fn work(&mut self) {
        if self.confirm.is_due(self.now()) {
            self.running = *self.confirm.base().unwrap();
            let nothing = || panic!("there is a base");
            self.confirm
                .committed(Effect::Ends(Ending::Confirmed), self.now(), nothing);
        }
    }

    fn request(&mut self, session: SessionId, request: &Request) -> Result<(), ErrorTag> {
        let effect = self.confirm.admit(session, request);
        let effect = effect.map_err(|error| error.tag)?;
        let before = self.running;
        self.running += 1;
        self.confirm.committed(effect, self.now(), || before);
        Ok(())
    }

    fn confirmed(
        &mut self,
        session: SessionId,
        timeout: Duration,
        tokens: [Option<&str>; 2],
    ) -> Result<(), ErrorTag> {
        let [persist_id, persist] = tokens.map(|token| token.map(str::to_owned));
        let confirmed = Some(Confirmed { timeout, persist });
        let request = Request {
            confirmed,
            persist_id,
        };
        self.request(session, &request)
    }

    fn commit(&mut self, session: SessionId, persist_id: Option<&str>) -> Result<(), ErrorTag> {
        let persist_id = persist_id.map(str::to_owned);
        let request = Request {
            confirmed: None,
            persist_id,
        };
        self.request(session, &request)
    }

    fn cancel(&mut self, session: SessionId, persist_id: Option<&str>) -> Result<(), ErrorTag> {
        let effect = self.confirm.admit_cancel(session, persist_id);
        let effect = effect.map_err(|error| error.tag)?;
        self.running = *self.confirm.base().unwrap();
        self.confirm
            .committed(effect, self.now(), || panic!("there is a base"));
        Ok(())
    }

    fn end(&mut self, session: SessionId) {
        self.confirm.end_session(session);
        self.work();
    }

    fn is_pending(&self) -> bool {
        self.confirm.base().is_some()
    }
}

const NONE: [Option<&str>; 2] = [None, None];

#[test]
fn without_a_confirmation_the_base_is_due_at_the_deadline_and_not_before() {
    let mut line = Timeline::new();
    line.confirmed(1, MINUTE, NONE).unwrap();
    assert_eq!(line.confirm.poll_timeout(), Some(line.start + MINUTE));
    line.wait(MINUTE - Duration::from_nanos(1));
    assert_eq!((line.running, line.is_pending()), (1, true));
    line.wait(Duration::from_nanos(1));
    assert_eq!((line.running, line.is_pending()), (0, false));
    assert_eq!(line.confirm.poll_timeout(), None);
}

#[test]
fn a_confirmation_in_time_ends_it_for_good() {
    let mut line = Timeline::new();
    line.confirmed(1, MINUTE, NONE).unwrap();
    line.wait(MINUTE / 2);
    line.commit(1, None).unwrap();
    assert!(!line.is_pending());
    line.wait(MINUTE * 1000);
    line.end(1);
    assert_eq!(line.running, 2);
}

#[test]
fn a_follow_up_counts_its_own_timeout_from_now_and_keeps_the_first_base() {
    let mut line = Timeline::new();
    line.commit(1, None).unwrap();
    line.confirmed(1, MINUTE, NONE).unwrap();
    line.wait(MINUTE / 2);
    line.confirmed(1, MINUTE * 10, NONE).unwrap();
    line.wait(MINUTE * 9);
    assert_eq!(line.running, 3);
    line.confirmed(1, MINUTE, NONE).unwrap();
    line.wait(MINUTE);
    assert_eq!((line.running, line.is_pending()), (1, false));
}

#[test]
fn what_fails_after_it_was_admitted_changes_nothing() {
    let mut line = Timeline::new();
    let request = Request {
        confirmed: Some(Confirmed {
            timeout: MINUTE,
            persist: None,
        }),
        persist_id: None,
    };
    drop(line.confirm.admit(1, &request).unwrap());
    assert!(!line.is_pending());
    line.request(1, &request).unwrap();
    drop(line.confirm.admit(1, &Request::default()).unwrap());
    drop(line.confirm.admit_cancel(1, None).unwrap());
    assert!(line.is_pending());
}

#[test]
fn another_session_has_no_part_in_it() {
    let mut line = Timeline::new();
    line.confirmed(1, MINUTE, NONE).unwrap();
    assert_eq!(line.commit(2, None), Err(ErrorTag::InUse));
    assert_eq!(line.confirmed(2, MINUTE, NONE), Err(ErrorTag::InUse));
    assert_eq!(line.cancel(2, None), Err(ErrorTag::OperationFailed));
    assert_eq!(line.commit(2, Some("guess")), Err(ErrorTag::InvalidValue));
    assert_eq!(
        line.confirm.writable_by(2).unwrap_err().tag,
        ErrorTag::InUse
    );
    line.confirm.writable_by(1).unwrap();
    line.end(2);
    assert_eq!((line.running, line.is_pending()), (1, true));
    line.end(1);
    assert_eq!((line.running, line.is_pending()), (0, false));
    line.commit(2, None).unwrap();
}

#[test]
fn running_is_locked_only_by_the_session_whose_commit_is_pending() {
    let mut line = Timeline::new();
    line.confirmed(7, MINUTE, [None, Some("t")]).unwrap();
    line.confirm.lockable_by(7).unwrap();
    let holder = |line: &Timeline| {
        let error = line.confirm.lockable_by(8).unwrap_err();
        assert_eq!(error.tag, ErrorTag::LockDenied);
        error.info[0].value.clone()
    };
    assert_eq!(holder(&line), "7");
    line.end(7);
    assert_eq!(holder(&line), "0");
}

#[test]
fn with_its_token_any_session_confirms_follows_up_and_cancels() {
    for own in [1, 2] {
        let mut line = Timeline::new();
        line.confirmed(1, MINUTE, [None, Some("t")]).unwrap();
        assert_eq!(line.commit(own, None), Err(ErrorTag::InUse));
        assert_eq!(line.commit(own, Some("u")), Err(ErrorTag::InvalidValue));
        assert_eq!(line.cancel(own, None), Err(ErrorTag::OperationFailed));
        assert_eq!(line.cancel(own, Some("u")), Err(ErrorTag::InvalidValue));
        line.end(1);
        assert!(line.is_pending(), "a token survives its session");
        line.confirmed(own, MINUTE, [Some("t"), None]).unwrap();
        // The token stays, until a follow-up gives another.
        line.confirmed(own, MINUTE, [Some("t"), Some("v")]).unwrap();
        assert_eq!(line.commit(own, Some("t")), Err(ErrorTag::InvalidValue));
        match own {
            1 => {
                line.commit(3, Some("v")).unwrap();
                assert_eq!((line.running, line.is_pending()), (4, false));
            }
            _ => {
                line.cancel(3, Some("v")).unwrap();
                assert_eq!((line.running, line.is_pending()), (0, false));
            }
        }
    }
}

#[test]
fn a_follow_up_may_give_the_first_token() {
    let mut line = Timeline::new();
    line.confirmed(1, MINUTE, NONE).unwrap();
    line.confirmed(1, MINUTE, [None, Some("t")]).unwrap();
    line.end(1);
    assert!(line.is_pending());
    line.commit(2, Some("t")).unwrap();
    assert_eq!(line.running, 3);
}

#[test]
fn a_token_of_nothing_is_refused_and_there_is_nothing_to_cancel() {
    let mut line = Timeline::new();
    assert_eq!(line.commit(1, Some("t")), Err(ErrorTag::InvalidValue));
    assert_eq!(line.cancel(1, Some("t")), Err(ErrorTag::InvalidValue));
    assert_eq!(line.cancel(1, None), Err(ErrorTag::OperationFailed));
    assert_eq!(
        line.confirmed(1, MINUTE, [Some("t"), None]),
        Err(ErrorTag::InvalidValue)
    );
}

#[test]
fn a_rollback_that_is_put_off_is_due_again_and_nobody_can_confirm_meanwhile() {
    let mut line = Timeline::new();
    line.confirmed(1, MINUTE, [None, Some("t")]).unwrap();
    line.now = MINUTE;
    assert!(line.confirm.is_due(line.now()));
    line.confirm.put_off(line.now());
    assert!(!line.confirm.is_due(line.now()));
    for persist_id in [None, Some("t")] {
        assert_eq!(line.commit(1, persist_id), Err(ErrorTag::InUse));
        assert_eq!(line.cancel(1, persist_id), Err(ErrorTag::OperationFailed));
    }
    assert_eq!(
        line.confirm.writable_by(1).unwrap_err().tag,
        ErrorTag::InUse
    );
    let again = line.confirm.poll_timeout().unwrap();
    assert!(again > line.now());
    line.now = again - line.start;
    line.work();
    assert_eq!((line.running, line.is_pending()), (0, false));
}

#[derive(Clone, Debug)]
enum Act {
    Confirmed(SessionId, u64, Option<&'static str>, Option<&'static str>),
    Commit(SessionId, Option<&'static str>),
    Cancel(SessionId, Option<&'static str>),
    End(SessionId),
    Wait(u64),
}

fn an_act() -> impl Strategy<Value = Act> {
    let session = || 1..4_u32;
    let token = || prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))];
    prop_oneof![
        (session(), 1..100_u64, token(), token())
            .prop_map(|(s, t, i, p)| Act::Confirmed(s, t, i, p)),
        (session(), token()).prop_map(|(s, i)| Act::Commit(s, i)),
        (session(), token()).prop_map(|(s, i)| Act::Cancel(s, i)),
        session().prop_map(Act::End),
        (0..80_u64).prop_map(Act::Wait),
    ]
}

/// The text of RFC 6241, section 8.4, as plainly as it can be written: a pending commit is a tuple.
#[derive(Default)]
struct Plain {
    running: u32,
    now: u64,
    /// Base, session, token, deadline.
    pending: Option<(u32, SessionId, Option<&'static str>, u64)>,
}

impl Plain {
    fn may(&self, session: SessionId, given: Option<&'static str>) -> bool {
        match (self.pending, given) {
            (None, given) => given.is_none(),
            (Some((_, own, None, _)), given) => given.is_none() && own == session,
            (Some((_, _, token, _)), given) => token == given,
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Confirmed(session, timeout, given, new) if self.may(session, given) => {
                let base = self.pending.map_or(self.running, |pending| pending.0);
                let old = self.pending.and_then(|pending| pending.2);
                self.pending = Some((base, session, new.or(old), self.now + timeout));
                self.running += 1;
            }
            Act::Commit(session, given) if self.may(session, given) => {
                self.pending = None;
                self.running += 1;
            }
            Act::Cancel(session, given) if self.may(session, given) => self.back(|_| true),
            Act::End(ended) => {
                self.back(|(_, session, token, _)| session == ended && token.is_none())
            }
            Act::Wait(time) => {
                self.now += time;
                let now = self.now;
                self.back(|(.., until)| until <= now);
            }
            _ => {}
        }
    }

    fn back(&mut self, if_: impl Fn((u32, SessionId, Option<&'static str>, u64)) -> bool) {
        if let Some(pending) = self.pending.filter(|pending| if_(*pending)) {
            self.running = pending.0;
            self.pending = None;
        }
    }
}

proptest! {
    #[test]
    fn any_course_of_events_ends_where_the_text_of_the_rfc_says(acts in prop::collection::vec(an_act(), 1..60)) {
        let mut line = Timeline::new();
        let mut plain = Plain::default();
        for act in acts {
            // A refusal shows in what is running afterwards.
            let _ = match act {
                Act::Confirmed(session, timeout, given, new) => {
                    line.confirmed(session, Duration::from_secs(timeout), [given, new])
                }
                Act::Commit(session, given) => line.commit(session, given),
                Act::Cancel(session, given) => line.cancel(session, given),
                Act::End(session) => {
                    line.end(session);
                    Ok(())
                }
                Act::Wait(seconds) => {
                    line.wait(Duration::from_secs(seconds));
                    Ok(())
                }
            };
            plain.act(&act);
            prop_assert_eq!(line.running, plain.running, "{:?}", act);
            prop_assert_eq!(line.is_pending(), plain.pending.is_some(), "{:?}", act);
        }
    }
}
