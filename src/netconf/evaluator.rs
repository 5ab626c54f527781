//! Work whose length only its outcome shows, such as the evaluation of an XPath filter: on threads of its own, and few of
//! them, so that whatever a manager asks for, everybody else is served and the agent can end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::model::error::{ErrorTag, RpcError};

/// Evaluations at the same time.
const ABREAST: usize = 2;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs evaluations. What one has begun it ends, though its session be over: it cannot be broken off.
pub(super) struct Evaluator(Arc<Semaphore>);

impl Default for Evaluator {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ABREAST)))
    }
}

impl Evaluator {
    /// Does the work when it is its turn.
    ///
    /// # Errors
    /// `resource-denied` when its turn does not come in time.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        let turn = timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(denied("other filters are still being evaluated"));
        };
        let (answer, answered) = oneshot::channel();
        let evaluate = move || {
            let outcome = work();
            drop(turn);
            // Whoever asked may be gone.
            drop(answer.send(outcome));
        };
        std::thread::Builder::new()
            .name("evaluation".to_owned())
            .spawn(evaluate)
            .map_err(|_| denied("there is no thread for it"))?;
        let broken_off = |_| {
            let words = "the evaluation of the filter was broken off";
            RpcError::application(ErrorTag::OperationFailed, words)
        };
        answered.await.map_err(broken_off)
    }
}

fn denied(why: &str) -> RpcError {
    let words = format!("the filter cannot be evaluated now, try again: {why}");
    RpcError::protocol(ErrorTag::ResourceDenied, words)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::JoinHandle;

    use super::*;

    /// Starts work that goes on until it is told otherwise.
    async fn begin(evaluator: &Arc<Evaluator>) -> (mpsc::Sender<()>, JoinHandle<()>) {
        let (end, ended) = mpsc::channel::<()>();
        let (begun, beginning) = oneshot::channel();
        let own = Arc::clone(evaluator);
        let work = move || {
            begun.send(()).unwrap();
            ended.recv().unwrap();
        };
        let task = tokio::spawn(async move { own.run(work).await.unwrap() });
        beginning.await.unwrap();
        (end, task)
    }

    #[tokio::test]
    async fn work_is_done_elsewhere_and_gives_its_outcome() {
        let here = std::thread::current().id();
        let evaluator = Evaluator::default();
        let there = evaluator.run(|| std::thread::current().id()).await;
        assert_ne!(there.unwrap(), here);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_get_its_turn_in_time_is_denied() {
        let evaluator = Arc::new(Evaluator::default());
        let first = begin(&evaluator).await;
        let second = begin(&evaluator).await;
        let error = evaluator.run(|| ()).await.unwrap_err();
        assert_eq!(error.tag, ErrorTag::ResourceDenied);
        for (end, task) in [first, second] {
            end.send(()).unwrap();
            task.await.unwrap();
        }
        let turns = evaluator.0.available_permits();
        assert_eq!(turns, ABREAST);
    }

    #[tokio::test]
    async fn work_that_breaks_down_gives_its_turn_back() {
        let evaluator = Evaluator::default();
        for _ in 0..2 * ABREAST {
            let broken = evaluator.run(|| -> () { panic!("a defect") }).await;
            assert_eq!(broken.unwrap_err().tag, ErrorTag::OperationFailed);
        }
        evaluator.run(|| ()).await.unwrap();
    }
}
