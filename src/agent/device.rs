//! Finding out what device this is.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use nix::sys::utsname::uname;

use crate::datastore::store::{Store, StoreError};
use crate::system::Device;

/// Under which the store keeps it, and the name of the credential (systemd.exec(5), `LoadCredential=`) that hands it to an
/// agent that may not read the files itself.
const SERIAL_NUMBER: &str = "serial-number";
/// Where Linux tells the serial number: DMI on a PC, the device tree elsewhere.
const SERIAL_FILES: [&str; 2] = [
    "/sys/class/dmi/id/product_serial",
    "/sys/firmware/devicetree/base/serial-number",
];
const MODEL_FILES: [&str; 2] = [
    "/sys/class/dmi/id/product_name",
    "/sys/firmware/devicetree/base/model",
];
const MAKER_FILES: [&str; 1] = ["/sys/class/dmi/id/sys_vendor"];
/// What boards say that have no number of their own.
const NO_SERIALS: [&str; 6] = [
    "",
    "0",
    "none",
    "not specified",
    "to be filled by o.e.m.",
    "default string",
];

/// What the device is; keeps a serial number that had to be made.
///
/// # Errors
/// What the store says.
pub(super) fn find(given: Option<&str>, store: &Store) -> Result<Device, StoreError> {
    let before = store
        .get_meta(SERIAL_NUMBER)
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let serial_number = match given {
        Some(given) => given.to_owned(),
        None => credential(std::env::var_os("CREDENTIALS_DIRECTORY"))
            .or_else(|| first_line(&SERIAL_FILES))
            .or_else(|| before.clone())
            .unwrap_or_else(made_up),
    };
    if before.as_ref() != Some(&serial_number) {
        store.put_meta(&[(
            SERIAL_NUMBER.to_owned(),
            Some(serial_number.clone().into_bytes()),
        )])?;
    }
    Ok(Device {
        serial_number,
        model: first_line(&MODEL_FILES),
        manufacturer: first_line(&MAKER_FILES),
        platform: platform(),
        boot_time: boot_time(),
    })
}

/// Twenty characters that nobody else has made.
fn made_up() -> String {
    let number: u64 = rand::random();
    format!("TETHER{:014}", number % 100_000_000_000_000)
}

fn credential(directory: Option<OsString>) -> Option<String> {
    first_line(&[Path::new(&directory?).join(SERIAL_NUMBER)])
}

fn first_line(files: &[impl AsRef<Path>]) -> Option<String> {
    let lines = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .map(|text| text.trim_matches(['\0', '\n', ' ', '\t']).to_owned());
    lines
        .into_iter()
        .find(|line| !NO_SERIALS.contains(&line.to_ascii_lowercase().as_str()))
}

fn platform() -> [String; 4] {
    let Ok(name) = uname() else {
        return Default::default();
    };
    [
        name.sysname(),
        name.release(),
        name.version(),
        name.machine(),
    ]
    .map(|part| part.to_string_lossy().into_owned())
}

/// `btime` of /proc/stat: seconds since 1970.
fn boot_time() -> DateTime<Utc> {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "));
    let seconds = seconds.and_then(|seconds| seconds.trim().parse().ok());
    seconds
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .unwrap_or_else(Utc::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_the_serial_number_unless_the_hardware_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let found = || credential(Some(directory.path().into()));
        assert_eq!(found(), None);
        for (text, number) in [
            ("A-1\n", Some("A-1")),
            ("none", None),
            ("Default string\n", None),
        ] {
            fs::write(directory.path().join("serial-number"), text).unwrap();
            assert_eq!(found().as_deref(), number);
        }
        assert_eq!(credential(None), None);
    }
}
