//! History: what was published when, and what has led to it, so that people can look back, compare, and go back.
//!
//! [`Recorder`] notes each catalog and each snapshot of manifests as a generation, with its causes and what differs from the
//! one before; `app` notes what became of configurations, and [`Handle`] what people have asked for. The last generations are
//! kept whole (they share nearly all of their content), and of older ones some, the fewer the older they are; of the others, and
//! of those before a restart, only what differed.
//! Where there is a folder, entries are appended to a file in it, one line of JSON each.
//!
//! To go back is to pin what a generation had ([`Handle::pin`]): nothing of what registries say is lost, nothing of the history
//! is rewritten, and it ends by itself.
//!
//! Invariant: entries and what is kept of them are bounded in number and bytes, whatever changes.

mod book;
mod difference;
mod entry;
mod file;
mod handle;
mod kept;
mod recorder;
#[cfg(test)]
mod tests;

pub use difference::{Change, Difference, HostChange};
pub use entry::{Entry, What};
pub use handle::{Handle, Refused, Wanted};
pub use recorder::Recorder;
