//! A service whose module is another program: each of its connections is offered as a pipe to whoever talks to that
//! program.

use futures_util::future::BoxFuture;
use futures_util::{Sink, Stream};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::stream::{Done, PIPE, carry};
use super::{Counters, Link, Service};

/// The service module that stands in for the program.
pub struct External {
    offers: mpsc::Sender<DuplexStream>,
    counters: Counters,
}

impl External {
    /// A module, and where its connections come out. Reading ends with the subconnection; dropping one ends it (1000),
    /// and another follows by the rules of retry.
    pub fn new() -> (Self, mpsc::Receiver<DuplexStream>) {
        // The program has one connection at a time; the next waits until it is done with the one before.
        let (offers, offered) = mpsc::channel(1);
        let module = Self {
            offers,
            counters: Counters::default(),
        };
        (module, offered)
    }

    async fn serve_on<S>(&self, link: Link<S>)
    where
        S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
    {
        let (near, far) = duplex(PIPE);
        let offer = async {
            if self.offers.send(far).await.is_err() {
                return Done::Finished;
            }
            // From here on the other end of the pipe says when it is over.
            std::future::pending().await
        };
        carry(link, near, &self.counters, offer).await;
    }
}

impl Service for External {
    fn serve(&self, link: Link) -> BoxFuture<'_, ()> {
        Box::pin(self.serve_on(link))
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
