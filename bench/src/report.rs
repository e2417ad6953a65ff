//! The table: which figures it shows, what is required of each, and how that is judged.
//!
//! Everything measured goes to the file of raw figures too; the table shows what a reader wants first.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::json;

use crate::{
    broker::Kind,
    machine::Machine,
    rows::{self, Figures},
};

/// What one run of a row gave: its figures, or why there are none.
pub type Run = Result<Figures, String>;

/// All runs of this execution.
#[derive(Default)]
pub struct Results {
    runs: BTreeMap<(&'static str, &'static str), Vec<Run>>,
}

/// What is required of Ottla's figure.
#[derive(Debug, Clone, Copy)]
enum Required {
    /// Nothing; the figure is there to be read.
    Nothing,
    /// At least so many times Kafka's.
    AtLeast(f64),
    /// At most so many times Kafka's.
    AtMost(f64),
    /// At least so many times another of Kafka's figures.
    AtLeastOf(f64, &'static str),
    /// Below another of Kafka's figures.
    Below(&'static str),
    /// At most the larger of so many times Kafka's and this run's durable 4 KiB write plus so many milliseconds.
    OrDurable(f64, f64),
    /// At least this share of another of Ottla's own figures.
    Share(f64, &'static str),
    /// At most so much, in the line's unit.
    Limit(f64),
    /// At most the memory budget plus so many MiB.
    Budget(f64),
}

/// One line of the table.
struct Line {
    row: &'static str,
    what: String,
    figure: String,
    unit: &'static str,
    required: Required,
}

impl Results {
    /// Adds a run.
    pub fn add(&mut self, row: &'static str, kind: Kind, run: Run) {
        self.runs.entry((row, kind.name())).or_default().push(run);
    }

    /// Whether a run failed.
    pub fn any_failed(&self) -> bool {
        self.runs.values().flatten().any(Result::is_err)
    }

    /// The table in Markdown; `budget_mib` is Ottla's memory budget.
    pub fn table(&self, budget_mib: f64) -> String {
        let mut text = String::from(
            "| row | | Kafka | Ottla | ratio | required | met? |\n|---|---|---|---|---|---|---|\n",
        );
        for line in lines() {
            if !self.runs.keys().any(|(row, _)| *row == line.row) {
                continue;
            }
            let kafka = self.cell(&line, Kind::Kafka);
            let ottla = self.cell(&line, Kind::Ottla);
            let ratio = match (&kafka, &ottla) {
                (Cell::Value(kafka), Cell::Value(ottla)) if *kafka > 0.0 => {
                    format!("{}x", digits(ottla / kafka))
                }
                _ => "–".to_owned(),
            };
            let (required, met) = self.judge(&line, &kafka, &ottla, budget_mib);
            let (kafka, ottla) = (kafka.text(line.unit), ottla.text(line.unit));
            let _ = writeln!(
                text,
                "| {} | {} | {kafka} | {ottla} | {ratio} | {required} | {met} |",
                line.row, line.what
            );
        }
        text
    }

    /// The messages of failed runs, a paragraph each.
    pub fn failures(&self) -> String {
        let mut text = String::new();
        for ((row, kind), runs) in &self.runs {
            for message in runs.iter().filter_map(|run| run.as_ref().err()) {
                let _ = writeln!(text, "FAILED: row {row}, {kind}: {message}\n");
            }
        }
        text
    }

    fn cell(&self, line: &Line, kind: Kind) -> Cell {
        self.value(line.row, kind, &line.figure)
    }

    fn value(&self, row: &'static str, kind: Kind, figure: &str) -> Cell {
        let Some(runs) = self.runs.get(&(row, kind.name())) else { return Cell::Absent };
        let mut values = Vec::new();
        for run in runs {
            match run {
                Err(_) => return Cell::Failed,
                Ok(figures) => values.extend(figures.0.get(figure).filter(|value| value.is_finite())),
            }
        }
        median(&mut values).map_or(Cell::Absent, Cell::Value)
    }

    /// The requirement in words, and whether it is met.
    fn judge(&self, line: &Line, kafka: &Cell, ottla: &Cell, budget_mib: f64) -> (String, &'static str) {
        let other = |kind, figure| self.value(line.row, kind, figure).number();
        let kafka = kafka.number();
        let (words, at_least, limit) = match line.required {
            Required::Nothing => return (String::new(), ""),
            Required::AtLeast(times) => (format!("≥ {times}x"), true, kafka.map(|kafka| times * kafka)),
            Required::AtMost(times) => {
                (format!("≤ {}x", digits(times)), false, kafka.map(|kafka| times * kafka))
            }
            Required::AtLeastOf(times, figure) => {
                let limit = other(Kind::Kafka, figure).map(|kafka| times * kafka);
                (format!("≥ {times}x Kafka's steady rate"), true, limit)
            }
            Required::Below(figure) => ("< Kafka's p50".to_owned(), false, other(Kind::Kafka, figure)),
            Required::OrDurable(times, plus) => {
                let durable = other(Kind::Ottla, "durable_4k_p50_ms").map(|write| write + plus);
                let limit = kafka.zip(durable).map(|(kafka, durable)| (times * kafka).max(durable));
                let words = match limit {
                    Some(limit) => format!("≤ {} ms: {times}x, or durable write + {plus} ms", digits(limit)),
                    None => format!("≤ {times}x, or durable write + {plus} ms"),
                };
                (words, false, limit)
            }
            Required::Share(share, figure) => {
                let direct = other(Kind::Ottla, figure);
                (format!("≥ {} % of O_DIRECT", share * 100.0), true, direct.map(|direct| share * direct))
            }
            Required::Limit(limit) => (format!("≤ {} {}", digits(limit), line.unit), false, Some(limit)),
            Required::Budget(plus) => {
                (format!("≤ {} MiB", digits(budget_mib + plus)), false, Some(budget_mib + plus))
            }
        };
        let met = match (ottla.number(), limit) {
            (Some(ottla), Some(limit)) if at_least => ottla >= limit,
            (Some(ottla), Some(limit)) => ottla <= limit,
            _ => return (words, if matches!(ottla, Cell::Failed) { "no" } else { "–" }),
        };
        (words, if met { "yes" } else { "no" })
    }
}

/// One line of the file of raw figures.
pub fn raw(pass: u32, row: &str, kind: Kind, unix_ms: i64, run: &Run) -> String {
    let (figures, failed) = match run {
        Ok(figures) => (Some(&figures.0), None),
        Err(message) => (None, Some(message)),
    };
    let line = json!({
        "unix_ms": unix_ms, "pass": pass, "row": row, "broker": kind.name(), "failed": failed, "figures": figures,
    });
    line.to_string()
}

/// The page of results.
pub fn page(machine: &Machine, summary: &str, table: &str, failures: &str) -> String {
    let mut text = String::from(
        "# Results\n\n\
         Written by `--write-results`; README.md says what each row is. Absolute numbers belong to this machine:\n\
         compare by the ratio.\n\n",
    );
    let _ = writeln!(text, "{summary}\n\n| | |\n|---|---|");
    for (what, value) in &machine.lines {
        let _ = writeln!(text, "| {what} | {value} |");
    }
    let _ = write!(text, "\n{table}");
    for row in &rows::ALL {
        let _ = write!(text, "{}`{}` {}", if row.id == "a" { "\nRows: " } else { "; " }, row.id, row.title);
    }
    text.push_str(".\n");
    if !failures.is_empty() {
        let _ = write!(text, "\n```\n{failures}```\n");
    }
    text
}

enum Cell {
    Absent,
    Failed,
    Value(f64),
}

impl Cell {
    fn number(&self) -> Option<f64> {
        match self {
            Cell::Value(value) => Some(*value),
            Cell::Absent | Cell::Failed => None,
        }
    }

    fn text(&self, unit: &str) -> String {
        match self {
            Cell::Absent => "–".to_owned(),
            Cell::Failed => "FAILED".to_owned(),
            Cell::Value(value) => format!("{} {unit}", digits(*value)).trim_end().to_owned(),
        }
    }
}

fn lines() -> Vec<Line> {
    use Required::{AtLeast, AtLeastOf, AtMost, Below, Budget, Limit, Nothing, OrDurable, Share};
    let mut lines = Vec::new();
    // What is asked of throughput, p50, p99, CPU per GB and CPU per request.
    lines.extend(produce(
        "a",
        "16 KiB",
        "",
        [AtLeast(2.0), Nothing, Below("p50_ms"), AtMost(1.0 / 3.0), Nothing],
    ));
    lines.extend(produce("b", "1 MB", "", [AtLeast(1.0), Nothing, Nothing, AtMost(0.5), Nothing]));
    lines.extend(produce("c", "100 B", "", [AtLeast(1.4), Nothing, Nothing, Nothing, AtMost(0.6)]));
    let one = [Nothing, OrDurable(1.3, 0.12), Nothing, Nothing, Nothing];
    lines.extend(produce("d", "16 KiB", "16k.", one));
    lines.extend(produce("d", "100 B", "100b.", one));
    lines.extend(produce("e", "1,000 partitions", "", [AtLeast(1.5), Nothing, Nothing, Nothing, Nothing]));
    let first = "first_second_requests_per_s";
    let steady = AtLeastOf(1.5, "requests_per_s");
    lines.push(line("e", "1,000 partitions: rate in the first second", first, "/s", steady));
    for (what, prefix) in [("1 connection", "1."), ("4 connections", "4.")] {
        let mut add = |name, figure, unit, required| {
            lines.push(line("f", format!("{what}: {name}"), format!("{prefix}{figure}"), unit, required));
        };
        add("throughput", "mb_per_s", "MB/s", AtLeast(1.2));
        add("p50", "p50_ms", "ms", Nothing);
        add("p99", "p99_ms", "ms", Nothing);
        add("broker CPU", "broker_cpu_ms_per_gb", "ms/GB", AtMost(0.9));
        add("generator cores", "generator_cores", "", Nothing);
    }
    lines.push(line("g", "throughput", "mb_per_s", "MB/s", Share(0.8, "direct_mb_per_s")));
    lines.push(line("g", "O_DIRECT reads of the same files", "direct_mb_per_s", "MB/s", Nothing));
    lines.push(line("g", "read from the device meanwhile", "disk_read_mb", "MB", Nothing));
    lines.push(line("g", "broker CPU", "broker_cpu_ms_per_gb", "ms/GB", Nothing));
    lines.push(line("h", "to the consumer, p50", "delivered_p50_ms", "ms", OrDurable(1.3, 0.15)));
    lines.push(line("h", "to the consumer, p99", "delivered_p99_ms", "ms", Nothing));
    lines.push(line("h", "acknowledgement, p50", "ack_p50_ms", "ms", Nothing));
    lines.push(line("h", "acknowledgement, p99", "ack_p99_ms", "ms", Nothing));
    lines.push(line("h", "broker CPU per record", "broker_cpu_us_per_request", "us", Nothing));
    lines.push(line("i", "empty", "empty.first_ack_ms", "ms", AtMost(1.0 / 30.0)));
    lines.push(line("i", "empty: CPU", "empty.cpu_ms", "ms", Nothing));
    lines.push(line(
        "i",
        "after SIGKILL, evicted, 1,000 partitions",
        "killed.first_ack_ms",
        "ms",
        AtMost(0.1),
    ));
    lines.push(line(
        "i",
        "after SIGKILL: until all partitions answer",
        "killed.all_partitions_ms",
        "ms",
        Nothing,
    ));
    lines.push(line("i", "after SIGKILL: data", "killed.data_gb", "GB", Nothing));
    lines.push(line("j", "idle, resident", "idle_resident_mib", "MiB", Limit(16.0)));
    lines.push(line("j", "idle, anonymous", "idle_anonymous_mib", "MiB", Nothing));
    lines.push(line("j", "idle, cores", "idle_cores", "", Nothing));
    lines.extend(commits());
    lines.extend(rebalances());
    lines.extend(many_groups());
    for row in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "k", "l", "m", "n"] {
        lines.push(line(row, "peak resident memory", "resident_peak_mib", "MiB", Budget(64.0)));
        lines.push(line(row, "peak anonymous memory", "anonymous_peak_mib", "MiB", Nothing));
    }
    lines.sort_by_key(|line| line.row);
    let sequential = ("durable 1 MiB writes by themselves", "durable_sequential_mb_per_s", "MB/s");
    let small = ("durable 4 KiB write by itself, p50", "durable_4k_p50_ms", "ms");
    for (row, (what, figure, unit)) in
        [("a", sequential), ("b", sequential), ("a", small), ("d", small), ("h", small), ("k", small)]
    {
        let at = lines.iter().position(|line| line.row == row).expect("a row of the table");
        lines.insert(at, line(row, what, figure, unit, Nothing));
    }
    lines
}

fn produce(row: &'static str, what: &str, prefix: &str, required: [Required; 5]) -> Vec<Line> {
    let [rate, p50, p99, per_gb, per_request] = required;
    let by_requests = row == "c" || row == "e";
    let (mb_rate, request_rate) =
        if by_requests { (Required::Nothing, rate) } else { (rate, Required::Nothing) };
    [
        ("throughput", "mb_per_s", "MB/s", mb_rate),
        ("requests", "requests_per_s", "/s", request_rate),
        ("p50", "p50_ms", "ms", p50),
        ("p99", "p99_ms", "ms", p99),
        ("p99.9", "p999_ms", "ms", Required::Nothing),
        ("broker CPU per GB", "broker_cpu_ms_per_gb", "ms", per_gb),
        ("broker CPU per request", "broker_cpu_us_per_request", "us", per_request),
        ("generator CPU per request", "generator_cpu_us_per_request", "us", Required::Nothing),
        ("acknowledgements per device flush", "acks_per_flush", "", Required::Nothing),
        ("acknowledgements per device write", "acks_per_write", "", Required::Nothing),
    ]
    .map(|(name, figure, unit, required)| {
        line(row, format!("{what}: {name}"), format!("{prefix}{figure}"), unit, required)
    })
    .into()
}

/// Row k.
fn commits() -> Vec<Line> {
    use Required::{AtLeast, AtMost, Nothing};
    let cases = [
        ("no members, 64 connections", "simple.", AtLeast(1.2), Nothing),
        ("members, 64 connections", "member.", AtLeast(1.2), Nothing),
        ("no member, 1 connection", "one.", Nothing, AtMost(1.5)),
    ];
    let mut lines = Vec::new();
    for (what, prefix, rate, p50) in cases {
        let mut add = |name, figure, unit, required| {
            lines.push(line("k", format!("{what}: {name}"), format!("{prefix}{figure}"), unit, required));
        };
        add("commits", "requests_per_s", "/s", rate);
        add("p50", "p50_ms", "ms", p50);
        add("p99", "p99_ms", "ms", Nothing);
        add("p99.9", "p999_ms", "ms", Nothing);
        add("broker CPU per commit", "broker_cpu_us_per_request", "us", Nothing);
        add("generator CPU per commit", "generator_cpu_us_per_request", "us", Nothing);
        add("commits per device flush", "acks_per_flush", "", Nothing);
    }
    lines
}

/// Row l.
fn rebalances() -> Vec<Line> {
    use Required::{AtMost, Nothing};
    let mut lines = Vec::new();
    for (what, prefix) in [("classic", "classic."), ("KIP-848", "consumer.")] {
        let mut add = |name, figure, unit, required| {
            lines.push(line("l", format!("{what}: {name}"), format!("{prefix}{figure}"), unit, required));
        };
        add("500 join, until settled", "first_ms", "ms", Nothing);
        add("500 join, until settled: broker CPU", "first_cpu_ms", "ms", Nothing);
        add("broker CPU of 500 that idle", "steady_cpu_percent", "% of a core", Nothing);
        add("one more joins, until settled", "join_ms", "ms", AtMost(1.0));
        if prefix == "classic." {
            add("of that, after the last JoinGroup was sent", "join_rest_ms", "ms", Nothing);
        } else {
            add("of that, until the one has its first answer", "join_answer_ms", "ms", Nothing);
            add("of that, after its last heartbeat was due", "join_rest_ms", "ms", Nothing);
        }
        add("one more joins, until settled: broker CPU", "join_cpu_ms", "ms", Nothing);
    }
    lines
}

/// Rows m and n.
fn many_groups() -> Vec<Line> {
    use Required::{Limit, Nothing};
    let mut lines = vec![
        line("m", "groups", "groups", "", Nothing),
        line("m", "groups created", "groups_per_s", "/s", Nothing),
        line("m", "broker CPU without heartbeats", "silent_cpu_percent", "% of a core", Limit(10.0)),
        line("m", "heartbeats", "heartbeats_per_s", "/s", Nothing),
        line("m", "broker CPU with heartbeats", "heartbeat_cpu_percent", "% of a core", Limit(10.0)),
        line("m", "broker CPU per heartbeat", "heartbeat_cpu_us", "us", Nothing),
        line("m", "heartbeat, p50", "heartbeat_p50_ms", "ms", Nothing),
        line("m", "heartbeat, p99", "heartbeat_p99_ms", "ms", Nothing),
        line("m", "resident memory per group", "resident_kib_per_group", "KiB", Limit(8.0)),
        line("m", "anonymous memory per group", "anonymous_kib_per_group", "KiB", Nothing),
        line("n", "groups", "groups", "", Nothing),
    ];
    for (what, prefix) in [("SIGTERM", "term."), ("SIGKILL", "kill.")] {
        let mut add = |name, figure, required| {
            let what = format!("start after {what}: {name}");
            lines.push(line("n", what, format!("{prefix}{figure}"), "ms", required));
        };
        add("first heartbeat accepted", "first_heartbeat_ms", Limit(1000.0));
        add("every member's heartbeat accepted", "all_heartbeats_ms", Nothing);
        add("broker CPU until then", "cpu_ms", Nothing);
    }
    lines
}

fn line(
    row: &'static str,
    what: impl Into<String>,
    figure: impl Into<String>,
    unit: &'static str,
    required: Required,
) -> Line {
    Line { row, what: what.into(), figure: figure.into(), unit, required }
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
    let magnitude = value.abs();
    if magnitude >= 100.0 {
        let plain = format!("{magnitude:.0}");
        let mut text = String::new();
        for (index, digit) in plain.chars().enumerate() {
            if index > 0 && (plain.len() - index) % 3 == 0 {
                text.push(',');
            }
            text.push(digit);
        }
        return if value < 0.0 { format!("-{text}") } else { text };
    }
    let decimals = if magnitude >= 10.0 {
        1
    } else if magnitude >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(row: &'static str, kafka: &[(&str, f64)], ottla: &[(&str, f64)]) -> Results {
        let figures = |pairs: &[(&str, f64)]| {
            Ok(Figures(pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()))
        };
        let mut results = Results::default();
        results.add(row, Kind::Kafka, figures(kafka));
        results.add(row, Kind::Ottla, figures(ottla));
        results
    }

    fn check(results: &Results, what: &str, expected: &str) {
        let table = results.table(256.0);
        let found = table.lines().find(|line| line.contains(what)).unwrap_or("no such line");
        assert_eq!(found, expected);
    }

    #[test]
    fn throughput_is_judged_by_its_ratio() {
        let met = results("a", &[("mb_per_s", 300.0)], &[("mb_per_s", 600.0)]);
        check(&met, "throughput", "| a | 16 KiB: throughput | 300 MB/s | 600 MB/s | 2.00x | ≥ 2x | yes |");
        let missed = results("a", &[("mb_per_s", 300.0)], &[("mb_per_s", 599.0)]);
        check(&missed, "throughput", "| a | 16 KiB: throughput | 300 MB/s | 599 MB/s | 2.00x | ≥ 2x | no |");
    }

    #[test]
    fn p99_is_judged_by_the_other_brokers_p50() {
        let figures =
            |p99| results("a", &[("p50_ms", 4.0), ("p99_ms", 9.0)], &[("p50_ms", 1.0), ("p99_ms", p99)]);
        check(
            &figures(3.5),
            "p99 ",
            "| a | 16 KiB: p99 | 9.00 ms | 3.50 ms | 0.389x | < Kafka's p50 | yes |",
        );
        check(&figures(4.5), "p99 ", "| a | 16 KiB: p99 | 9.00 ms | 4.50 ms | 0.500x | < Kafka's p50 | no |");
    }

    #[test]
    fn latency_is_judged_by_the_larger_of_two_limits() {
        let figures = |durable| {
            results(
                "h",
                &[("delivered_p50_ms", 0.2)],
                &[("delivered_p50_ms", 0.3), ("durable_4k_p50_ms", durable)],
            )
        };
        let line = "| h | to the consumer, p50 | 0.200 ms | 0.300 ms | 1.50x |";
        let words = "1.3x, or durable write + 0.15 ms";
        check(&figures(0.1), "consumer, p50", &format!("{line} ≤ 0.260 ms: {words} | no |"));
        check(&figures(0.2), "consumer, p50", &format!("{line} ≤ 0.350 ms: {words} | yes |"));
    }

    #[test]
    fn a_failed_run_prints_no_number_and_is_not_met() {
        let mut results = results("a", &[("mb_per_s", 300.0)], &[("mb_per_s", 900.0)]);
        results.add("a", Kind::Ottla, Err("error 56".to_owned()));
        check(&results, "throughput", "| a | 16 KiB: throughput | 300 MB/s | FAILED | – | ≥ 2x | no |");
        assert!(results.any_failed());
        assert!(results.failures().contains("row a, ottla: error 56"));
    }

    #[test]
    fn one_broker_alone_is_shown_and_not_judged() {
        let mut results = Results::default();
        results.add("c", Kind::Kafka, Ok(Figures([("requests_per_s".to_owned(), 54_321.0)].into())));
        check(&results, "requests", "| c | 100 B: requests | 54,321 /s | – | – | ≥ 1.4x | – |");
    }

    #[test]
    fn passes_are_reported_by_their_median() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
    }

    #[test]
    fn every_line_belongs_to_a_row_and_rows_stay_together() {
        let shown: Vec<&str> = lines().iter().map(|line| line.row).collect();
        assert!(shown.is_sorted());
        assert!(rows::ALL.iter().all(|row| shown.contains(&row.id)));
    }

    #[test]
    fn raw_figures_are_json() {
        let text = raw(1, "a", Kind::Ottla, 5, &Err("a \"quoted\" failure".to_owned()));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["failed"], "a \"quoted\" failure");
        assert!(value["figures"].is_null());
    }
}
