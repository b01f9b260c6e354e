//! Money in integers: nano-dollars, and prices in nano-dollars per million.
//!
//! Invariant: a cost is rounded once, upwards, in [`NanoUsd::of`]; nothing else rounds.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

/// A billionth of a US dollar. Signed, because a charge can be taken back when a provider's figure replaces an
/// estimate. The range is ± 9.2 billion dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub i64);

/// Nano-dollars for a million units of what is billed (tokens, characters, minutes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PricePerMillion(pub u64);

const NANO: f64 = 1e9;
const MILLION: u128 = 1_000_000;
const MS_PER_MINUTE: u128 = 60_000;

impl NanoUsd {
    pub const ZERO: NanoUsd = NanoUsd(0);
    pub const MAX: NanoUsd = NanoUsd(i64::MAX);

    /// The cost of `(count, price)` pairs and of milliseconds at a price for minutes, all multiplied, summed exactly and
    /// rounded up once to a whole nano-dollar.
    pub fn of(counts: &[(u64, PricePerMillion)], time: (u64, PricePerMillion), factor: Factor) -> NanoUsd {
        let amount = |(count, price): (u64, PricePerMillion)| u128::from(count) * u128::from(price.0);
        let counted = counts.iter().fold(0, |sum: u128, &pair| sum.saturating_add(amount(pair)));
        let scaled = counted.saturating_mul(MS_PER_MINUTE).saturating_add(amount(time));
        let Factor { numerator, denominator } = factor;
        let multiplied = scaled.saturating_mul(numerator.into());
        let nano = multiplied.div_ceil(MILLION * MS_PER_MINUTE * u128::from(denominator));
        NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX))
    }

    /// Dollars as people and JSON write them. Only the edge (configuration, wire) uses floats.
    pub fn usd(self) -> f64 {
        self.0 as f64 / NANO
    }

    /// As many places as the amount has, and at least two: `$10.00`, `$0.016`. For sentences in which two amounts are
    /// compared, where a rounded one would contradict them.
    pub fn exact(self) -> Exact {
        Exact(self)
    }

    /// The nearest nano-dollar to `usd`; `None` unless it is a finite number within range.
    pub fn from_usd(usd: f64) -> Option<NanoUsd> {
        let nano = (usd * NANO).round();
        (nano.is_finite() && nano.abs() < i64::MAX as f64).then_some(NanoUsd(nano as i64))
    }
}

impl PricePerMillion {
    /// From dollars per million as price lists print them, e.g. `0.075`.
    pub fn from_usd(usd: f64) -> Option<PricePerMillion> {
        NanoUsd::from_usd(usd).and_then(|nano| u64::try_from(nano.0).ok()).map(PricePerMillion)
    }

    /// Dollars per million, for people and JSON.
    pub fn usd(self) -> f64 {
        self.0 as f64 / NANO
    }
}

/// What prices are multiplied by, such as 1.21: exact, and of at most four places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Factor {
    numerator: u64,
    denominator: u64,
}

impl Factor {
    pub fn is_one(&self) -> bool {
        self.numerator == self.denominator
    }

    /// For people and JSON.
    pub fn value(&self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    pub fn times(self, other: Factor) -> Factor {
        Factor {
            numerator: self.numerator.saturating_mul(other.numerator),
            denominator: self.denominator.saturating_mul(other.denominator),
        }
    }

    /// Reads a decimal number.
    ///
    /// # Errors
    /// It is none, has more places than four, or is more than a hundred.
    pub fn parse(text: &str) -> Result<Factor, String> {
        let (whole, places) = text.split_once('.').unwrap_or((text, ""));
        let is_number = !whole.is_empty() && (whole.len() + places.len()) <= 7 && places.len() <= 4;
        let digits = format!("{whole}{places}");
        let numerator =
            digits.parse().ok().filter(|_| is_number && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let factor =
            numerator.map(|numerator| Factor { numerator, denominator: 10_u64.pow(places.len() as u32) });
        factor.filter(|factor| factor.numerator <= 100 * factor.denominator).ok_or_else(|| {
            format!("`{text}` is no factor such as 1.21, of at most four places and a hundred")
        })
    }
}

impl Default for Factor {
    fn default() -> Factor {
        Factor { numerator: 1, denominator: 1 }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value())
    }
}

impl TryFrom<String> for Factor {
    type Error = String;
    fn try_from(text: String) -> Result<Factor, String> {
        Factor::parse(&text)
    }
}

impl From<Factor> for String {
    fn from(factor: Factor) -> String {
        factor.to_string()
    }
}

/// `$1.234567890`: all nine places, so that a figure in a log or a test can be compared to the nano-dollar.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nano = self.0.unsigned_abs();
        write!(f, "{sign}${}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
    }
}

