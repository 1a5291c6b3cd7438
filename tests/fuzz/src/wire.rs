//! Bytes that are formed as protobuf messages are, so that a decoder goes deep into them: fields of any number and wire
//! type, nested, with the numbers at which mistakes are made.

use proptest::{collection::vec, prelude::*};

/// Highest number of a field: no message has as many.
const FIELDS: u32 = 24;

/// An encoded message of any type.
pub fn message() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        (field(), number()).prop_map(|(field, number)| tagged(field, 0, &varint(number))),
        (field(), vec(text(), 0..3)).prop_map(|(field, texts)| tagged(field, 2, &with_length(&texts.concat()))),
        (field(), vec(number(), 0..6)).prop_map(|(field, numbers)| {
            let packed: Vec<u8> = numbers.into_iter().flat_map(varint).collect();
            tagged(field, 2, &with_length(&packed))
        }),
        (field(), any::<u32>()).prop_map(|(field, number)| tagged(field, 5, &number.to_le_bytes())),
        (field(), any::<u64>()).prop_map(|(field, number)| tagged(field, 1, &number.to_le_bytes())),
    ];
    let nested = leaf.prop_recursive(4, 48, 6, |inner| {
        (field(), vec(inner, 0..6)).prop_map(|(field, parts)| tagged(field, 2, &with_length(&parts.concat())))
    });
    vec(nested, 0..12).prop_map(|parts| parts.concat())
}

/// Low numbers most often: all messages have those.
fn field() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1..6_u32, 1 => 6..FIELDS]
}

/// Numbers at which something changes.
const EDGES: [u64; 8] = [16_383, 16_384, 65_535, 65_536, u32::MAX as u64, 1 << 32, 1 << 63, u64::MAX];
/// Texts that mean something to somebody.
const TEXTS: [&str; 7] = ["", "a", "{t}k", "k{", "127.0.0.1:7001", "0", "00000000-0000-4000-8000-000000000000"];

/// Numbers with an edge.
pub fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..6_u64,
        1 => prop::sample::select(&EDGES[..]),
        1 => any::<u64>(),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::sample::select(&TEXTS[..]).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..12),
    ]
}

fn tagged(field: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = varint(u64::from(field) << 3 | u64::from(kind));
    bytes.extend(payload);
    bytes
}

fn with_length(payload: &[u8]) -> Vec<u8> {
    let mut bytes = varint(payload.len() as u64);
    bytes.extend(payload);
    bytes
}

/// A number as protobuf has it: seven bits a byte, the lowest first.
pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
