//! What is pending – recorded, gathered, or in the log – while something else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};
use std::time::Duration;

use tether::datastore::Parts;
use tether::datastore::changes::{Bell, Wakes};
use tether::datastore::subscriber::{StateProvider, Telling};
use tether::model::tree::Tree;

use super::*;

const TEMPERATURE: &str = "/example-all:machine/state/temperature";

/// A machine that gets warmer; or one that says so all the time.
#[derive(Clone, Default)]
struct Machine {
    temperature: Arc<AtomicI16>,
    bell: Bell,
    is_restless: bool,
}

struct Restless;

impl Wakes for Restless {
    fn changed(&mut self) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(true))
    }
}

impl StateProvider for Machine {
    fn module(&self) -> &'static str {
        "example-all"
    }

    fn state(&self, into: &mut Tree) {
        let temperature = self.temperature.load(Ordering::Relaxed).to_string();
        into.set(TEMPERATURE, Some(&temperature)).unwrap();
    }

    fn telling(&self) -> Option<Telling> {
        let wakes: Box<dyn Wakes> = match self.is_restless {
            true => Box::new(Restless),
            false => self.bell.hear(),
        };
        Some(Telling {
            wakes: Some(wakes),
            unsettled: &[],
        })
    }
}

impl Machine {
    fn device(&self) -> Served {
        let parts = Parts {
            providers: vec![Box::new(self.clone())],
            ..Parts::default()
        };
        Served::with_example(parts, "")
    }

    /// Has it that warm, and returns when that is in the log of changes.
    async fn warm(&self, temperature: i16, witness: &mut Session) {
        self.temperature.store(temperature, Ordering::Relaxed);
        self.bell.ring();
        let told = told(witness).await;
        assert!(told.contains(&format!(">{temperature}</temperature>")));
    }
}

fn machine(more: &str) -> String {
    let filter = r#"<machine xmlns="urn:example:all"><state/></machine>"#;
    datastore("operational") + &subtree(&format!("{filter}{more}")) + &on_change("")
}

fn location(value: &str) -> String {
    system(&format!("<location>{value}</location>"))
}

/// More than the stream to a client holds.
fn long(value: &str) -> String {
    value.to_owned() + &"x".repeat(200_000)
}