/// How [`NanoUsd::exact`] shows an amount.
#[derive(Clone, Copy, Debug)]
pub struct Exact(NanoUsd);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.to_string();
        let point = whole.find('.').unwrap_or(whole.len());
        let least = (point + 3).min(whole.len());
        let significant = whole.trim_end_matches('0').len();
        f.write_str(&whole[..significant.max(least)])
    }
}

impl Add for NanoUsd {
    type Output = NanoUsd;
    fn add(self, other: NanoUsd) -> NanoUsd {
        NanoUsd(self.0.saturating_add(other.0))
    }
}

impl Sub for NanoUsd {
    type Output = NanoUsd;
    fn sub(self, other: NanoUsd) -> NanoUsd {
        NanoUsd(self.0.saturating_sub(other.0))
    }
}

impl Neg for NanoUsd {
    type Output = NanoUsd;
    fn neg(self) -> NanoUsd {
        NanoUsd(self.0.saturating_neg())
    }
}

impl AddAssign for NanoUsd {
    fn add_assign(&mut self, other: NanoUsd) {
        *self = *self + other;
    }
}

impl SubAssign for NanoUsd {
    fn sub_assign(&mut self, other: NanoUsd) {
        *self = *self - other;
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = NanoUsd>>(costs: I) -> NanoUsd {
        costs.fold(NanoUsd::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_exact_and_rounded_up_once() {
        let cents = |usd: f64| PricePerMillion::from_usd(usd).unwrap();
        let (no_time, one) = ((0, PricePerMillion(0)), "1");
        type Row<'a> = (&'a [(u64, PricePerMillion)], (u64, PricePerMillion), &'a str, i64);
        let rows: &[Row<'_>] = &[
            (&[], no_time, one, 0),
            (&[(1000, cents(0.15)), (500, cents(0.60))], no_time, one, 450_000),
            (&[(1, PricePerMillion(1))], no_time, one, 1),
            (&[(1, PricePerMillion(1)), (999_999, PricePerMillion(1))], no_time, one, 1),
            (&[(1, PricePerMillion(1)), (1_000_000, PricePerMillion(1))], no_time, one, 2),
            (&[], (1_700, cents(6_000.0)), one, 170_000),
            (&[], (1, PricePerMillion(1)), one, 1),
            (&[(1000, cents(0.15))], (1_700, cents(6_000.0)), "1.1", 352_000),
            (&[(1, PricePerMillion(1_000_000))], no_time, "1.0001", 2),
            (&[(1, PricePerMillion(1_000_000))], no_time, "0", 0),
        ];
        for (counts, time, factor, nano) in rows {
            let cost = NanoUsd::of(counts, *time, Factor::parse(factor).unwrap());
            assert_eq!(cost, NanoUsd(*nano), "{counts:?} {time:?} {factor}");
        }
    }

    #[test]
    fn a_factor_is_a_decimal_number_and_nothing_else() {
        for text in ["1", "1.1", "0.5", "1.3217", "100"] {
            let factor = Factor::parse(text).unwrap();
            assert_eq!((factor.to_string(), factor.is_one()), (text.to_owned(), text == "1"));
        }
        for text in ["", ".5", "-1", "1.00001", "100.5", "1e3", "1,1", "+1", "a"] {
            assert!(Factor::parse(text).is_err(), "{text}");
        }
        let both = Factor::parse("1.1").unwrap().times(Factor::parse("1.1").unwrap());
        assert_eq!(both.to_string(), "1.21");
    }

    #[test]
    fn an_absurd_cost_saturates() {
        assert_eq!(
            NanoUsd::of(
                &[(u64::MAX, PricePerMillion(u64::MAX))],
                (u64::MAX, PricePerMillion(u64::MAX)),
                Factor::default()
            ),
            NanoUsd::MAX
        );
    }

    #[test]
    fn an_exact_amount_has_every_place_that_says_something() {
        for (nano, shown) in [
            (0, "$0.00"),
            (16_000_000, "$0.016"),
            (17_600_000, "$0.0176"),
            (1, "$0.000000001"),
            (10_000_000_000, "$10.00"),
            (10_100_000_000, "$10.10"),
            (-1_500_000_000, "-$1.50"),
            (i64::MAX, "$9223372036.854775807"),
        ] {
            assert_eq!(NanoUsd(nano).exact().to_string(), shown);
        }
    }

    #[test]
    fn dollars_survive_the_round_trip() {
        for usd in [0.0, 0.000000001, 0.0009, 10.0, 123456.789] {
            assert_eq!(NanoUsd::from_usd(usd).unwrap().usd(), usd);
        }
        assert_eq!(NanoUsd::from_usd(f64::NAN), None);
        assert_eq!(NanoUsd::from_usd(1e12), None);
        assert_eq!(NanoUsd(-1_500_000_000).to_string(), "-$1.500000000");
    }
}
