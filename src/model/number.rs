//! Numbers with rules: ports, weights, fractions. Made once at the edge; a value that exists is valid.

use std::{fmt, num::NonZeroU16};

/// Why a number is refused. The text names the value and the range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value} is not possible: it must be {range}")]
pub struct NumberError {
    what: &'static str,
    value: String,
    range: &'static str,
}

/// A TCP port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

impl Port {
    /// Checks a number as registries give it; 0 and 70000 do occur.
    ///
    /// # Errors
    /// If it is outside of the range.
    pub fn new(number: i64) -> Result<Self, NumberError> {
        u16::try_from(number).ok().and_then(NonZeroU16::new).map(Port).ok_or_else(|| NumberError {
            what: "port",
            value: number.to_string(),
            range: "1 to 65535",
        })
    }

    /// The number, 1 to 65535.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// A port known when the program is written.
    pub(crate) const fn known(number: u16) -> Self {
        match NonZeroU16::new(number) {
            Some(number) => Port(number),
            None => panic!("a known port is not 0"),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Millionths: fine enough for every registry, and exact to add and compare.
const PARTS: f64 = 1_000_000.0;

/// An endpoint's share of traffic, relative to its registry's default, which is 1. Zero takes no traffic.
/// Kept in millionths, so that weights compare and add exactly; at most 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u64);

impl Weight {
    /// The weight of an endpoint for which the registry says none: 1.
    pub const DEFAULT: Weight = Weight(1_000_000);
    /// The weight of an instance that takes no traffic.
    pub const ZERO: Weight = Weight(0);

    /// `value` relative to `default`, the registry's own default (Nacos 1, Dubbo 100).
    ///
    /// # Errors
    /// If the share is not one from 0 to 1,000,000.
    pub fn relative(value: f64, default: f64) -> Result<Self, NumberError> {
        let share = value / default;
        if share.is_finite() && (0.0..=1_000_000.0).contains(&share) {
            // A positive weight never becomes zero: that would take the endpoint out of service.
            let parts = (share * PARTS).round() as u64;
            return Ok(Weight(if share > 0.0 { parts.max(1) } else { 0 }));
        }
        Err(NumberError { what: "weight", value: value.to_string(), range: "0 to 1000000 times the default" })
    }

    /// So many millionths of the default; what is more than possible is the most that is.
    pub const fn of_millionths(parts: u64) -> Self {
        const MOST: u64 = 1_000_000_000_000;
        Weight(if parts > MOST { MOST } else { parts })
    }

    /// In millionths of the default.
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// Relative to the default, for display and for products; sums are made in [`Weight::millionths`].
    pub fn get(self) -> f64 {
        self.0 as f64 / PARTS
    }
}

/// A share of a whole, 0 to 1, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fraction(u32);

impl Fraction {
    /// Nothing of the whole.
    pub const ZERO: Fraction = Fraction(0);

    /// 30 %, the default of `max_drop`.
    pub const THIRTY_PERCENT: Fraction = Fraction(300_000);

    /// Checks a decimal from 0 to 1.
    ///
    /// # Errors
    /// If it is outside of the range.
    pub fn new(value: f64) -> Result<Self, NumberError> {
        if (0.0..=1.0).contains(&value) {
            return Ok(Fraction((value * PARTS).round() as u32));
        }
        Err(NumberError { what: "fraction", value: value.to_string(), range: "0 to 1" })
    }

    /// So many millionths; what is more than the whole is the whole.
    pub const fn of_millionths(parts: u32) -> Self {
        Fraction(if parts > 1_000_000 { 1_000_000 } else { parts })
    }

    /// The decimal from 0 to 1, for display.
    pub fn get(self) -> f64 {
        f64::from(self.0) / PARTS
    }

    /// The part of the whole in millionths: 1,000,000 is all of it.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// Whether `part` is at most this share of `whole`.
    pub fn covers(self, part: usize, whole: usize) -> bool {
        part as u128 * 1_000_000 <= u128::from(self.0) * whole as u128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_numbers_are_refused_with_value_and_range() {
        for port in [0, -1, 65_536, 70_000] {
            assert!(Port::new(port).unwrap_err().to_string().contains(&port.to_string()));
        }
        for weight in [f64::NAN, -1.0, 1e300, f64::INFINITY] {
            assert!(Weight::relative(weight, 1.0).is_err(), "{weight}");
        }
        for fraction in [f64::NAN, -0.1, 1.1] {
            assert!(Fraction::new(fraction).is_err(), "{fraction}");
        }
    }

    #[test]
    fn weights_are_relative_and_a_small_one_is_not_zero() {
        assert_eq!(Weight::relative(100.0, 100.0), Ok(Weight::DEFAULT));
        assert_eq!(Weight::relative(0.5, 1.0).unwrap().millionths(), 500_000);
        assert_eq!(Weight::relative(1e-9, 1.0).unwrap().millionths(), 1);
        assert_eq!(Weight::relative(0.0, 1.0), Ok(Weight::ZERO));
    }

    #[test]
    fn a_fraction_covers_up_to_and_with_its_share() {
        let third = Fraction::new(0.6).unwrap();
        assert!(third.covers(3, 5));
        assert!(!third.covers(4, 5));
        assert!(Fraction::ZERO.covers(0, 2));
    }
}
