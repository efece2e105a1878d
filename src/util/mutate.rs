//! Random inputs for tests: good ones, changed at random. The variable `FUZZ` says how many (300), `FUZZ_SEED` gives
//! the seed; if a reader panics, both are printed, and reproduce the input.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

/// Pieces that often break readers: limits of numbers, signs of formats, bytes that are no text.
const ODD: [&[u8]; 22] = [
    b"",
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"18446744073709551616",
    b"null",
    b"true",
    b"\"",
    b"\\u0000",
    b"{",
    b"[",
    b"}",
    b"]",
    b": ",
    b"\n",
    b"&a [*a, *a]",
    b"%00",
    b"\xff\xfe",
    b"\xe8\xae\xa2",
    b"\xff\xff\xff\xff\x0f",
    b"\x00",
];

/// The longest input, in bytes.
const MOST: usize = 64 << 10;

/// Numbers that look random, the same for the same seed (splitmix64).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Numbers(seed)
    }

    /// A number from 0 to below `most`; 0 if `most` is 0.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        if most == 0 { 0 } else { (mixed % most as u64) as usize }
    }
}

/// Calls `read` with many changed forms of the good inputs.
pub(crate) fn mutated(good: &[&[u8]], read: impl Fn(&[u8])) {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (count, seed) = (number("FUZZ").unwrap_or(300), number("FUZZ_SEED").unwrap_or(1));
    for round in 0..count {
        let mut numbers = Numbers::new(seed.wrapping_add(round));
        let input = change(good, &mut numbers);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| read(&input))) {
            eprintln!(
                "FUZZ_SEED={} FUZZ=1 makes it panic by {:?}",
                seed.wrapping_add(round),
                input.escape_ascii().to_string()
            );
            resume_unwind(panic);
        }
    }
}

fn change(good: &[&[u8]], numbers: &mut Numbers) -> Vec<u8> {
    let mut input = good[numbers.below(good.len())].to_vec();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(input.len() + 1);
        let to = at + numbers.below((input.len() - at).min(40) + 1);
        match numbers.below(8) {
            0 if at < input.len() => input[at] ^= 1 << numbers.below(8),
            1 if at < input.len() => input[at] = numbers.below(256) as u8,
            2 => drop(input.splice(at..to, ODD[numbers.below(ODD.len())].iter().copied())),
            3 => drop(input.drain(at..to)),
            4 => input.truncate(at),
            5 => {
                // The same once more, many times.
                let piece = input[at..to].to_vec();
                let times = numbers.below(200);
                drop(input.splice(at..at, piece.repeat(times)));
            }
            6 => {
                let other = good[numbers.below(good.len())];
                let from = numbers.below(other.len() + 1);
                drop(input.splice(at..to, other[from..].iter().copied()));
            }
            _ => {
                let odd = ODD[numbers.below(ODD.len())].repeat(numbers.below(300));
                drop(input.splice(at..at, odd));
            }
        }
        input.truncate(MOST);
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, collections::BTreeSet};

    #[test]
    fn mutated_inputs_differ_and_are_the_same_for_the_same_seed() {
        let seen = RefCell::new(Vec::new());
        mutated(&[b"{\"a\": [1, 2]}", b"other"], |input| seen.borrow_mut().push(input.to_vec()));
        let first = seen.take();
        mutated(&[b"{\"a\": [1, 2]}", b"other"], |input| seen.borrow_mut().push(input.to_vec()));
        assert_eq!(first, seen.take());
        assert!(first.iter().collect::<BTreeSet<_>>().len() > first.len() / 2);
        assert!(first.iter().all(|input| input.len() <= MOST));
    }
}
