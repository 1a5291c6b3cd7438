//! Quantities, durations and whole documents: whatever is written there, it is read as what it says or refused with the
//! field's name. No text ends the process, or keeps it busy.

#![allow(clippy::expect_used)]

use std::time::{Duration, Instant};

use granary_crds::{ParseError, Quantity, StorageCluster, parse, parse_replace_after, validate_cluster};
use granary_fuzz::{cases, damage};
use proptest::{collection::vec, prelude::*};

const SUFFIXES: [&str; 17] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "n", "u", "m", "k", "M", "G", "T", "P", "E", "x"];
/// Longest time for one small document.
const LONGEST: Duration = Duration::from_secs(2);

const DOCUMENTS: [&str; 2] = [
    include_str!("../../examples/cluster.yaml"),
    "\
apiVersion: granary.io/v1alpha1
kind: StorageCluster
metadata: {name: demo, namespace: granary, labels: {a: b}}
spec:
  replicas: 5
  replicationFactor: 3
  shards: 64
  image: registry.example/granary:0.1.0
  failover: {replaceAfter: 5m}
  deletionPolicy: Retain
  storage: {size: 10Gi, className: fast}
  resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {memory: 2Gi}}
  nodeSelector: {disk: ssd}
  tolerations: [{key: storage, operator: Exists}]
",
];

/// Pieces of YAML that mean something to its parser, or to the rules.
const PIECES: [&str; 24] = [
    "\n", "  ", ": ", "- ", "&a ", "*a", "<<: *a\n", "{", "}", "[", "]", "|\n", ">\n", "'", "\"", "# ", "---\n",
    "!!int ", "~", "1e9", "0x10", "-1", ".inf", "\u{0}",
];

fn decimal() -> impl Strategy<Value = (i64, u32)> {
    (0..10_000_000_i64, 0..7_u32)
}

proptest! {
    #![proptest_config(cases(2_048))]

    #[test]
    fn a_quantity_is_what_its_digits_and_its_suffix_say((digits, places) in decimal(), by in 0..7_usize) {
        let text = |suffix: &str| {
            let (whole, part) = (digits / 10_i64.pow(places), digits % 10_i64.pow(places));
            let width = places as usize;
            if places == 0 { format!("{whole}{suffix}") } else { format!("{whole}.{part:0width$}{suffix}") }
        };
        // Each of 1024 of the next smaller unit, while nothing is rounded or cut off.
        let binary = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][by];
        let product = i128::from(digits) * (1_i128 << (10 * by));
        let shifted = i128::from(10_i64.pow(places));
        if product % shifted == 0 && product / shifted < i128::from(i64::MAX) {
            let plain = Quantity::parse(&(product / shifted).to_string());
            prop_assert_eq!(Quantity::parse(&text(binary)), plain, "{}", text(binary));
        }
        prop_assert!(Quantity::parse(&text("")) <= Quantity::parse(&text("k")));
        prop_assert!(Quantity::parse(&text("m")) <= Quantity::parse(&text("")));
        let negative = format!("-{}", text(""));
        prop_assert_eq!(Quantity::parse(&negative).is_some_and(Quantity::is_negative), digits != 0);
    }

    #[test]
    fn an_exponent_of_any_size_makes_more_or_less_and_never_the_opposite(
        digits in 1..1_000_u32,
        part in 0..1_000_u32,
        exponent in prop_oneof![any::<i32>(), -20..20_i32, Just(i32::MIN), Just(i32::MAX)],
    ) {
        let text = format!("{digits}.{part:03}e{exponent}");
        let (one, amount) = (Quantity::parse("1000"), Quantity::parse(&text));
        match exponent {
            ..=-1 => prop_assert!(amount < one && amount > Quantity::parse("0"), "{text} is {amount:?}"),
            3.. => prop_assert!(amount >= one, "{text} is {amount:?}"),
            _ => prop_assert!(amount.is_some()),
        }
    }

    #[test]
    fn any_text_is_a_quantity_a_duration_or_none(
        text in prop_oneof!["[-+0-9.eEkKMGTPinum]{0,34}", ".{0,12}"],
        suffix in prop::sample::select(&SUFFIXES[..]),
    ) {
        let _ = (Quantity::parse(&text), Quantity::parse(&format!("{text}{suffix}")));
        if let Some(after) = parse_replace_after(&text) {
            prop_assert!(after.ms().is_none_or(|ms| (1_000..=999_999 * 3_600_000).contains(&ms)));
        }
    }

    #[test]
    fn a_duration_is_its_number_of_units(
        number in 0..2_000_000_u64,
        unit in prop::sample::select(vec![("s", 1_000), ("m", 60_000), ("h", 3_600_000)]),
    ) {
        let read = parse_replace_after(&format!("{number}{}", unit.0)).and_then(|after| after.ms());
        prop_assert_eq!(read, (1..1_000_000).contains(&number).then_some(number * unit.1));
    }
}

/// Reads it as local mode does. What it takes holds every rule, and is the same when it is written and read again.
fn read(text: &str) -> Result<(), TestCaseError> {
    let begin = Instant::now();
    let parsed = parse(text);
    prop_assert!(begin.elapsed() < LONGEST, "it took {:?}:\n{text}", begin.elapsed());
    match parsed {
        Ok(cluster) => same_again(&cluster)?,
        Err(ParseError::Fields(fields)) => prop_assert!(!fields.is_empty()),
        Err(ParseError::Yaml(why)) => prop_assert!(!why.is_empty()),
    }
    Ok(())
}

fn same_again(cluster: &StorageCluster) -> Result<(), TestCaseError> {
    prop_assert!(validate_cluster(cluster, None).is_empty());
    let json = |cluster: &StorageCluster| serde_json::to_value(cluster).expect("a cluster is JSON");
    // JSON is YAML.
    let again = parse(&json(cluster).to_string());
    prop_assert!(again.as_ref().is_ok_and(|again| json(again) == json(cluster)), "{again:?}");
    Ok(())
}

#[test]
fn the_documents_are_good_before_they_are_damaged() {
    for document in DOCUMENTS {
        assert!(parse(document).is_ok(), "{:?}", parse(document));
    }
}

proptest! {
    #![proptest_config(cases(384))]

    #[test]
    fn a_damaged_document_is_read_or_refused(
        which in 0..DOCUMENTS.len(),
        damages in damage::damages(),
        pieces in vec((any::<prop::sample::Index>(), prop::sample::select(&PIECES[..])), 0..4),
    ) {
        let damaged = damage::apply(&damages, DOCUMENTS[which].as_bytes());
        read(&String::from_utf8_lossy(&damaged))?;
        let mut text = DOCUMENTS[which].to_owned();
        for (at, piece) in pieces {
            text.insert_str(at.index(text.len() + 1), piece);
        }
        read(&text)?;
    }

    #[test]
    fn deep_or_repeating_documents_end_soon(
        depth in 0..3_000_usize,
        open in prop::sample::select(vec!["[", "{a: ", "- ", "? "]),
    ) {
        read(&open.repeat(depth))?;
        read(&format!("{}\n", open.repeat(depth)))?;
    }
}

#[test]
fn aliases_of_aliases_do_not_fill_the_memory() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let of = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [&*of; 9].join(", "));
    }
    let begin = Instant::now();
    assert!(parse(&text).is_err());
    assert!(begin.elapsed() < LONGEST, "it took {:?}", begin.elapsed());
}
