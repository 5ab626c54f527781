//! The watchdog of the service manager (sd_watchdog_enabled(3)): it hears of the agent as long as the datastores answer.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::datastore::driver::Handle;

/// Tells the service manager, if it wants to be told, until the agent stops.
pub(super) async fn run(handle: Handle, stop: watch::Receiver<bool>) {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return;
    };
    let alive = || {
        let handle = handle.clone();
        async move { handle.read(|_| ()).await.is_ok() }
    };
    let tell = || {
        // Whoever does not hear it starts the agent anew, and the log says that.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    };
    watch(patience, alive, tell, stop).await;
}

/// Tells twice in the time that the service manager waits, each time only after somebody answered.
async fn watch<F: Future<Output = bool>>(
    patience: Duration,
    alive: impl Fn() -> F,
    tell: impl Fn(),
    mut stop: watch::Receiver<bool>,
) {
    let turn = patience / 2;
    let mut turns = interval(turn);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = turns.tick() => {}
        }
        match timeout(turn, alive()).await {
            Ok(true) => tell(),
            Ok(false) => return,
            Err(_) => tracing::error!("the datastores do not answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn told_in_five_minutes<F: Future<Output = bool>>(alive: impl Fn() -> F) -> u32 {
        let (_running, stop) = watch::channel(false);
        let told = AtomicU32::new(0);
        let tell = || {
            told.fetch_add(1, Ordering::Relaxed);
        };
        let all = watch(PATIENCE, alive, tell, stop);
        let _ = timeout(Duration::from_secs(299), all).await;
        told.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_twice_in_its_patience_while_somebody_answers() {
        assert_eq!(told_in_five_minutes(|| std::future::ready(true)).await, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_nothing_while_nobody_answers() {
        assert_eq!(told_in_five_minutes(std::future::pending).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_the_agent_stops() {
        let (stop, stopping) = watch::channel(false);
        let watching = tokio::spawn(watch(
            PATIENCE,
            || std::future::ready(true),
            || {},
            stopping,
        ));
        stop.send(true).unwrap();
        timeout(PATIENCE, watching).await.unwrap().unwrap();
    }
}
