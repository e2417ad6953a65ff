//! The plot of memory over time, as SVG text: a panel for each way in which brokers go, a line for each client.
//!
//! It takes the reader's colours for dark and light.

use std::fmt::Write;

use super::{Way, runs::Run};
use crate::clients::Client;

const WIDTH: f64 = 720.0;
const PANEL_HEIGHT: f64 = 250.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 120.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 36.0;
/// Points of a line at most.
const POINTS_MAX: usize = 240;
/// How far the names at the ends of lines stay apart.
const NAME_HEIGHT: f64 = 15.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}\
.axis{stroke:#8c959f}.grid{stroke:#8c959f;stroke-opacity:.25}.gone{fill:#8c959f;fill-opacity:.15}\
polyline{fill:none;stroke-width:2}\
.ottla{stroke:#1a7f37}.rdkafka{stroke:#cf222e}.krafka{stroke:#0969da}\
text.ottla{fill:#1a7f37;stroke:none}text.rdkafka{fill:#cf222e;stroke:none}text.krafka{fill:#0969da;stroke:none}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}\
.ottla{stroke:#3fb950}.rdkafka{stroke:#ff7b72}.krafka{stroke:#58a6ff}\
text.ottla{fill:#3fb950}text.rdkafka{fill:#ff7b72}text.krafka{fill:#58a6ff}}";

/// Draws all runs; `outage` is when brokers were gone, in seconds.
pub fn plot(runs: &[Run], outage: (u64, u64), seconds: u64) -> String {
    let mut ways = Way::ALL.to_vec();
    ways.retain(|way| runs.iter().any(|run| run.way == *way));
    let end = runs
        .iter()
        .flat_map(|run| run.samples.last())
        .map(|sample| sample.seconds)
        .fold(seconds as f64, f64::max);
    let peak = runs.iter().map(|run| run.peak(|sample| sample.resident_bytes)).max().unwrap_or_default();
    let top_mib = round_up(peak as f64 / f64::from(1 << 20));
    let height = PANEL_HEIGHT * ways.len().max(1) as f64;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Resident memory of three clients while no broker answers\">\n<style>{STYLE}</style>\n"
    );
    for (index, way) in ways.iter().enumerate() {
        let panel = Panel { y: PANEL_HEIGHT * index as f64, end, top_mib };
        panel.frame(&mut text, *way, outage);
        panel.lines(&mut text, runs.iter().filter(|run| run.way == *way));
    }
    text.push_str("</svg>\n");
    text
}

struct Panel {
    y: f64,
    end: f64,
    top_mib: f64,
}

impl Panel {
    fn x_of(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * seconds / self.end
    }

    fn y_of(&self, mib: f64) -> f64 {
        self.y + PANEL_HEIGHT - BOTTOM - (PANEL_HEIGHT - TOP - BOTTOM) * mib / self.top_mib
    }

    fn frame(&self, text: &mut String, way: Way, (gone_at, back_at): (u64, u64)) {
        let title = match way {
            Way::Kill => "brokers killed",
            Way::Stop => "brokers stopped (SIGSTOP)",
            Way::Swallow => "every byte swallowed",
        };
        let (left, right, zero, top) = (LEFT, WIDTH - RIGHT, self.y_of(0.0), self.y_of(self.top_mib));
        let (gone, back) = (self.x_of(gone_at as f64), self.x_of(back_at as f64));
        let _ = writeln!(
            text,
            "<text x=\"{left}\" y=\"{:.0}\">Resident memory, MiB: {title}</text>",
            self.y + 18.0
        );
        let _ = writeln!(
            text,
            "<rect class=\"gone\" x=\"{gone:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            back - gone,
            zero - top
        );
        for step in 0..=4 {
            let mib = self.top_mib * f64::from(step) / 4.0;
            let y = self.y_of(mib);
            let class = if step == 0 { "axis" } else { "grid" };
            let _ = writeln!(
                text,
                "<line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{mib:.0}</text>",
                left - 6.0,
                y + 4.0
            );
        }
        for (seconds, anchor) in [(gone_at as f64, "start"), (back_at as f64, "middle"), (self.end, "end")] {
            let (x, y) = (self.x_of(seconds), zero + 18.0);
            let _ = writeln!(
                text,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{seconds:.0} s</text>"
            );
        }
    }

    fn lines<'a>(&self, text: &mut String, runs: impl Iterator<Item = &'a Run>) {
        let mut names = Vec::new();
        for run in runs {
            let (class, name) = label(run.client);
            let every = run.samples.len().div_ceil(POINTS_MAX).max(1);
            // Of several samples the largest is drawn: a peak must not fall between two points.
            let points: Vec<String> = run
                .samples
                .chunks(every)
                .map(|chunk| {
                    let peak = chunk.iter().map(|sample| sample.resident_bytes).max().unwrap_or_default();
                    let y = self.y_of(peak as f64 / f64::from(1 << 20));
                    format!("{:.1},{y:.1}", self.x_of(chunk[0].seconds))
                })
                .collect();
            let _ = writeln!(text, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
            let last = run.samples.last().map_or(0, |sample| sample.resident_bytes);
            names.push((self.y_of(last as f64 / f64::from(1 << 20)), class, name));
        }
        names.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut free = f64::MIN;
        for (y, class, name) in names {
            free = y.max(free);
            let _ = writeln!(
                text,
                "<text class=\"{class}\" x=\"{:.0}\" y=\"{:.1}\">{name}</text>",
                WIDTH - RIGHT + 6.0,
                free + 4.0
            );
            free += NAME_HEIGHT;
        }
    }
}

fn label(client: Client) -> (&'static str, &'static str) {
    match client {
        Client::Krafka | Client::KrafkaBatch => ("krafka", "krafka 0.28"),
        Client::Ottla | Client::OttlaBatch => ("ottla", "ottla-client"),
        _ => ("rdkafka", "rdkafka 0.39"),
    }
}

/// The next number that four lines divide well; 40 at least.
fn round_up(mib: f64) -> f64 {
    let power = 10_f64.powf(mib.max(40.0).log10().floor());
    [1.0, 1.2, 1.6, 2.0, 4.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|top| *top >= mib.max(40.0))
        .unwrap_or(mib)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::outage::runs::Sample;

    fn run(client: Client, way: Way, mib: &[u64]) -> Run {
        let samples = mib.iter().enumerate().map(|(at, mib)| Sample {
            seconds: at as f64,
            resident_bytes: mib << 20,
            threads: 4,
            descriptors: 9,
            log_lines: 0,
            told: Value::Null,
        });
        Run { client, way, samples: samples.collect(), judgement: Value::Null }
    }

    #[test]
    fn there_is_a_panel_for_each_way_and_a_line_for_each_run() {
        let runs = [
            run(Client::RdkafkaFuture, Way::Kill, &[10, 700, 20]),
            run(Client::Krafka, Way::Kill, &[10, 48, 48]),
            run(Client::Krafka, Way::Stop, &[10, 48, 48]),
        ];
        let text = plot(&runs, (1, 2), 3);
        assert_eq!(text.matches("<polyline").count(), 3);
        assert_eq!(text.matches("class=\"gone\"").count(), 2);
        assert!(text.contains("brokers killed") && text.contains("SIGSTOP") && text.ends_with("</svg>\n"));
    }

    #[test]
    fn a_peak_between_points_is_drawn() {
        let mut mib = vec![10; 2000];
        mib[1001] = 790;
        let high = run(Client::Krafka, Way::Kill, &mib);
        let text = plot(&[high], (1, 2), 2000);
        let panel = Panel { y: 0.0, end: 2000.0, top_mib: 800.0 };
        assert!(text.contains(&format!(",{:.1} ", panel.y_of(790.0))), "{text}");
    }

    #[test]
    fn the_scale_holds_the_peak() {
        for (mib, top) in [(3.0, 40.0), (48.0, 60.0), (81.0, 100.0), (150.0, 160.0), (1127.0, 1200.0)] {
            assert_eq!(round_up(mib), top);
        }
    }
}
