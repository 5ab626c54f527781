//! The bodies that the device sends: authentication (step 1) and registration (step 3).

use serde::Serialize;
use zeroize::Zeroizing;

use crate::model::settings::Secret;

/// `POST /cloud/v1/authentication`.
#[derive(Clone, Debug)]
pub struct AuthenticationRequest {
    /// Serial number of the device: also its user name (RFC 7616).
    pub serial_number: String,
    /// Model name, `unknown` when nothing is known.
    pub model: String,
    /// Name and version of this software, `tether/0.1.0`.
    pub software: String,
    /// The code that lifts `bound-to-another-user`, only in the request that follows that answer.
    pub unbinding_code: Option<Secret>,
}

impl AuthenticationRequest {
    /// The JSON body; wiped on drop, since it may hold the unbinding code.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Body<'a> {
            serial_number: &'a str,
            model: &'a str,
            software: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            unbinding_code: Option<&'a str>,
        }
        encode(&Body {
            serial_number: &self.serial_number,
            model: &self.model,
            software: &self.software,
            unbinding_code: self.unbinding_code.as_ref().map(Secret::reveal),
        })
    }
}

/// `POST /cloud/v1/registration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationRequest {
    /// Serial number of the device.
    pub serial_number: String,
    /// Services that are registered and enabled.
    pub services: Vec<String>,
    /// Why the last tunnel went down; absent before the first loss.
    pub last_down_reason: Option<String>,
}

impl RegistrationRequest {
    /// The JSON body.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Body<'a> {
            serial_number: &'a str,
            services: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            last_down_reason: Option<&'a str>,
        }
        encode(&Body {
            serial_number: &self.serial_number,
            services: &self.services,
            last_down_reason: self.last_down_reason.as_deref(),
        })
    }
}

fn encode(body: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Writing strings into memory cannot fail; an empty body would be refused by the cloud all the same.
    Zeroizing::new(serde_json::to_vec(body).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_authentication_body_is_that_of_the_page() {
        let mut request = AuthenticationRequest {
            serial_number: "210235A1XXX000000001".into(),
            model: "unknown".into(),
            software: "tether/0.1.0".into(),
            unbinding_code: None,
        };
        assert_eq!(
            text(&request.to_json()),
            r#"{"serial-number":"210235A1XXX000000001","model":"unknown","software":"tether/0.1.0"}"#
        );
        request.unbinding_code = Some(Secret::new("4711"));
        assert!(text(&request.to_json()).ends_with(r#","unbinding-code":"4711"}"#));
    }

    #[test]
    fn the_last_down_reason_is_absent_before_the_first_loss() {
        let mut request = RegistrationRequest {
            serial_number: "s".into(),
            services: vec!["netconf".into(), "telemetry".into()],
            last_down_reason: None,
        };
        assert_eq!(
            text(&request.to_json()),
            r#"{"serial-number":"s","services":["netconf","telemetry"]}"#
        );
        request.last_down_reason = Some("keepalive-expired".into());
        assert!(text(&request.to_json()).ends_with(r#","last-down-reason":"keepalive-expired"}"#));
    }
}
