//! Layer 2: the device itself as ietf-system (RFC 7317) and ietf-hardware (RFC 8348) show it.

use chrono::{DateTime, Utc};

use crate::datastore::subscriber::{StateProvider, Telling};
use crate::model::date_and_time;
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::tree::Tree;

/// What is known of the device; found out once, at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Serial number of the chassis.
    pub serial_number: String,
    /// Model, if the hardware tells.
    pub model: Option<String>,
    /// Manufacturer, if the hardware tells.
    pub manufacturer: Option<String>,
    /// Operating system, release, version, machine (uname).
    pub platform: [String; 4],
    /// When the system was started.
    pub boot_time: DateTime<Utc>,
}

/// Shows `/system-state`; `now` tells the time.
pub struct SystemState<N>(pub Device, pub N);

/// Shows `/hardware`.
pub struct HardwareState(pub Device);

/// Sets each leaf; a value that its type refuses is left out, as it is no more than what the hardware says.
fn show(into: &mut Tree, leaves: &[(String, Option<&str>)]) {
    for (path, value) in leaves.iter().filter(|(_, value)| value.is_some()) {
        let shown: Result<(), RpcError> = into.set(path, *value);
        drop(shown);
    }
}

impl<N: Fn() -> DateTime<Utc> + Send + Sync> StateProvider for SystemState<N> {
    fn module(&self) -> &'static str {
        "ietf-system"
    }

    fn state(&self, into: &mut Tree) {
        let Self(device, now) = self;
        let [name, release, version, machine] = &device.platform;
        let path = |leaf: &str| format!("{}/{leaf}", paths::SYSTEM_STATE);
        let (now, boot) = (
            date_and_time::seconds(now()),
            date_and_time::seconds(device.boot_time),
        );
        let leaves = [
            (path("platform/os-name"), Some(name.as_str())),
            (path("platform/os-release"), Some(release)),
            (path("platform/os-version"), Some(version)),
            (path("platform/machine"), Some(machine)),
            (path("clock/current-datetime"), Some(now.as_str())),
            (path("clock/boot-datetime"), Some(boot.as_str())),
        ];
        show(into, &leaves);
    }

    fn telling(&self) -> Option<Telling> {
        Telling::nothing_but(&paths::SYSTEM_UNSETTLED)
    }
}

impl StateProvider for HardwareState {
    fn module(&self) -> &'static str {
        "ietf-hardware"
    }

    fn state(&self, into: &mut Tree) {
        let path = |leaf: &str| format!("{}/component[name='chassis']/{leaf}", paths::HARDWARE);
        let leaves = [
            (path("class"), Some("iana-hardware:chassis")),
            (path("serial-num"), Some(self.0.serial_number.as_str())),
            (path("mfg-name"), self.0.manufacturer.as_deref()),
            (path("model-name"), self.0.model.as_deref()),
        ];
        show(into, &leaves);
    }

    /// It was found out at the start, and stays.
    fn telling(&self) -> Option<Telling> {
        Telling::nothing_but(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::Schema;

    #[test]
    fn the_chassis_bears_the_serial_number_and_the_clock_the_time() {
        let device = Device {
            serial_number: "210235A1XXX000000001".to_owned(),
            model: None,
            manufacturer: Some("Example".to_owned()),
            platform: ["Linux", "6.1", "#1", "x86_64"].map(str::to_owned),
            boot_time: DateTime::UNIX_EPOCH,
        };
        let mut tree = Tree::new(Schema::load(&[]).unwrap());
        HardwareState(device.clone()).state(&mut tree);
        SystemState(device, || DateTime::UNIX_EPOCH).state(&mut tree);
        let serial = tree.value("/ietf-hardware:hardware/component[name='chassis']/serial-num");
        assert_eq!(serial.as_deref(), Some("210235A1XXX000000001"));
        let now = tree.value("/ietf-system:system-state/clock/current-datetime");
        assert!(now.unwrap().starts_with("1970-01-01T00:00:00"));
    }
}
