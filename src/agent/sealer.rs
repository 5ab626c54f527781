//! Turns the clear-text secrets of an edit into what is stored.

use std::sync::Arc;

use crate::datastore::edit::Sealer;
use crate::model::crypt_hash;
use crate::model::error::RpcError;
use crate::model::secret::SecretKey;

/// Seals `cm:secret` under the device's key and hashes `ianach:crypt-hash`, with fresh randomness.
pub(super) struct DeviceSealer(pub(super) Arc<SecretKey>);

impl Sealer for DeviceSealer {
    fn seal(
        &mut self,
        typedef: &str,
        value: &str,
        stored: Option<&str>,
    ) -> Result<Option<String>, RpcError> {
        match typedef {
            "secret" => Ok(Some(self.0.replace(value, stored, rand::random())?)),
            "crypt-hash" => Ok(Some(crypt_hash::replace(value, stored, rand::random())?)),
            _ => Ok(None),
        }
    }
}
