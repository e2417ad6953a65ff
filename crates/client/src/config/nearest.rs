//! The search for the name that was meant.

/// The one of `candidates` that `name` is probably a slip of: at most a third of its letters are wrong, missing, too
/// many or swapped with their neighbour.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No name of a setting is as long, and the time that this takes grows with the length.
    if name.len() > 96 {
        return None;
    }
    let name = name.to_ascii_lowercase().replace(['_', '-'], ".");
    let allowed = (name.len() / 3).max(1);
    let distances = candidates.into_iter().map(|candidate| (distance(&name, candidate), candidate));
    let near = distances.filter(|(distance, _)| *distance <= allowed);
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// How many letters have to be changed, added, left out or swapped with their neighbour to make one text of the other
/// (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i);
        for j in 1..=other.len() {
            let changed = last[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_swaps_once() {
        let table = [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("acb", "abc", 1),
            ("abc", "ac", 1),
            ("kitten", "sitting", 3),
        ];
        for (one, other, expected) in table {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn what_resembles_nothing_has_no_neighbour() {
        assert_eq!(nearest("nope", ["linger.ms", "acks"]), None);
        assert_eq!(nearest("", ["acks"]), None);
        assert_eq!(nearest(&"x".repeat(10_000), ["x"]), None);
    }
}
