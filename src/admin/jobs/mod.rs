//! What goes on in the background for somebody who may look at it, and stop it.

/// Every job.
#[derive(Debug, Default)]
pub struct Jobs {}
