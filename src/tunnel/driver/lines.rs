//! The main connection and the probe of the primary: a task each, and how they are told.

use std::collections::HashMap;
use std::net::IpAddr;

use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tracing::debug;

use super::line::{self, Dialling, Order, Request};
use super::{Driver, ORDERS};
use crate::tunnel::machine::event::Endpoint;
use crate::tunnel::machine::{Attempt, CloseCode, Line, Reply};
use crate::tunnel::net::resolve;

/// What is at work on each line.
#[derive(Default)]
pub(super) struct Lines {
    at_work: HashMap<Line, Running>,
    /// The end of the main connection that was closed last.
    leaving: Option<oneshot::Receiver<()>>,
}

/// A lookup, a dial or a connection.
struct Running {
    /// The number of the action last given to it.
    attempt: Attempt,
    abort: AbortHandle,
    orders: mpsc::Sender<Order>,
    /// Ends with the task.
    end: oneshot::Receiver<()>,
}

impl Driver {
    pub(super) fn look_up(&mut self, line: Line, attempt: Attempt, endpoint: Endpoint) {
        let (device, dns) = (self.device.clone(), self.dns.clone());
        let replies = self.replies.clone();
        let lookup = async move {
            let reply = match resolve(&device.surroundings, &dns, &endpoint).await {
                Ok(addresses) => Reply::Resolved(addresses),
                Err(error) => {
                    debug!(%error, "the lookup of the cloud failed");
                    Reply::Failed(error.step())
                }
            };
            replies.main(attempt, reply).await;
        };
        // A lookup takes no orders; nobody is at the other end.
        let (orders, _) = mpsc::channel(1);
        self.set_to_work(line, attempt, orders, lookup);
    }

    pub(super) fn connect(
        &mut self,
        line: Line,
        attempt: Attempt,
        endpoint: Endpoint,
        addresses: Vec<IpAddr>,
    ) {
        let (orders, ordered) = mpsc::channel(ORDERS);
        let dialling = Dialling {
            attempt,
            endpoint,
            addresses,
            interval: self.interval.subscribe(),
        };
        let task = line::run(self.device.clone(), dialling, ordered, self.replies.clone());
        self.set_to_work(line, attempt, orders, task);
    }

    fn set_to_work(
        &mut self,
        line: Line,
        attempt: Attempt,
        orders: mpsc::Sender<Order>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (ending, end) = oneshot::channel();
        let abort = self.tasks.spawn(async move {
            task.await;
            // Whoever waits for the end of the task hears that it is gone, as when it is aborted.
            drop::<oneshot::Sender<()>>(ending);
        });
        let running = Running {
            attempt,
            abort,
            orders,
            end,
        };
        self.lines.at_work.insert(line, running);
    }

    pub(super) fn request(&mut self, line: Line, attempt: Attempt, request: Request) {
        if let Some(running) = self.lines.at_work.get_mut(&line) {
            running.attempt = attempt;
        }
        self.order(line, Order::Request(attempt, request));
    }

    pub(super) fn order(&mut self, line: Line, order: Order) {
        let Some(running) = self.lines.at_work.get(&line) else {
            return;
        };
        if running.orders.try_send(order).is_err() {
            // Full or gone: either way the cloud takes nothing any more. Told from a task, since the queue of replies
            // may be full at the moment.
            running.abort.abort();
            let (attempt, replies) = (running.attempt, self.replies.clone());
            self.tasks
                .spawn(async move { replies.main(attempt, Reply::Lost).await });
        }
    }

    pub(super) fn close(&mut self, code: CloseCode) {
        if let Some(running) = self.lines.at_work.remove(&Line::Main) {
            if running.orders.try_send(Order::Close(code)).is_err() {
                running.abort.abort();
            }
            self.lines.leaving = Some(running.end);
        }
    }

    /// The probe's connection takes the place of the one that was closed just now, and upgrades once that has taken
    /// leave: a cloud that both belong to never sees two main connections.
    pub(super) fn promote(&mut self) {
        if let Some(probe) = self.lines.at_work.remove(&Line::Probe) {
            self.lines.at_work.insert(Line::Main, probe);
        }
        if let Some(end) = self.lines.leaving.take() {
            self.order(Line::Main, Order::After(end));
        }
    }

    pub(super) fn abort(&mut self, line: Line) {
        if let Some(running) = self.lines.at_work.remove(&line) {
            running.abort.abort();
        }
    }
}