async fn modify(session: &mut Session, id: u32, more: &str) {
    let parameters = format!("<id>{id}</id>{}{more}", datastore("running"));
    let modify = operation("modify-subscription", &parameters);
    session.rpc(&modify).await.unwrap();
    let told = told(session).await;
    assert!(told.contains("<subscription-modified "), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_an_update_holds_is_not_followed_by_older_ones() {
    let room = Machine::default();
    let device = room.device();
    let mut manager = device.login("admin").await;
    change(&mut manager, &location(&long(""))).await;
    let mut slow = device.login("admin").await;
    establish(&mut slow, &machine(&system("<location/>"))).await;
    let mut witness = device.login("admin").await;
    establish(&mut witness, &machine("")).await;
    update(&mut witness).await;
    // More than the log of changes holds, while the first update is not read.
    for temperature in 1..=1100 {
        room.warm(temperature, &mut witness).await;
    }
    update(&mut slow).await;
    loop {
        let told = told(&mut slow).await;
        if told.contains("<push-update ") {
            assert!(told.contains(">1100</temperature>"));
            break;
        }
    }
    room.warm(1101, &mut witness).await;
    let next = edits(&told(&mut slow).await);
    assert_eq!(next.len(), 1, "{next:?}");
    assert!(
        next[0].value.as_ref().unwrap().contains(">1101<"),
        "{next:?}"
    );
}

#[tokio::test]
async fn a_part_whose_state_never_rests_does_not_keep_the_others_from_being_told() {
    let room = Machine {
        is_restless: true,
        ..Machine::default()
    };
    let device = room.device();
    let mut listener = device.login("admin").await;
    let sessions = r#"<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>"#;
    let parameters = datastore("operational") + &subtree(sessions) + &on_change("");
    establish(&mut listener, &parameters).await;
    update(&mut listener).await;
    let other = device.login("admin").await;
    let target = format!(
        "/ietf-netconf-monitoring:netconf-state/sessions/session={}",
        other.session_id()
    );
    assert_eq!(changes(&mut listener).await, pairs(&[("create", &target)]));
}

#[tokio::test(start_paused = true)]
async fn what_was_recorded_before_it_was_denied_is_not_sent_after() {
    let device = with_rules(&on_contact("permit")).await;
    let mut manager = device.login("admin").await;
    let mut bob = device.login("bob").await;
    let trigger = on_change("<dampening-period>2000</dampening-period>");
    establish(
        &mut bob,
        &(datastore("running") + &system_filter() + &trigger),
    )
    .await;
    update(&mut bob).await;
    let blocking = datastore("running") + &subtree(&system("<location/>")) + &on_change("");
    establish(&mut bob, &blocking).await;
    update(&mut bob).await;
    change(&mut manager, &system("<contact>secret</contact>")).await;
    // Recorded now, and not due yet when the stream to him is full.
    tokio::time::sleep(Duration::from_secs(1)).await;
    change(&mut manager, &location(&long(""))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    change(&mut manager, &nacm(&on_contact("deny"))).await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert!(told(&mut bob).await.contains("<push-change-update "));
    let again = update(&mut bob).await;
    assert!(again.contains("<location>"));
    assert!(!again.contains("secret"));
}

/// Two periodic subscriptions, each of whose updates is more than the stream to the client holds, after the time at which
/// both were gathered; and that time.
async fn gathered(device: &Served, listener: &mut Session) -> DateTime<Utc> {
    let at = device.clock.now() + Duration::from_secs(10);
    let anchor = date(at.into());
    let trigger = format!("<period>10000</period><anchor-time>{anchor}</anchor-time>");
    let parameters = datastore("running") + &system_filter() + &push("periodic", &trigger);
    for _ in 0..2 {
        establish(listener, &parameters).await;
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    at.into()
}

#[tokio::test(start_paused = true)]
async fn what_was_gathered_before_it_was_denied_is_not_sent_after() {
    let device = with_rules(&on_contact("permit")).await;
    let mut manager = device.login("admin").await;
    let place = long("");
    let secret = format!("<contact>secret</contact><location>{place}</location>");
    change(&mut manager, &system(&secret)).await;
    let mut bob = device.login("bob").await;
    gathered(&device, &mut bob).await;
    change(&mut manager, &nacm(&on_contact("deny"))).await;
    assert!(update(&mut bob).await.contains("secret"));
    let second = update(&mut bob).await;
    assert!(second.contains("<location>") && !second.contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn an_update_bears_the_time_at_which_was_looked() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    change(&mut manager, &location(&long(""))).await;
    let mut slow = device.login("admin").await;
    let at = gathered(&device, &mut slow).await;
    for _ in 0..2 {
        let told = told(&mut slow).await;
        let time: DateTime<Utc> = inside(&told, "eventTime").parse().unwrap();
        let late = (time - at).num_milliseconds();
        assert!((0..1000).contains(&late), "{late}");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_that_another_filter_takes_away_untold_make_the_next_update_incomplete() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let mut listener = device.login("admin").await;
    let trigger = "<dampening-period>1000</dampening-period><sync-on-start>false</sync-on-start>";
    let parameters = datastore("running") + &system_filter() + &on_change(trigger);
    let id = establish(&mut listener, &parameters).await;
    change(&mut manager, &location("attic")).await;
    changes(&mut listener).await;
    change(&mut manager, &system("<contact>me</contact>")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    modify(
        &mut listener,
        id,
        &subtree(&system("<contact/><location/>")),
    )
    .await;
    change(&mut manager, &location("cellar")).await;
    let told = told(&mut listener).await;
    assert_eq!(edits(&told).len(), 1, "{told}");
    assert!(told.contains("<incomplete-update/>"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_configured_filter_that_became_another_one_goes_by_its_old_name() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let filter = |selected: &str| {
        format!(
            r#"<filters xmlns="{SUBSCRIBED}"><selection-filter xmlns="{NAMESPACE}"><filter-id>f</filter-id>{}</selection-filter></filters>"#,
            subtree(&system(selected))
        )
    };
    change(&mut manager, &filter("<location/>")).await;
    let mut listener = device.login("admin").await;
    let name = push("selection-filter-ref", "f");
    let id = establish(
        &mut listener,
        &(datastore("running") + &name + &on_change("")),
    )
    .await;
    update(&mut listener).await;
    change(&mut manager, &filter("<contact/>")).await;
    modify(&mut listener, id, &name).await;
    assert_eq!(update(&mut listener).await, "");
    change(&mut manager, &location("attic")).await;
    change(&mut manager, &system("<contact>me</contact>")).await;
    let expected = pairs(&[("create", "/ietf-system:system/contact")]);
    assert_eq!(changes(&mut listener).await, expected);
}

#[tokio::test]
async fn a_selection_that_can_never_be_evaluated_ends_its_subscription() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let trigger = on_change("<sync-on-start>false</sync-on-start>");
    establish(
        &mut listener,
        &(datastore("running") + &xpath("1 + 1") + &trigger),
    )
    .await;
    let ended = told(&mut listener).await;
    assert!(ended.contains("<subscription-terminated "), "{ended}");
    assert!(ended.contains("filter-unavailable</reason>"), "{ended}");
}
