//! The table that benchmarks write into: a figure, what it is compared with, the goal, and whether it is met. It decides nothing
//! else, and a goal that is missed does not fail the run: on a shared machine the reader must judge.

use serde_json::json;

/// What a row should reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    FigureAtMost(f64),
    FigureAtLeast(f64),
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

/// One figure with what stands beside it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: String,
    figure: f64,
    unit: &'static str,
    peer: String,
    ratio: Option<f64>,
    goal: Option<Goal>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, figure: f64, unit: &'static str) -> Self {
        Self { name: name.into(), figure, unit, peer: String::new(), ratio: None, goal: None }
    }

    /// What it is compared with, in the same unit, and the ratio of the two. The ratio is given rather than divided here: the
    /// median of the ratios of many short turns is steadier than the ratio of two medians.
    pub(crate) fn beside(mut self, peer: &str, figure: f64, ratio: f64) -> Self {
        self.peer = format!("{peer} {}", shown(figure));
        self.ratio = Some(ratio);
        self
    }

    /// Something to know when reading the row.
    pub(crate) fn note(mut self, note: impl AsRef<str>) -> Self {
        let separator = if self.peer.is_empty() { "" } else { "; " };
        self.peer = format!("{}{separator}{}", self.peer, note.as_ref());
        self
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    fn met(&self) -> Option<bool> {
        match self.goal? {
            Goal::FigureAtMost(limit) => Some(self.figure <= limit),
            Goal::FigureAtLeast(limit) => Some(self.figure >= limit),
            Goal::RatioAtMost(limit) => Some(self.ratio? <= limit),
            Goal::RatioAtLeast(limit) => Some(self.ratio? >= limit),
        }
    }

    fn goal_text(&self) -> String {
        match self.goal {
            None => String::new(),
            Some(Goal::FigureAtMost(limit)) => format!("<= {} {}", shown(limit), self.unit),
            Some(Goal::FigureAtLeast(limit)) => format!(">= {} {}", shown(limit), self.unit),
            Some(Goal::RatioAtMost(limit)) => format!("<= {limit}x"),
            Some(Goal::RatioAtLeast(limit)) => format!(">= {limit}x"),
        }
    }
}

/// Prints rows as they come.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    bench: &'static str,
    missed: usize,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, bench: "", missed: 0 }
    }

    pub(crate) fn begin(&mut self, bench: &'static str) {
        self.bench = bench;
        if !self.json {
            println!("\n{bench}");
            line(["", "figure", "ratio", "goal", "met", "beside"]);
        }
    }

    pub(crate) fn row(&mut self, row: Row) {
        self.missed += usize::from(row.met() == Some(false));
        if self.json {
            let goal = row.goal_text();
            println!(
                "{}",
                json!({
                    "bench": self.bench, "name": row.name, "figure": row.figure, "unit": row.unit, "ratio": row.ratio,
                    "goal": (!goal.is_empty()).then_some(goal), "met": row.met(), "beside": row.peer,
                })
            );
            return;
        }
        let met = row.met().map_or("", |met| if met { "yes" } else { "NO" });
        let figure = format!("{} {}", shown(row.figure), row.unit);
        let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x"));
        line([&row.name, &figure, &ratio, &row.goal_text(), met, &row.peer]);
    }

    pub(crate) fn end(&self) {
        if !self.json {
            match self.missed {
                0 => println!("\nevery goal is met"),
                missed => println!("\n{missed} goals are missed"),
            }
        }
    }
}

fn line([name, figure, ratio, goal, met, peer]: [&str; 6]) {
    println!("  {name:<44} {figure:>14} {ratio:>8} {goal:>14} {met:>4}  {peer}");
}

/// Three digits that say something, whatever the size.
fn shown(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{number:.2}"),
        _ => format!("{number:.4}"),
    }
}
