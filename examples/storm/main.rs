//! A reconnect storm: 100,000 devices lose their one cloud at once and come back, in virtual time.
//!
//! ```sh
//! cargo run --release --example storm -- --svg storm.svg
//! ```
//!
//! Prints for each storm the highest rate of authentications in any second and how long it takes until 99 % of the
//! devices are back, with the waits of the tunnel as they are and, for comparison, with waits that are always the
//! longest that could have been drawn. Draws the two storms of `--svg` as curves over time.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

mod chart;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tether::sim::storm::{Capacity, Outcome, Storm, Waits};

/// How many devices, and where the figure goes.
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 100_000)]
    devices: usize,
    /// Of the waits and distances.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draws a figure into this file.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// A storm, with jitter and without.
struct Pair {
    title: String,
    outcomes: [Outcome; 2],
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    println!("{} devices", arguments.devices);
    println!(
        "{:<44} {:>10} {:>10} {:>10} {:>10}",
        "the cloud is away", "peak", "99 % back", "peak", "99 % back"
    );
    println!("{:<44} {:>21} {:>21}", "", "with jitter", "without");
    let mut drawn = Vec::new();
    for (outage, capacity, is_drawn) in storms(arguments.devices) {
        let pair = pair(&arguments, outage, capacity);
        print(&pair, arguments.devices);
        if is_drawn {
            drawn.push(pair);
        }
    }
    let Some(path) = &arguments.svg else {
        return ExitCode::SUCCESS;
    };
    match std::fs::write(path, draw(&drawn, arguments.devices)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storm: cannot write {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

/// How long the cloud is away, what it can do afterwards, and whether it is drawn.
fn storms(devices: usize) -> Vec<(Duration, Option<Capacity>, bool)> {
    let each_second = u32::try_from(devices / 50).unwrap_or(u32::MAX).max(1);
    let little = Capacity {
        each_second,
        retry_after: Duration::from_secs(30),
    };
    let away = [0, 10, 60, 300].map(|s| (Duration::from_secs(s), None, s == 60));
    let limited = [0, 60].map(|s| (Duration::from_secs(s), Some(little), s == 60));
    away.into_iter().chain(limited).collect()
}

fn pair(arguments: &Arguments, outage: Duration, capacity: Option<Capacity>) -> Pair {
    let with = |waits| Storm {
        devices: arguments.devices,
        outage,
        capacity,
        waits,
        seed: arguments.seed,
    };
    let mut title = format!("{} s", outage.as_secs());
    if let Some(capacity) = capacity {
        title += &format!(
            ", then grants {} a second, else Retry-After {}",
            capacity.each_second,
            capacity.retry_after.as_secs()
        );
    }
    Pair {
        title,
        outcomes: std::thread::scope(|scope| {
            let beside = scope.spawn(|| with(Waits::Unjittered).run());
            [with(Waits::Jittered).run(), joined(beside.join())]
        }),
    }
}

fn joined<T>(result: std::thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn print(pair: &Pair, devices: usize) {
    let columns = pair.outcomes.each_ref().map(|outcome| {
        let back = match outcome.back_at(99, devices) {
            Some(back) => format!("{:.1} s", back.as_secs_f64()),
            None => "never".to_owned(),
        };
        format!("{:>8}/s {back:>10}", outcome.peak())
    });
    println!("{:<44} {} {}", pair.title, columns[0], columns[1]);
}

/// A column for each storm: the rate of authentications above, who is back below.
fn draw(pairs: &[Pair], devices: usize) -> String {
    let mut figure = chart::Figure::new(pairs.len());
    for (column, pair) in pairs.iter().enumerate() {
        let last = pair
            .outcomes
            .iter()
            .filter_map(|outcome| outcome.back_at(99, devices));
        let end = last.max().unwrap_or_default().as_secs_f64() * 1.05 + 5.0;
        let title = format!("{devices} devices, cloud away for {}", pair.title);
        let rates = pair.outcomes.each_ref().map(|outcome| {
            let seconds = outcome.authentications.iter().enumerate();
            let points = seconds.map(|(second, count)| (second as f64, f64::from(*count)));
            points.collect::<Vec<_>>()
        });
        figure.rate(column, &title, end, &rates);
        let shares = pair.outcomes.each_ref().map(|outcome| {
            let step = (devices / 1000).max(1);
            let reached = (0..=outcome.back.len()).step_by(step);
            let points = reached.map(|count| {
                let at = count
                    .checked_sub(1)
                    .map_or(Duration::ZERO, |last| outcome.back[last]);
                (at.as_secs_f64(), 100.0 * count as f64 / devices as f64)
            });
            points.collect::<Vec<_>>()
        });
        figure.share(column, end, &shares);
    }
    figure.into_svg()
}
