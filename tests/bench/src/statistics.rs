//! The arithmetic of the table: pure functions.

/// The middle value; of an even number of values the mean of the two in the middle. None of none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The value that this share of all does not exceed, by nearest rank. None of none.
pub(crate) fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The largest value. None of none.
pub(crate) fn largest(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::max)
}

/// One figure in terms of another. None if one is missing, or there is nothing to divide by.
pub(crate) fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(of? / to.filter(|to| *to > 0.0)?)
}

/// Who is called when: every variant once in each round, in an order of that round's own. A slow spell of the
/// machine, and what one call leaves for the next to pay, then hit all of them alike.
pub(crate) fn interleave(variants: usize, rounds: usize, random: &mut fastrand::Rng) -> Vec<(usize, usize)> {
    let mut order = (0..variants).collect::<Vec<_>>();
    let mut all = Vec::with_capacity(variants * rounds);
    for round in 0..rounds {
        random.shuffle(&mut order);
        all.extend(order.iter().map(|variant| (*variant, round)));
    }
    all
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[100.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let hundred = (1..=100).rev().map(f64::from).collect::<Vec<_>>();
        assert_eq!(percentile(&hundred, 0.99), Some(99.0));
        assert_eq!(percentile(&hundred, 0.5), Some(50.0));
        assert_eq!(percentile(&hundred, 1.0), Some(100.0));
        assert_eq!(percentile(&hundred, 0.0), Some(1.0));
        assert_eq!(percentile(&[7.0, 5.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.99), None);
    }

    #[test]
    fn the_largest_is_not_the_last() {
        assert_eq!(largest(&[1.0, 3.0, 2.0]), Some(3.0));
        assert_eq!(largest(&[]), None);
    }

    #[test]
    fn a_ratio_needs_both_figures() {
        assert_eq!(ratio(Some(3.0), Some(2.0)), Some(1.5));
        assert_eq!(ratio(None, Some(2.0)), None);
        assert_eq!(ratio(Some(3.0), None), None);
        assert_eq!(ratio(Some(3.0), Some(0.0)), None);
    }

    #[test]
    fn each_round_has_every_variant_once_and_rounds_differ() {
        let all = interleave(4, 50, &mut fastrand::Rng::with_seed(1));
        let orders = all.chunks(4).map(|round| round.iter().map(|(variant, _)| *variant).collect());
        let orders = orders.collect::<Vec<Vec<usize>>>();
        assert_eq!(orders.len(), 50);
        for (number, order) in orders.iter().enumerate() {
            assert!(all[number * 4..][..4].iter().all(|(_, round)| *round == number));
            assert_eq!((0..4).filter(|variant| order.contains(variant)).count(), 4, "{order:?}");
        }
        let firsts = orders.iter().map(|order| order[0]).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(firsts.len(), 4, "nobody is always first");
    }
}
