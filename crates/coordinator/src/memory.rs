//! About how many bytes things take that groups hold.

/// Entries that a node of a `BTreeMap` has room for, and how many it has in the middle between half full and full.
const NODE_ENTRIES: usize = 11;
const NODE_ENTRIES_USED: usize = 8;

/// What an allocation that is counted by references takes beside its value.
pub(crate) const COUNTS_BYTES: usize = 16;

/// A text that is counted by references.
pub(crate) fn shared_bytes(text: &str) -> usize {
    COUNTS_BYTES + text.len().next_multiple_of(8)
}

/// A `BTreeMap` with so many entries, without what they point to.
pub(crate) fn tree_bytes<K, V>(len: usize) -> usize {
    len.div_ceil(NODE_ENTRIES_USED) * (NODE_ENTRIES * (size_of::<K>() + size_of::<V>()) + COUNTS_BYTES)
}

/// A `HashMap` or `HashSet` with so many entries, without what they point to.
pub(crate) fn table_bytes<K, V>(len: usize) -> usize {
    // It is between seven sixteenths and seven eighths full, and has a byte beside each place.
    len * 3 / 2 * (size_of::<(K, V)>() + 1)
}
