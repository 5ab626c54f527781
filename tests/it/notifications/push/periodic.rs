//! Periodic updates, in virtual time: the date goes with the timers.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::*;

fn every(seconds: u64) -> String {
    datastore("running") + &system_filter() + &periodic(seconds * 100)
}

async fn elapsed_at_update(session: &mut Session, begin: Instant) -> u64 {
    update(session).await;
    let elapsed = begin.elapsed() + Duration::from_millis(100);
    elapsed.as_secs()
}

#[tokio::test(start_paused = true)]
async fn an_update_comes_at_once_and_then_at_each_period() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let mut listener = device.login("admin").await;
    let begin = Instant::now();
    establish(&mut listener, &every(60)).await;
    assert_eq!(update(&mut listener).await, "");
    change(&mut manager, &system("<location>attic</location>")).await;
    let second = update(&mut listener).await;
    assert!(second.contains("<location>attic</location>"), "{second}");
    assert_eq!(begin.elapsed().as_secs(), 60);
    assert_eq!(elapsed_at_update(&mut listener, begin).await, 120);
}

#[tokio::test(start_paused = true)]
async fn updates_fall_on_multiples_of_the_period_from_the_anchor_on() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let anchor = date((device.clock.now() + Duration::from_secs(1010)).into());
    let trigger = format!("<period>10000</period><anchor-time>{anchor}</anchor-time>");
    let parameters = datastore("running") + &system_filter() + &push("periodic", &trigger);
    let begin = Instant::now();
    establish(&mut listener, &parameters).await;
    for expected in [10, 110, 210] {
        assert_eq!(elapsed_at_update(&mut listener, begin).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_date_that_is_set_moves_anchored_updates_and_no_others() {
    let device = Served::start();
    let mut anchored = device.login("admin").await;
    let mut plain = device.login("admin").await;
    let anchor = date(SystemTime::UNIX_EPOCH.into());
    let trigger = format!("<period>4000</period><anchor-time>{anchor}</anchor-time>");
    let parameters = datastore("running") + &system_filter() + &push("periodic", &trigger);
    establish(&mut anchored, &parameters).await;
    update(&mut anchored).await;
    let begin = Instant::now();
    establish(&mut plain, &every(40)).await;
    update(&mut plain).await;
    // Back by hours: the next update is not hours away.
    device.set_date(-10_010);
    assert_eq!(elapsed_at_update(&mut plain, begin).await, 40);
    update(&mut anchored).await;
    assert!(begin.elapsed().as_secs() <= 80, "{:?}", begin.elapsed());
    let since = device
        .clock
        .now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    assert!(since.as_secs() % 40 <= 1, "{since:?}");
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_skips_rounds() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let long = "x".repeat(200_000);
    change(
        &mut manager,
        &system(&format!("<location>{long}</location>")),
    )
    .await;
    let mut listener = device.login("admin").await;
    establish(&mut listener, &every(1)).await;
    // An update is longer than the stream to him holds.
    tokio::time::sleep(Duration::from_secs(40)).await;
    change(&mut manager, &system("<location>attic</location>")).await;
    let mut before = 0;
    while !update(&mut listener).await.contains("attic") {
        before += 1;
    }
    assert!(before <= 4, "{before}");
}

#[tokio::test(start_paused = true)]
async fn the_subscriptions_of_a_session_do_not_hold_each_other_up() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let mut ids = Vec::new();
    for seconds in [1, 2, 3] {
        ids.push(establish(&mut listener, &every(seconds)).await);
    }
    let begin = Instant::now();
    let mut counts = [0; 3];
    while begin.elapsed() < Duration::from_millis(11_500) {
        let told = told(&mut listener).await;
        if begin.elapsed() < Duration::from_millis(11_500) {
            let id: u32 = inside(&told, "id").parse().unwrap();
            counts[ids.iter().position(|own| *own == id).unwrap()] += 1;
        }
    }
    // The first of each, and one each period.
    assert_eq!(counts, [12, 6, 4]);
}

#[tokio::test(start_paused = true)]
async fn another_period_goes_for_a_running_subscription() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let id = establish(&mut listener, &every(60)).await;
    update(&mut listener).await;
    let begin = Instant::now();
    let modify = format!("<id>{id}</id>{}{}", datastore("running"), periodic(500));
    listener
        .rpc(&operation("modify-subscription", &modify))
        .await
        .unwrap();
    let modified = told(&mut listener).await;
    assert!(modified.contains("<period>500</period>"), "{modified}");
    assert_eq!(elapsed_at_update(&mut listener, begin).await, 5);
}
