//! The shapes of names, labels, images and sizes; each says in Rust what a pattern of the table says in CEL.

/// A DNS label of 1 to 40 characters that begins with a letter.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 40 && is_dns_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// A DNS subdomain of at most 253 characters: labels with dots between them.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// The key of a label or an annotation: `name` or `subdomain/name`.
pub(crate) fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

/// The value of a label: empty, or at most 63 letters, digits, -, _ and dots, letters or digits at the ends.
pub(crate) fn is_label_value(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let end = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || (value.len() <= 63 && value.bytes().all(inner) && value.starts_with(end) && value.ends_with(end))
}

/// An image with a tag or a digest.
pub(crate) fn is_image(image: &str) -> bool {
    !image.contains(' ')
        && image.match_indices([':', '@']).any(|(at, _)| {
            let (path, version) = (&image[..at], &image[at + 1..]);
            !path.is_empty() && !path.ends_with(['/', ':', '@']) && !version.is_empty() && !version.contains('/')
        })
}

/// A whole number of at most 12 digits with an optional unit.
pub(crate) fn is_size(size: &str) -> bool {
    let digits = size.bytes().take_while(u8::is_ascii_digit).count();
    let units = ["", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];
    (1..=12).contains(&digits) && !size.starts_with('0') && units.contains(&&size[digits..])
}

fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
