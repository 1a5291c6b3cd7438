//! Sizes as Kubernetes writes them. Pure.

/// Bytes of a quantity such as 10Gi, 1.5G or 1e9, rounded up; `None` when it is none.
pub fn bytes(text: &str) -> Option<u128> {
    let units: [(&str, u128); 13] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("m", 0),
    ];
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    if let Some((unit, factor)) = units.iter().find(|(unit, _)| text.ends_with(unit)) {
        let number = &text[..text.len() - unit.len()];
        return match (*factor, number.split_once('.')) {
            (0, _) => Some(number.parse::<u128>().ok()?.div_ceil(1000)),
            (factor, None) => number.parse::<u128>().ok()?.checked_mul(factor),
            (factor, Some((whole, part))) => {
                let scale = 10u128.checked_pow(u32::try_from(part.len()).ok()?)?;
                let part = part.parse::<u128>().ok()?.checked_mul(factor)?.div_ceil(scale);
                whole.parse::<u128>().ok()?.checked_mul(factor)?.checked_add(part)
            }
        };
    }
    let (number, power) = text.split_once(['e', 'E'])?;
    number.parse::<u128>().ok()?.checked_mul(10u128.checked_pow(power.parse().ok()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let cases = [
            ("10Gi", Some(10 << 30)),
            ("64Mi", Some(64 << 20)),
            ("1G", Some(1_000_000_000)),
            ("7", Some(7)),
            ("1.5Ki", Some(1536)),
            ("0.5k", Some(500)),
            ("1e3", Some(1000)),
            ("1500m", Some(2)),
            ("2E", Some(2 * 10u128.pow(18))),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), expected, "{text}");
        }
        for bad in ["", "Gi", "x", "1.Gi", "-1", "1.2.3Gi"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
