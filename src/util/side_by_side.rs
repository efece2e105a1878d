//! Work on many items by several threads at once. The caller waits; if no thread can be started, it does all the work
//! itself.

use super::processors::processors;
use std::{
    panic::resume_unwind,
    thread::{self, Builder},
};

/// The most threads. More gain little, because one thread takes the results.
const MOST: usize = 8;

/// The results of `work` for parts of the items, in their order. A part has at least `least` items, so that few items
/// are done by the caller alone.
pub fn in_parts<T: Sync, R: Send>(items: &[T], least: usize, work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    parts_of(items, least, processors(), work)
}

fn parts_of<T: Sync, R: Send>(items: &[T], least: usize, processors: usize, work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let number = (items.len() / least.max(1)).clamp(1, processors.clamp(1, MOST));
    let (own, rest) = items.split_at(items.len().div_ceil(number));
    if rest.is_empty() {
        return vec![work(own)];
    }
    let work = &work;
    thread::scope(|scope| {
        let start = |part| Builder::new().spawn_scoped(scope, move || work(part)).map_err(|_| part);
        let others: Vec<_> = rest.chunks(own.len()).map(start).collect();
        let mut made = vec![work(own)];
        made.extend(others.into_iter().map(|other| match other {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(part) => work(part),
        }));
        made
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_part_in_their_order() {
        for (length, least, processors) in
            [(0, 1, 4), (1, 1, 4), (9, 10, 4), (10, 3, 4), (17, 1, 4), (100, 1, 64), (5, 0, 1)]
        {
            let items: Vec<usize> = (0..length).collect();
            let parts = parts_of(&items, least, processors, <[usize]>::to_vec);
            assert_eq!(parts.concat(), items, "{length} of {least}");
            assert!(parts.len() <= processors.min(MOST), "{length} of {least}");
            assert!(parts.len() == 1 || parts[0].len() >= least, "{length} of {least}");
        }
    }

    #[test]
    #[should_panic(expected = "the last one")]
    fn a_panic_is_the_callers() {
        parts_of(&[1, 2, 3], 1, 3, |part| assert!(!part.contains(&3), "the last one"));
    }
}
