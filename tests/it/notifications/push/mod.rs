//! RFC 8641: subscriptions to datastores.

mod on_change;
mod pending;
mod periodic;
mod refusals;
mod state;

use super::*;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-yang-push";
const SUBSCRIBED: &str = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications";

/// What becomes of `contact`.
fn on_contact(action: &str) -> String {
    let path =
        r#"<path xmlns:s="urn:ietf:params:xml:ns:yang:ietf-system">/s:system/s:contact</path>"#;
    rule("contact", path, action)
}

fn operation(name: &str, parameters: &str) -> String {
    format!(r#"<{name} xmlns="{SUBSCRIBED}">{parameters}</{name}>"#)
}

/// A parameter of ietf-yang-push.
fn push(name: &str, content: &str) -> String {
    format!(r#"<{name} xmlns="{NAMESPACE}">{content}</{name}>"#)
}

fn datastore(name: &str) -> String {
    format!(
        r#"<datastore xmlns="{NAMESPACE}" xmlns:ds="urn:ietf:params:xml:ns:yang:ietf-datastores">ds:{name}</datastore>"#
    )
}

fn subtree(filter: &str) -> String {
    push("datastore-subtree-filter", filter)
}

fn xpath(expression: &str) -> String {
    format!(
        r#"<datastore-xpath-filter xmlns="{NAMESPACE}" xmlns:sys="urn:ietf:params:xml:ns:yang:ietf-system" xmlns:cm="urn:tether:yang:cloud-management">{expression}</datastore-xpath-filter>"#
    )
}

fn on_change(content: &str) -> String {
    push("on-change", content)
}

fn periodic(centiseconds: u64) -> String {
    push("periodic", &format!("<period>{centiseconds}</period>"))
}

fn system_filter() -> String {
    subtree(&system(""))
}

fn system(content: &str) -> String {
    crate::support::system(content)
}

fn establish_operation(parameters: &str) -> String {
    operation("establish-subscription", parameters)
}

/// The number of a new subscription.
async fn establish<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Client<S>,
    parameters: &str,
) -> u32 {
    let reply = session.rpc(&establish_operation(parameters)).await;
    let reply = reply.unwrap_or_else(|error| panic!("{parameters}: {error:?}"));
    inside(&reply, "id").parse().unwrap()
}

/// What is inside the first element of that name.
fn inside(xml: &str, name: &str) -> String {
    let start = xml
        .find(&format!("<{name}"))
        .unwrap_or_else(|| panic!("{name}: {xml}"));
    let (_, after) = xml[start..].split_once('>').unwrap();
    after
        .split(&format!("</{name}>"))
        .next()
        .unwrap()
        .to_owned()
}

async fn told<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>) -> String {
    // A client has less patience than a period may be long.
    let next = async {
        loop {
            match session.notification().await {
                Err(ClientError::Deadline(_)) => {}
                told => return told.unwrap(),
            }
        }
    };
    soon_in_virtual_time(next).await
}

/// The next message, which must be a push-update: what it holds.
async fn update<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>) -> String {
    let told = told(session).await;
    assert!(told.contains("<push-update "), "{told}");
    match told.contains("<datastore-contents/>") {
        true => String::new(),
        false => inside(&told, "datastore-contents"),
    }
}

/// One edit of a patch: operation, target and, if there are, value and place.
#[derive(Debug, PartialEq, Eq)]
struct Edit {
    operation: String,
    target: String,
    value: Option<String>,
    place: Option<String>,
}

/// The edits of a push-change-update.
fn edits(told: &str) -> Vec<Edit> {
    assert!(told.contains("<push-change-update "), "{told}");
    let all = told.split("<edit>").skip(1);
    let optional = |edit: &str, name: &str| {
        edit.contains(&format!("<{name}>"))
            .then(|| inside(edit, name))
    };
    all.map(|edit| Edit {
        operation: inside(edit, "operation"),
        target: inside(edit, "target"),
        value: optional(edit, "value"),
        place: optional(edit, "where").map(|place| {
            let point = optional(edit, "point").unwrap_or_default();
            format!("{place} {point}").trim().to_owned()
        }),
    })
    .collect()
}

/// The next message, which must be a push-change-update: operation and target of each edit.
async fn changes<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Client<S>,
) -> Vec<(String, String)> {
    let told = told(session).await;
    let edits = edits(&told).into_iter();
    edits.map(|edit| (edit.operation, edit.target)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(operation, target): &(&str, &str)| ((*operation).to_owned(), (*target).to_owned());
    expected.iter().map(own).collect()
}

async fn soon_in_virtual_time<T>(future: impl Future<Output = T>) -> T {
    let long = std::time::Duration::from_secs(3600);
    let waited = tokio::time::timeout(long, future).await;
    waited.expect("nothing comes")
}

/// A device, a session that listens with these parameters, and one that does things.
async fn both_of(parameters: &str) -> (Served, Session, Session) {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    establish(&mut listener, parameters).await;
    let manager = device.login("admin").await;
    (device, listener, manager)
}

async fn change<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>, config: &str) {
    session.edit_config("running", config).await.unwrap();
}
