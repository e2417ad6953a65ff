//! The tables: every client's figures against each broker, and what is wanted of ottla-client.

use std::{collections::BTreeMap, fmt::Write};

use crate::{
    cases::{self, Case, Figure, Wanted},
    clients::Client,
    host::Kind,
    runner::Figures,
};

/// What one run gave: its figures, or why there are none.
pub type Run = Result<Figures, String>;

/// All runs of this execution.
#[derive(Default)]
pub struct Results {
    runs: BTreeMap<(Kind, &'static str, &'static str), Vec<Run>>,
}

/// A figure of a client: its median, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cell {
    Value(f64),
    Failed,
    Absent,
}

/// Columns of the table of clients: name, unit and raw figure.
const COLUMNS: [(&str, &str); 7] = [
    ("CPU per record, us", "cpu_us_per_record"),
    ("records/s", "records_per_s"),
    ("p50, us", "p50_us"),
    ("p99, us", "p99_us"),
    ("records per batch", "records_per_batch"),
    ("batches per request", "batches_per_request"),
    ("peak memory, MiB", "resident_peak_mib"),
];

impl Results {
    /// Adds a run.
    pub fn add(&mut self, kind: Kind, case: &'static str, client: Client, run: Run) {
        self.runs.entry((kind, case, client.name())).or_default().push(run);
    }

    /// Whether a run failed.
    pub fn any_failed(&self) -> bool {
        self.runs.values().flatten().any(Result::is_err)
    }

    /// Both tables of each broker, in Markdown.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for kind in [Kind::Sink, Kind::Ottla, Kind::Kafka] {
            if !self.runs.keys().any(|(with, _, _)| *with == kind) {
                continue;
            }
            let _ = writeln!(text, "## Against {}\n", kind.title());
            for case in cases::ALL {
                self.clients(&mut text, kind, case);
            }
            self.ratios(&mut text, kind);
        }
        text
    }

    /// The messages of failed runs, a paragraph each.
    pub fn failures(&self) -> String {
        let mut text = String::new();
        for ((kind, case, client), runs) in &self.runs {
            for message in runs.iter().filter_map(|run| run.as_ref().err()) {
                let _ = writeln!(text, "FAILED: {client}, {case}, against {}: {message}\n", kind.name());
            }
        }
        text
    }

    fn clients(&self, text: &mut String, kind: Kind, case: &Case) {
        let shown: Vec<Client> = case
            .clients
            .iter()
            .copied()
            .filter(|client| self.runs.contains_key(&(kind, case.id, client.name())))
            .collect();
        if shown.is_empty() {
            return;
        }
        let measured = |figure| {
            shown.iter().any(|client| matches!(self.cell(kind, case.id, *client, figure), Cell::Value(_)))
        };
        let cpu = Figure::Cpu.name();
        let used: Vec<(&str, &str)> =
            COLUMNS.into_iter().filter(|(_, figure)| *figure == cpu || measured(figure)).collect();
        let _ = writeln!(text, "{} (`{}`)\n", case.title, case.id);
        let _ = write!(text, "| client |");
        used.iter().for_each(|(name, _)| {
            let _ = write!(text, " {name} |");
        });
        let _ = writeln!(text, "\n|---|{}", "---:|".repeat(used.len()));
        for client in shown {
            let _ = write!(text, "| {} |", client.name());
            for (_, figure) in &used {
                let _ = write!(text, " {} |", self.cell(kind, case.id, client, figure).text());
            }
            text.push('\n');
        }
        text.push('\n');
    }

    fn ratios(&self, text: &mut String, kind: Kind) {
        let wanted: Vec<(&Case, &Wanted)> = cases::ALL
            .iter()
            .flat_map(|case| case.wanted.iter().map(move |wanted| (case, wanted)))
            .filter(|(case, wanted)| self.runs.contains_key(&(kind, case.id, wanted.ottla.name())))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let _ = writeln!(text, "| case | ratio | | wanted | met? |\n|---|---|---:|---|---|");
        for (case, wanted) in wanted {
            let figure = wanted.figure.name();
            let ottla = self.cell(kind, case.id, wanted.ottla, figure);
            let other = self.cell(kind, case.id, wanted.other, figure);
            let (ratio, met) = judge(kind, ottla, other, wanted.at_most);
            let _ = writeln!(
                text,
                "| {} | {}: {} / {} | {ratio} | ≤ {}x | {met} |",
                case.id,
                if wanted.figure == Figure::P50 { "p50" } else { "CPU" },
                wanted.ottla.name(),
                wanted.other.name(),
                wanted.at_most
            );
        }
        text.push('\n');
    }

    fn cell(&self, kind: Kind, case: &'static str, client: Client, figure: &str) -> Cell {
        let Some(runs) = self.runs.get(&(kind, case, client.name())) else { return Cell::Absent };
        let mut values = Vec::new();
        for run in runs {
            match run {
                Err(_) => return Cell::Failed,
                Ok(figures) => values.extend(figures.get(figure).filter(|value| value.is_finite())),
            }
        }
        median(&mut values).map_or(Cell::Absent, Cell::Value)
    }
}

