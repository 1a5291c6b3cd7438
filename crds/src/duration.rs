//! `5m`, `90s`, `2h` or `Never`.

/// When a silent node is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaceAfter {
    /// Only by a person.
    Never,
    /// After so many ms of silence.
    Silence(u64),
}

impl ReplaceAfter {
    /// ms of silence; `None`: never.
    pub fn ms(self) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Silence(ms) => Some(ms),
        }
    }
}

/// Reads a whole number of 1 to 6 digits, not 0, with the unit s, m or h; or `Never`. `None` for anything else.
pub fn parse_replace_after(text: &str) -> Option<ReplaceAfter> {
    if text == "Never" {
        return Some(ReplaceAfter::Never);
    }
    let unit_ms = match text.chars().next_back()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        _ => return None,
    };
    // The unit is one byte long, as each of the three is ASCII.
    let digits = &text[..text.len() - 1];
    let plain =
        (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if !plain {
        return None;
    }
    digits.parse::<u64>().ok().map(|number| ReplaceAfter::Silence(number * unit_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_a_unit_or_never() {
        assert_eq!(parse_replace_after("5m"), Some(ReplaceAfter::Silence(300_000)));
        assert_eq!(parse_replace_after("90s"), Some(ReplaceAfter::Silence(90_000)));
        assert_eq!(parse_replace_after("2h"), Some(ReplaceAfter::Silence(7_200_000)));
        assert_eq!(parse_replace_after("Never"), Some(ReplaceAfter::Never));
        for bad in ["", "m", "0s", "05m", "5", "5 m", "-5m", "1.5h", "never", "1000000s", "5ms", "5µ"] {
            assert_eq!(parse_replace_after(bad), None, "{bad}");
        }
    }
}
