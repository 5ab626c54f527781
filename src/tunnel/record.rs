//! What the tunnel remembers over a restart: the last loss and the unbinding code.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::model::settings::Secret;
use crate::model::status::{Clocks, LastDown, LastDownReason, Moment, Unbinding, UnbindingState};

/// What is stored. The dates are those of the device's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Of the device that stored it: another serial number is another device, whose bindings these are not.
    pub serial_number: String,
    /// The last loss.
    pub last_down: Option<LastDown>,
    /// The unbinding code and what became of it.
    pub unbinding: Unbinding,
}

/// Where it is stored.
pub trait TunnelStore: Send + Sync + 'static {
    /// Stores a record in place of the one before; durable when it returns. May take long, and is called from a thread
    /// that may wait.
    ///
    /// # Errors
    /// What the disk says.
    fn save(&self, record: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

impl Record {
    /// With all moments as dates, which is what survives.
    #[must_use]
    pub fn dated(mut self, clocks: Clocks) -> Self {
        let date = |moment| Moment::Stored(clocks.date_of_moment(moment));
        self.unbinding.at = self.unbinding.at.map(date);
        if let Some(last_down) = &mut self.last_down {
            last_down.at = date(last_down.at);
        }
        self
    }

    /// Writes a record whose moments are dates; others are left out.
    pub fn to_bytes(&self) -> Vec<u8> {
        let unbinding = &self.unbinding;
        let reveal = |code: &Option<Secret>| code.as_ref().map(|code| code.reveal().to_owned());
        let last_down = self
            .last_down
            .map(|down| json!({ "reason": down.reason.as_yang(), "at": seconds(Some(down.at)) }));
        let record = json!({
            "serial-number": self.serial_number,
            "last-down": last_down,
            "unbinding": {
                "status": unbinding.state.as_yang(),
                "reason": unbinding.reason,
                "at": seconds(unbinding.at),
                "id": unbinding.id,
                "code": reveal(&unbinding.code),
                "configured": reveal(&unbinding.configured),
            },
        });
        record.to_string().into_bytes()
    }

    /// Reads what was stored; what is missing or makes no sense counts as never stored. "A changed `--serial-number`
    /// wins and drops the unbinding state", but for the leaf's value: that running still holds a code of the device
    /// before is no commit that sets one.
    pub fn from_bytes(bytes: &[u8], serial_number: &str) -> Self {
        let empty = Self {
            serial_number: serial_number.to_owned(),
            ..Self::default()
        };
        let Ok(Value::Object(stored)) = serde_json::from_slice(bytes) else {
            return empty;
        };
        let last_down = object(&stored, "last-down").and_then(|down| {
            Some(LastDown {
                reason: LastDownReason::from_yang(down.get("reason")?.as_str()?)?,
                at: moment(down, "at")?,
            })
        });
        let same = stored.get("serial-number").and_then(Value::as_str) == Some(serial_number);
        let unbinding = object(&stored, "unbinding").and_then(read_unbinding);
        let unbinding = unbinding.unwrap_or_default();
        Self {
            last_down,
            unbinding: if same {
                unbinding
            } else {
                Unbinding {
                    configured: unbinding.configured,
                    ..Unbinding::default()
                }
            },
            ..empty
        }
    }
}

/// A stored record after a start has taken a commit back: `configured` is the leaf's value before that commit, `last_down` what
/// the tunnel lost by it.
pub fn restored(stored: &[u8], configured: Option<Secret>, last_down: Option<LastDown>) -> Vec<u8> {
    let read: Value = serde_json::from_slice(stored).unwrap_or_default();
    let serial_number = read["serial-number"].as_str().unwrap_or_default();
    let mut record = Record::from_bytes(stored, serial_number);
    record.unbinding.restore(configured);
    record.last_down = last_down.or(record.last_down);
    record.to_bytes()
}

fn read_unbinding(stored: &Map<String, Value>) -> Option<Unbinding> {
    let text = |name: &str| stored.get(name).and_then(Value::as_str);
    Some(Unbinding {
        state: UnbindingState::from_yang(text("status")?)?,
        reason: text("reason").map(str::to_owned),
        at: moment(stored, "at"),
        id: stored.get("id")?.as_u64()?,
        code: text("code").map(Secret::new),
        configured: text("configured").map(Secret::new),
    })
}

fn object<'a>(within: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    within.get(name)?.as_object()
}

fn seconds(moment: Option<Moment>) -> Option<u64> {
    match moment? {
        Moment::Stored(date) => date
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .map(|since| since.as_secs()),
        Moment::Run(_) => None,
    }
}

fn moment(within: &Map<String, Value>, name: &str) -> Option<Moment> {
    let seconds = within.get(name)?.as_u64()?;
    let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    Some(Moment::Stored(date))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let at = Moment::Stored(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        Record {
            serial_number: "S1".into(),
            last_down: Some(LastDown {
                reason: LastDownReason::Evicted,
                at,
            }),
            unbinding: Unbinding {
                state: UnbindingState::Sent,
                reason: None,
                at: Some(at),
                id: 7,
                code: Some(Secret::new("4711")),
                configured: Some(Secret::new("4711")),
            },
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let bytes = record().to_bytes();
        assert_eq!(Record::from_bytes(&bytes, "S1"), record());
    }

    #[test]
    fn another_serial_number_drops_the_unbinding_state_but_not_what_was_taken_over() {
        let read = Record::from_bytes(&record().to_bytes(), "S2");
        let configured = record().unbinding.configured;
        let expected = Unbinding {
            configured,
            ..Unbinding::default()
        };
        assert_eq!(read.unbinding, expected);
        assert_eq!(read.last_down, record().last_down);
        assert_eq!(read.serial_number, "S2");
    }

    #[test]
    fn a_start_that_takes_a_commit_back_keeps_the_answer_and_drops_the_code_that_has_not_left() {
        let before = Some(Secret::new("4710"));
        let read = |bytes: &[u8]| Record::from_bytes(bytes, "S1");
        let mut answered = record();
        answered.unbinding.state = UnbindingState::Accepted;
        answered.unbinding.code = None;
        let after = read(&restored(&answered.to_bytes(), before.clone(), None));
        answered.unbinding.configured.clone_from(&before);
        assert_eq!(after, answered);

        let mut pending = record();
        pending.unbinding.state = UnbindingState::Pending;
        let after = read(&restored(&pending.to_bytes(), before.clone(), None));
        let expected = Unbinding {
            id: 7,
            configured: before.clone(),
            ..Unbinding::default()
        };
        assert_eq!(after.unbinding, expected);

        // It has left: an answer may still come, but it does not leave again.
        let after = read(&restored(&record().to_bytes(), before.clone(), None));
        assert_eq!(after.unbinding.state, UnbindingState::Sent);
        assert_eq!(after.unbinding.code, None);

        let nothing = read(&restored(b"", before.clone(), record().last_down));
        assert_eq!(nothing.unbinding.configured, before);
        assert_eq!(nothing.last_down, record().last_down);
    }

    #[test]
    fn nonsense_counts_as_never_stored() {
        for bytes in [
            &b""[..],
            b"[]",
            b"{}",
            br#"{"unbinding":{"status":"lost"}}"#,
        ] {
            assert_eq!(
                Record::from_bytes(bytes, "S").unbinding,
                Unbinding::default()
            );
        }
    }
}