fn judge(kind: Kind, ottla: Cell, other: Cell, at_most: f64) -> (String, &'static str) {
    let (Cell::Value(ottla), Cell::Value(other)) = (ottla, other) else {
        let failed = ottla == Cell::Failed || other == Cell::Failed;
        return ("–".to_owned(), if failed { "no" } else { "–" });
    };
    let ratio = ottla / other;
    let met = match kind {
        Kind::Kafka => "–",
        _ if ratio <= at_most => "yes",
        _ => "no",
    };
    (format!("{ratio:.2}x"), met)
}

impl Cell {
    fn text(self) -> String {
        match self {
            Cell::Value(value) => digits(value),
            Cell::Failed => "FAILED".to_owned(),
            Cell::Absent => "–".to_owned(),
        }
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Three significant digits, and all digits of a larger whole number, in groups.
fn digits(value: f64) -> String {
    if value >= 100.0 {
        let plain = format!("{value:.0}");
        let first = (plain.len() - 1) % 3 + 1;
        let groups = plain.as_bytes()[first..].chunks(3).map(|group| String::from_utf8_lossy(group));
        return groups.fold(plain[..first].to_owned(), |text, group| text + "," + &group);
    }
    let decimals = if value >= 10.0 {
        1
    } else if value >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(kind: Kind, ottla: &[f64], other: &[f64]) -> Results {
        let mut results = Results::default();
        for (client, values) in [(Client::Ottla, ottla), (Client::RdkafkaFuture, other)] {
            for value in values {
                results.add(
                    kind,
                    "send-100",
                    client,
                    Ok(Figures::from([("cpu_us_per_record".to_owned(), *value)])),
                );
            }
        }
        results
    }

    fn check(results: &Results, what: &str, expected: &str) {
        let tables = results.tables();
        let found = tables.lines().find(|line| line.contains(what)).unwrap_or("no such line");
        assert_eq!(found, expected, "{tables}");
    }

    #[test]
    fn a_ratio_is_that_of_the_medians() {
        let what = "CPU: ottla / rdkafka-future";
        let met = results(Kind::Sink, &[0.9, 0.5, 0.7], &[1.4]);
        check(&met, what, "| send-100 | CPU: ottla / rdkafka-future | 0.50x | ≤ 0.5x | yes |");
        let missed = results(Kind::Ottla, &[0.71], &[1.4]);
        check(&missed, what, "| send-100 | CPU: ottla / rdkafka-future | 0.51x | ≤ 0.5x | no |");
        let reported = results(Kind::Kafka, &[0.71], &[1.4]);
        check(&reported, what, "| send-100 | CPU: ottla / rdkafka-future | 0.51x | ≤ 0.5x | – |");
    }

    #[test]
    fn a_failed_run_has_no_figure_and_meets_nothing() {
        let mut results = results(Kind::Sink, &[0.5, 0.5], &[1.4]);
        results.add(Kind::Sink, "send-100", Client::Ottla, Err("two results for a record".to_owned()));
        check(&results, "| ottla |", "| ottla | FAILED |");
        check(
            &results,
            "ottla / rdkafka-future",
            "| send-100 | CPU: ottla / rdkafka-future | – | ≤ 0.5x | no |",
        );
        assert!(results.any_failed() && results.failures().contains("two results for a record"));
    }

    #[test]
    fn without_ottla_there_is_nothing_to_judge() {
        let results = results(Kind::Sink, &[], &[1.4]);
        check(&results, "| rdkafka-future |", "| rdkafka-future | 1.40 |");
        assert!(!results.tables().contains("wanted"));
    }

    #[test]
    fn numbers_have_three_digits_or_groups() {
        for (value, text) in
            [(0.04567, "0.046"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(digits(value), text);
        }
    }
}
