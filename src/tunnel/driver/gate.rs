//! The gate before the driver: what may take the tunnel down waits for the replies that go through it.
//!
//! "A commit made through the tunnel that it tears down is answered first: reply flushed, then the teardown, at most 1 s
//! later" (cloud-protocol.md).

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Command;
use crate::tunnel::machine::Event;

/// The longest that a command waits.
const BOUND: Duration = Duration::from_secs(1);

/// Ends once managers who come through the tunnel have every reply to what they have asked.
pub type Answered = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Passes commands on in their order, until nobody gives or takes any more.
pub(super) async fn pass(
    mut from: mpsc::Receiver<Command>,
    to: mpsc::Sender<Command>,
    answered: Answered,
) {
    loop {
        let command = tokio::select! {
            command = from.recv() => command,
            // Whoever has a command for a tunnel that has ended is to know.
            () = to.closed() => return,
        };
        let Some(command) = command else { return };
        if may_take_down(&command) {
            // A manager who does not even read has had his second.
            let _ = timeout(BOUND, answered()).await;
        }
        if to.send(command).await.is_err() {
            return;
        }
    }
}

fn may_take_down(command: &Command) -> bool {
    matches!(
        command,
        Command::Configure(_) | Command::Event(Event::Reset)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;
    use crate::model::settings::Secret;

    fn gate(answered: Answered) -> (mpsc::Sender<Command>, mpsc::Receiver<Command>) {
        let (given, from) = mpsc::channel(4);
        let (to, taken) = mpsc::channel(1);
        tokio::spawn(pass(from, to, answered));
        (given, taken)
    }

    fn reset() -> Command {
        Command::Event(Event::Reset)
    }

    #[tokio::test(start_paused = true)]
    async fn a_teardown_waits_until_all_is_answered() {
        let notify = Arc::new(Notify::new());
        let wait = notify.clone();
        let (given, mut taken) = gate(Box::new(move || {
            let wait = wait.clone();
            Box::pin(async move { wait.notified().await })
        }));
        given.send(reset()).await.unwrap();
        let early = timeout(Duration::from_millis(900), taken.recv()).await;
        assert!(early.is_err());
        notify.notify_one();
        assert!(matches!(
            taken.recv().await,
            Some(Command::Event(Event::Reset))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_a_second_and_not_longer_and_the_order_stays() {
        let (given, mut taken) = gate(Box::new(|| Box::pin(std::future::pending())));
        let begun = Instant::now();
        given.send(reset()).await.unwrap();
        let unbind = Event::Unbind(Secret::new("4711"));
        given.send(Command::Event(unbind.clone())).await.unwrap();
        assert!(matches!(
            taken.recv().await,
            Some(Command::Event(Event::Reset))
        ));
        assert_eq!(begun.elapsed(), BOUND);
        assert!(matches!(taken.recv().await, Some(Command::Event(event)) if event == unbind));
        assert_eq!(begun.elapsed(), BOUND);
    }
}
