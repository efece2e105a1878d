//! Weights as Envoy and Istio want them: whole numbers from 1 on, whose sum fits into 32 bits.

use crate::model::Weight;

/// One hundredth of the default weight, in millionths: in this unit the default is 100.
const HUNDREDTH: u64 = 10_000;

/// How the weights of one assignment become numbers: all by the same factor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// How many millionths of a weight become 1.
    unit: u64,
    /// The sum of the weights in units. If it is more than `room`, all are scaled down to that sum.
    total: u64,
    room: u64,
}

impl Scale {
    /// The scale for these weights: hundredths where all are whole hundredths, else millionths, so that nothing is lost.
    pub(super) fn of(weights: impl Iterator<Item = Weight> + Clone) -> Self {
        let whole = weights.clone().all(|w| w.millionths() % HUNDREDTH == 0);
        let unit = if whole { HUNDREDTH } else { 1 };
        let total = weights.clone().map(|w| w.millionths() / unit).sum();
        // Each weight may be rounded up to 1.
        let room = u64::from(u32::MAX).saturating_sub(weights.count() as u64);
        Scale { unit, total, room }
    }

    /// The number, at least 1, for one of the weights that the scale was made of.
    pub(super) fn apply(self, weight: Weight) -> u32 {
        let units = weight.millionths() / self.unit;
        let units = match self.total > self.room {
            true => (u128::from(units) * u128::from(self.room) / u128::from(self.total)) as u64,
            false => units,
        };
        u32::try_from(units).expect("no weight exceeds the room, which is less than u32::MAX").max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(weights: &[f64]) -> Vec<u32> {
        let weights: Vec<Weight> = weights.iter().map(|w| Weight::relative(*w, 1.0).unwrap()).collect();
        let scale = Scale::of(weights.iter().copied());
        weights.iter().map(|w| scale.apply(*w)).collect()
    }

    #[test]
    fn the_default_weight_is_100() {
        assert_eq!(scaled(&[1.0, 0.5, 2.25, 0.01]), [100, 50, 225, 1]);
    }

    #[test]
    fn fine_weights_keep_their_proportion() {
        assert_eq!(scaled(&[0.0005, 0.9]), [500, 900_000]);
    }

    #[test]
    fn large_weights_are_scaled_down_until_their_sum_fits() {
        let many = vec![1_000_000.0; 100];
        let sum: u64 = scaled(&many).into_iter().map(u64::from).sum();
        assert!(sum <= u64::from(u32::MAX) && sum > u64::from(u32::MAX) / 10 * 9, "{sum}");

        let mut mixed = many;
        mixed.push(0.000_001);
        let scaled = scaled(&mixed);
        assert_eq!(scaled[100], 1);
        assert!(scaled.iter().map(|w| u64::from(*w)).sum::<u64>() <= u64::from(u32::MAX));
    }
}
