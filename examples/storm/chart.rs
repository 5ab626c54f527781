//! Curves as SVG, no more than the storm needs: panels with axes, two curves each, one legend.

use std::fmt::Write as _;

const PANEL: (f64, f64) = (560.0, 240.0);
const MARGIN: (f64, f64) = (90.0, 70.0);
const TOP: f64 = 60.0;
/// With jitter, without.
const CURVES: [(&str, &str); 2] = [
    ("#1f6fb4", "as it is, with jitter"),
    ("#d1541f", "without jitter"),
];

/// Two rows of panels.
pub struct Figure {
    columns: usize,
    body: String,
}

/// From values to places in one panel.
struct Panel {
    left: f64,
    top: f64,
    end: f64,
    scale: Scale,
}

#[derive(Clone, Copy)]
enum Scale {
    /// From 1 to this power of ten.
    Logarithmic(f64),
    /// From 0 to 100.
    Percent,
}

impl Figure {
    pub fn new(columns: usize) -> Self {
        Self {
            columns,
            body: String::new(),
        }
    }

    /// The upper panel of a column: authentications in each second.
    pub fn rate(&mut self, column: usize, title: &str, end: f64, curves: &[Vec<(f64, f64)>; 2]) {
        let highest = curves
            .iter()
            .flatten()
            .map(|point| point.1)
            .fold(10.0, f64::max);
        let panel = Panel::new(column, 0, end, Scale::Logarithmic(highest.log10().ceil()));
        self.text(panel.left, panel.top - 14.0, "start", title);
        self.axes(&panel, "authentications in each second");
        for ((color, _), points) in CURVES.iter().zip(curves) {
            // A bar for each second that had any; between them there is nothing.
            let mut path = String::new();
            for (x, y) in points
                .iter()
                .filter(|point| point.1 > 0.0 && point.0 <= end)
            {
                let (left, right) = (panel.x(*x), panel.x(x + 1.0));
                let _ = write!(
                    path,
                    "M{left:.1} {base:.1}V{top:.1}H{right:.1}V{base:.1}",
                    base = panel.y(1.0),
                    top = panel.y(*y)
                );
            }
            let _ = writeln!(
                self.body,
                r#"<path d="{path}" fill="{color}" fill-opacity="0.35" stroke="{color}"/>"#
            );
        }
    }

    /// The lower panel of a column: how many in a hundred are back.
    pub fn share(&mut self, column: usize, end: f64, curves: &[Vec<(f64, f64)>; 2]) {
        let panel = Panel::new(column, 1, end, Scale::Percent);
        self.axes(&panel, "devices that are back, %");
        let seconds = "seconds since the cloud went away";
        let middle = panel.left + PANEL.0 / 2.0;
        self.text(middle, panel.top + PANEL.1 + 42.0, "middle", seconds);
        for ((color, _), points) in CURVES.iter().zip(curves) {
            let mut path = String::new();
            let mut pen = 'M';
            for (x, y) in points.iter().filter(|point| point.0 <= end) {
                let _ = write!(path, "{pen}{:.1} {:.1}", panel.x(*x), panel.y(*y));
                pen = 'L';
            }
            let _ = writeln!(
                self.body,
                r#"<path d="{path}" fill="none" stroke="{color}" stroke-width="2"/>"#
            );
        }
    }

    fn axes(&mut self, panel: &Panel, label: &str) {
        let (left, bottom) = (panel.left, panel.top + PANEL.1);
        let right = left + PANEL.0;
        for value in panel.scale.marks() {
            let y = panel.y(value);
            let _ = writeln!(
                self.body,
                r##"<path d="M{left} {y:.1}H{right}" stroke="#ddd"/>"##
            );
            self.text(left - 8.0, y + 4.0, "end", &format!("{value}"));
        }
        let step = round_step(panel.end / 6.0);
        let mut second = 0.0;
        while second <= panel.end {
            let x = panel.x(second);
            let _ = writeln!(
                self.body,
                r##"<path d="M{x:.1} {bottom}v5" stroke="#333"/>"##
            );
            self.text(x, bottom + 20.0, "middle", &format!("{second}"));
            second += step;
        }
        let _ = writeln!(
            self.body,
            r##"<path d="M{left} {}V{bottom}H{right}" fill="none" stroke="#333"/>"##,
            panel.top
        );
        let (x, y) = (left - 62.0, panel.top + PANEL.1 / 2.0);
        let _ = writeln!(
            self.body,
            r#"<text x="{x}" y="{y}" text-anchor="middle" transform="rotate(-90 {x} {y})">{label}</text>"#
        );
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// All of it.
    pub fn into_svg(mut self) -> String {
        let mut x = MARGIN.0;
        for (color, label) in CURVES {
            let _ = writeln!(
                self.body,
                r#"<rect x="{x}" y="14" width="14" height="14" fill="{color}"/>"#
            );
            self.text(x + 20.0, 26.0, "start", label);
            x += 190.0;
        }
        let width = (PANEL.0 + MARGIN.0) * self.columns as f64 + 30.0;
        let height = TOP + 2.0 * (PANEL.1 + MARGIN.1);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            self.body
        )
    }
}

impl Panel {
    fn new(column: usize, row: usize, end: f64, scale: Scale) -> Self {
        Self {
            left: MARGIN.0 + (PANEL.0 + MARGIN.0) * column as f64,
            top: TOP + (PANEL.1 + MARGIN.1 - 20.0) * row as f64,
            end,
            scale,
        }
    }

    fn x(&self, seconds: f64) -> f64 {
        self.left + PANEL.0 * (seconds / self.end).min(1.0)
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Logarithmic(powers) => value.max(1.0).log10() / powers,
            Scale::Percent => value / 100.0,
        };
        self.top + PANEL.1 * (1.0 - share)
    }
}

impl Scale {
    fn marks(self) -> Vec<f64> {
        match self {
            Self::Logarithmic(powers) => {
                let mut marks = vec![1.0];
                while marks.len() as f64 <= powers {
                    marks.push(10_f64.powi(marks.len() as i32));
                }
                marks
            }
            Self::Percent => vec![0.0, 25.0, 50.0, 75.0, 100.0],
        }
    }
}

/// The next of 1, 2, 5, 10, 20, 50, … .
fn round_step(about: f64) -> f64 {
    let power = 10_f64.powf(about.max(1.0).log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= about);
    factor.unwrap_or(10.0) * power
}
