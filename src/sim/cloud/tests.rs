//! The cloud seen by a small device of its own: raw HTTP over hyper, raw frames over tungstenite.

mod client;
mod misbehaviours;
mod rules;
mod steps;
mod wire;

use std::time::Duration;

use super::{Cloud, CloudConfig, Device};

const SERIAL: &str = "210235A1XXX000000001";
const PASSWORD: &str = "Pa55word!";
/// Far above what anything here takes.
const SOON: Duration = Duration::from_secs(10);

async fn cloud_with(device: Device) -> Cloud {
    Cloud::start(CloudConfig::with_devices([device]))
        .await
        .unwrap()
}

/// A cloud that knows [`SERIAL`] with [`PASSWORD`].
async fn cloud() -> Cloud {
    cloud_with(Device::new(SERIAL).password(PASSWORD)).await
}
