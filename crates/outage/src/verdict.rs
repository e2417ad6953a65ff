//! The limits of a run, and what was reached.

use std::fmt;

/// What a run has shown.
#[derive(Debug, Default)]
pub struct Verdict {
    findings: Vec<Finding>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct Finding {
    is_kept: bool,
    limit: String,
    reached: String,
}

impl Verdict {
    /// A limit, whether it was kept, and what was reached.
    pub fn limit(&mut self, limit: impl Into<String>, is_kept: bool, reached: impl Into<String>) {
        self.findings.push(Finding { is_kept, limit: limit.into(), reached: reached.into() });
    }

    /// Something to know that is not judged.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Whether every limit was kept.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.is_kept)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "      {note}")?;
        }
        for Finding { is_kept, limit, reached } in &self.findings {
            let word = if *is_kept { "kept" } else { "NOT " };
            writeln!(f, "{word}  {limit}: {reached}")?;
        }
        write!(f, "verdict: {}", if self.is_good() { "good" } else { "NOT GOOD" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_not_kept_is_enough() {
        let mut verdict = Verdict::default();
        verdict.note("as it was");
        verdict.limit("wrong fates: 0", true, "0");
        assert_eq!(verdict.to_string(), "      as it was\nkept  wrong fates: 0: 0\nverdict: good");
        verdict.limit("log lines: at most 60", false, "61");
        assert!(!verdict.is_good());
        assert!(verdict.to_string().ends_with("NOT   log lines: at most 60: 61\nverdict: NOT GOOD"));
    }
}
