//! Answers of the shared counter that came after their request was decided: they correct the local count.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Answers that are waited for at a time. What was decided without one more stays as it is.
const ANSWERS: usize = 4096;
/// How long each is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The tasks that wait.
pub(super) struct LateAnswers {
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl LateAnswers {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(ANSWERS)), tasks: TaskTracker::new() }
    }

    /// Does this in the background, if there is room for it; it is dropped if it takes too long.
    pub(super) fn spawn_bounded(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        self.tasks.spawn(async move {
            let _ = tokio::time::timeout(PATIENCE, work).await;
            drop(place);
        });
    }

    /// The tasks, for whoever waits for their end.
    pub(super) fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }
}
