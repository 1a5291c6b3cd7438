//! Quantities mean what they mean to the API server.

use granary_crds::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

#[test]
fn quantities_compare_by_amount_and_not_by_text() {
    for (small, large) in [("1G", "1Gi"), ("999m", "1"), ("1023Mi", "1Gi"), ("-1", "0"), ("1n", "1u"), ("9", "1e1")] {
        assert!(Quantity::parse(small) < Quantity::parse(large), "{small} {large}");
    }
    for (one, other) in
        [("1Gi", "1024Mi"), ("1.5", "1500m"), ("1e3", "1k"), ("1E", "1e18"), ("+1", "1."), (".5", "500m")]
    {
        assert!(Quantity::parse(one).is_some());
        assert_eq!(Quantity::parse(one), Quantity::parse(other), "{one} {other}");
    }
    assert_eq!(Quantity::of(&IntOrString::Int(2)), Quantity::parse("2"));
}

#[test]
fn what_is_no_quantity_is_none_and_what_is_too_large_or_too_fine_is_bounded() {
    for bad in ["", "-", ".", "Gi", "1GB", "1 Gi", "1,5", "1.2.3", "ten", "1K", "0x10", "1e", "1e1.5"] {
        assert_eq!(Quantity::parse(bad), None, "{bad}");
    }
    assert_eq!(Quantity::parse("999999999999Pi"), Quantity::parse("9223372036854775807"));
    assert_eq!(Quantity::parse("1e-30"), Quantity::parse("1n"));
    assert_eq!(Quantity::parse("1e99999"), Quantity::parse("9223372036854775807"));
}
