//! Ends the process at a named step, for tests of crashes.

/// Where to end, if anywhere.
#[derive(Clone, Default, Debug)]
pub struct TestStop(Option<String>);

impl TestStop {
    /// Ends the process when it comes to this step.
    #[must_use]
    pub fn ends_at(step: Option<String>) -> Self {
        Self(step)
    }

    /// The process has come to a step.
    pub(in crate::reshard) fn step(&self, name: &str) {
        if self.0.as_deref() == Some(name) {
            log::error!("ending at the step {name}, as a test asks for");
            std::process::abort();
        }
    }
}
