//! Quick rules, one file a kind of key. Each decides at once where it can, in about n log n, and says `None` where only
//! the search can tell.

pub(crate) mod appends;
pub(crate) mod counts;
pub(crate) mod zones;
