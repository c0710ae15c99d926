//! Growth curves as SVG, for `docs/images`.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    measure::Measurement,
    report::{Report, number},
    summary::median,
};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;

/// One line of a plot.
struct Line {
    name: String,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// Writes one plot per figure that was measured at two sizes or more; returns their names.
pub(crate) fn write_all(report: &Report, folder: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut names = Vec::new();
    for ((scenario, metric), figures) in curves(report) {
        let name = file_name(scenario, metric);
        let path = folder.join(&name);
        fs::write(&path, draw(report, &figures))
            .with_context(|| format!("cannot write {}", path.display()))?;
        names.push(name);
    }
    Ok(names)
}

/// Figures at growing sizes, by scenario and name.
pub(crate) type Curves<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Measurement>>;

pub(crate) fn curves(report: &Report) -> Curves<'_> {
    let mut curves = Curves::new();
    for judged in &report.measurements {
        let figure = &judged.figure;
        curves.entry((&*figure.scenario, &*figure.metric)).or_default().push(figure);
    }
    curves.retain(|_, figures| figures.len() >= 2);
    curves
}

fn draw(report: &Report, figures: &[&Measurement]) -> String {
    let first = figures[0];
    let mut lines = vec![Line {
        name: "Holdfast".to_owned(),
        colour: "#1d6fb8",
        points: figures.iter().map(|it| (it.step.count as f64, it.median())).collect(),
    }];
    let floor: Vec<(f64, f64)> = figures
        .iter()
        .filter_map(|it| Some((it.step.count as f64, median(&it.reference.as_ref()?.values))))
        .collect();
    if let Some(reference) = first.reference.as_ref().filter(|_| !floor.is_empty()) {
        let name = format!("floor: {}", reference.name);
        lines.push(Line { name, colour: "#8a8f98", points: floor });
    }
    let title = format!("{}: {} [{}]", first.scenario, first.metric, first.unit);
    let machine = &report.machine;
    let below = format!(
        "{} (log scale); {} x {}, profile {}, {}{}",
        first.step.of,
        machine.cores,
        machine.processor,
        machine.profile,
        machine.commit,
        if report.quiet { "" } else { ", machine not quiet" }
    );
    svg(&title, &below, &lines)
}

fn svg(title: &str, below: &str, lines: &[Line]) -> String {
    let frame = Frame::around(lines);
    let mut text = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"
    font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{}</text>
<text x="{LEFT}" y="{}" fill="#555b66">{}</text>
"##,
        escape(title),
        HEIGHT - 14.0,
        escape(below)
    );
    frame.grid(&mut text);
    for (index, line) in lines.iter().enumerate() {
        frame.line(&mut text, line, index);
    }
    text.push_str("</svg>\n");
    text
}

/// Where the axes run: the horizontal one by powers of ten, the vertical one from zero.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    steps: Vec<f64>,
}

impl Frame {
    fn around(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let mut steps: Vec<f64> = points().map(|(x, _)| *x).collect();
        steps.sort_by(f64::total_cmp);
        steps.dedup();
        let top = points().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max) * 1.1;
        let log = |x: Option<&f64>| x.map_or(0.0, |x| x.max(1.0).log10());
        Self { left: log(steps.first()), right: log(steps.last()), top, steps }
    }

    fn x(&self, value: f64) -> f64 {
        let width = (self.right - self.left).max(f64::MIN_POSITIVE);
        let share = (value.max(1.0).log10() - self.left) / width;
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)
    }

    fn grid(&self, text: &mut String) {
        for part in 0..=4 {
            let value = self.top / 1.1 * f64::from(part) / 4.0;
            let y = self.y(value);
            let _ = writeln!(
                text,
                r##"<line x1="{LEFT}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}" stroke="#e3e6ea"/>
<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"##,
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                number(value)
            );
        }
        for step in &self.steps {
            let _ = writeln!(
                text,
                r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{step}</text>"#,
                self.x(*step),
                HEIGHT - BOTTOM + 18.0
            );
        }
    }

    fn line(&self, text: &mut String, line: &Line, index: usize) {
        let Line { name, colour, points } = line;
        let place = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", self.x(*x), self.y(*y));
        let path: Vec<String> = points.iter().map(place).collect();
        let _ = writeln!(
            text,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            path.join(" ")
        );
        for (x, y) in points {
            let (x, y) = (self.x(*x), self.y(*y));
            let _ = writeln!(text, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#);
        }
        let x = LEFT + index as f64 * 160.0;
        let _ = writeln!(text, r#"<text x="{x}" y="42" fill="{colour}">{}</text>"#, escape(name));
    }
}

/// What the picture of a figure's growth is called.
pub(crate) fn file_name(scenario: &str, metric: &str) -> String {
    format!("bench-{scenario}-{}.svg", slug(metric))
}

fn slug(text: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = text.chars().map(word).collect();
    text.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_lies_inside_the_picture() {
        let points = vec![(100.0, 3.0), (1_000.0, 4.0), (10_000.0, 50.0)];
        let lines = [Line { name: "a < b".to_owned(), colour: "#000", points: points.clone() }];
        let frame = Frame::around(&lines);
        for (x, y) in points {
            assert!((LEFT..=WIDTH - RIGHT).contains(&frame.x(x)), "{x}");
            assert!((TOP..=HEIGHT - BOTTOM).contains(&frame.y(y)), "{y}");
        }
        let text = svg("a title", "below", &lines);
        assert!(text.contains("a &lt; b") && text.ends_with("</svg>\n"), "{text}");
        assert_eq!(text.matches("<circle").count(), 3);
    }

    #[test]
    fn a_name_becomes_a_file_name() {
        assert_eq!(slug("CPU / handshake (p99)"), "cpu-handshake-p99");
    }
}
