//! Quantities of Kubernetes, compared exactly: 10Gi, 1.5, 500m, 1e9. What the API server does with them is done here
//! too: finer than a billionth is rounded away from zero, larger than 2^63 - 1 counts as that.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Billionths in one.
const NANO: i128 = 1_000_000_000;
/// The largest amount, in billionths.
const MOST: i128 = i64::MAX as i128 * NANO;
/// Longest text that is read, in bytes; the schema allows no longer one.
const LONGEST: usize = 32;

/// An amount in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

impl Quantity {
    /// Reads a quantity; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let (sign, rest) = match text.as_bytes().first()? {
            b'-' => (-1, &text[1..]),
            b'+' => (1, &text[1..]),
            _ => (1, text),
        };
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (whole, part) = rest[..number].split_once('.').unwrap_or((&rest[..number], ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') {
            return None;
        }
        let digits: i128 = format!("{whole}{part}").parse().ok()?;
        let (times, ten) = scale(&rest[number..])?;
        let places = i32::try_from(part.len()).ok()?;
        Some(Self(sign * scaled(digits, times, ten.saturating_sub(places))))
    }

    /// The same of a number or a text.
    pub fn of(value: &IntOrString) -> Option<Self> {
        match value {
            IntOrString::Int(number) => Some(Self(i128::from(*number) * NANO)),
            IntOrString::String(text) => Self::parse(text),
        }
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }
}

/// What a suffix means: a factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        exponent => (1, exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// `digits * times * 10^ten` in billionths, rounded up, at most [`MOST`].
fn scaled(digits: i128, times: i128, ten: i32) -> i128 {
    if digits == 0 {
        return 0;
    }
    let power = |exponent: i32| u32::try_from(exponent).ok().and_then(|exponent| 10_i128.checked_pow(exponent));
    let ten = ten.saturating_add(9);
    let most = |amount: Option<i128>| amount.map_or(MOST, |amount| amount.min(MOST));
    let times = digits.checked_mul(times);
    if ten >= 0 {
        return most(times.zip(power(ten)).and_then(|(amount, power)| amount.checked_mul(power)));
    }
    match (times, power(ten.saturating_neg())) {
        (Some(amount), Some(power)) => most(Some(amount / power + i128::from(amount % power != 0))),
        // So small that only the rounding is left.
        (Some(_), None) => 1,
        (None, _) => MOST,
    }
}
