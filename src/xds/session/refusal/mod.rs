//! What a client refuses: whom it means, and what it is not sent any more.
//!
//! From the bottom up: [`answers`] remembers what was sent and is not answered yet; [`blame`] reads names out of the client's
//! words; [`search`] finds who is meant where the words name nobody; [`turns`] bounds how often something is sent because of
//! it, and [`later`] is what waits for a turn; [`withheld`] is what a stream is not sent, and lays that over a generation.
//! [`super::refused`] joins them with what the stream wants and has.

pub(super) mod answers;
pub(super) mod blame;
pub(super) mod later;
pub(super) mod search;
pub(super) mod turns;
pub(super) mod withheld;

/// What came of the refusals of a type. Most streams never have one.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    pub(super) withheld: withheld::Withheld,
    pub(super) search: search::Search,
    pub(super) turns: turns::Turns,
    pub(super) later: later::Later,
    /// A turn was taken for what went out again last: should it be refused, that costs no other.
    pub(super) paid: bool,
}
