//! Figures of earlier runs, out of the files that `--json` wrote: as Markdown, as pictures, and
//! both into the documentation.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    growth,
    measure::Verdict,
    plot,
    report::{Judged, Report, number, rule},
    summary::median,
};

/// Which files, and where to.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// What `--json` wrote; several runs stand one after the other
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The folder of the documentation
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
}

/// Between these lines of `performance.md` stands what is published.
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench publish` -->";
const END: &str = "<!-- end of the figures -->";

/// Prints the tables as Markdown.
pub(crate) fn table(options: &Options) -> Result<()> {
    print!("{}", markdown(&read(options)?));
    Ok(())
}

/// Draws the growth curves.
pub(crate) fn draw(options: &Options) -> Result<()> {
    for report in read(options)? {
        let folder = options.docs.join("images");
        let names = plot::write_all(&report, &folder)?;
        println!("plots in {}: {}", folder.display(), names.join(", "));
    }
    Ok(())
}

/// Does both, and puts the tables into `performance.md`.
pub(crate) fn publish(options: &Options) -> Result<()> {
    draw(options)?;
    let page = options.docs.join("performance.md");
    let text = fs::read_to_string(&page).with_context(|| format!("no {}", page.display()))?;
    let text = replace(&text, &markdown(&read(options)?))
        .with_context(|| format!("{} has no place for figures: `{BEGIN}`", page.display()))?;
    fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
    println!("figures in {}", page.display());
    Ok(())
}

fn read(options: &Options) -> Result<Vec<Report>> {
    options.files.iter().map(|file| Report::read(file)).collect()
}

/// Puts `figures` between the two marks.
fn replace(page: &str, figures: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{figures}\n{END}{after}"))
}

fn markdown(reports: &[Report]) -> String {
    let parts: Vec<String> = reports.iter().map(one).collect();
    parts.join("\n")
}

fn one(report: &Report) -> String {
    let mut text = heading(report);
    let mut scenario = "";
    for judged in &report.measurements {
        if judged.figure.scenario != scenario {
            scenario = &judged.figure.scenario;
            let _ = write!(
                text,
                "\n#### {scenario}\n\n\
                 | figure | of | floor | measured | ratio | spread | goal | verdict |\n\
                 |---|--:|--:|--:|--:|--:|---|---|\n"
            );
        }
        let _ = writeln!(text, "{}", row(judged));
    }
    text.push_str(&curves(report));
    text.push_str(&remarks(report));
    text
}

fn heading(report: &Report) -> String {
    let machine = &report.machine;
    let noise = if report.quiet { "quiet before and after" } else { "**not quiet**: all hints" };
    let mut text = format!(
        "Commit `{}`, profile {}, {} x {}, {:.1} GiB, Linux {}; load {:.2} before, {noise}; \
         {:.0} minutes in all.\n",
        machine.commit,
        machine.profile,
        machine.cores,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        machine.load,
        report.seconds / 60.0
    );
    let count = |met: bool| {
        let verdicts = report.measurements.iter().filter_map(|judged| judged.verdict);
        verdicts.filter(|verdict| is_met(*verdict) == met).count()
    };
    let _ =
        writeln!(text, "Of the goals below {} are met and {} missed.", count(true), count(false));
    text
}

fn is_met(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Met | Verdict::SeemsMet)
}

fn row(judged: &Judged) -> String {
    let figure = &judged.figure;
    let floor = figure.reference.as_ref().map(|it| number(median(&it.values)));
    let ratio = judged.ratio.map(|ratio| format!("{ratio:.2}x"));
    let goal = figure.goal.as_ref().map(|goal| format!("{} {}", goal.id, rule(goal.rule)));
    format!(
        "| {} [{}] | {} {} | {} | {} | {} | {:.0} % | {} | {} |",
        figure.metric,
        figure.unit,
        figure.step.count,
        figure.step.of,
        floor.unwrap_or_default(),
        number(judged.median),
        ratio.unwrap_or_default(),
        judged.spread * 100.0,
        goal.unwrap_or_default(),
        judged.verdict.map_or("", Verdict::word)
    )
}

/// How each cost grows, with its picture.
fn curves(report: &Report) -> String {
    let growths = growth::all(report);
    if growths.is_empty() {
        return String::new();
    }
    let mut text =
        "\n#### How costs grow\n\n| figure | at | measured | grows |\n|---|---|---|---|\n"
            .to_owned();
    for (scenario, metric, unit, growth) in growths {
        let picture = plot::file_name(scenario, metric);
        let _ = writeln!(
            text,
            "| [{scenario}: {metric}](images/{picture}) [{unit}] | {} | {} | {} |",
            growth.sizes(),
            growth.medians(),
            growth.words()
        );
    }
    text
}

fn remarks(report: &Report) -> String {
    if report.remarks.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = report.remarks.iter().map(|remark| format!("- {remark}\n")).collect();
    format!("\nNotes of the run:\n\n{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        machine::Machine,
        measure::{Measurement, Rule},
    };

    async fn report() -> Report {
        let figure = |count, value| {
            Measurement::new("storm", "time of all", "us", ("agents", count), vec![value; 5])
                .against("axum", vec![10.0; 5])
                .goal("P12", Rule::RatioAtMost(2.5))
        };
        let figures = vec![figure(100, 20.0), figure(1_000, 60.0)];
        let machine = Machine::look("dev").await;
        Report::new(machine, true, 61.0, figures, vec!["one agent was lost".to_owned()])
    }

    #[tokio::test]
    async fn a_report_that_was_written_is_read_back_and_shows_the_same() {
        let report = report().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out.json");
        fs::write(&file, serde_json::to_string_pretty(&report).unwrap()).unwrap();
        let again = Report::read(&file).unwrap();
        assert_eq!(again.table(), report.table());
        assert_eq!(one(&again), one(&report));
        assert!(Report::read(&folder.path().join("none.json")).is_err());
    }

    #[tokio::test]
    async fn every_goal_stands_beside_its_value_met_or_not() {
        let text = one(&report().await);
        for part in [
            "| 100 agents | 10.0 | 20.0 | 2.00x | 0 % | P12 <= 2.50x | met |",
            "| 1000 agents | 10.0 | 60.0 | 6.00x | 0 % | P12 <= 2.50x | MISSED |",
            "1 are met and 1 missed",
            "x 3.00 per tenfold",
            "- one agent was lost",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn figures_take_the_place_of_those_before_and_of_nothing_else() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replace(&page, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(replace(&new, "new\n").unwrap(), new);
        assert!(replace("a page without a place", "new").is_none());
    }

    #[test]
    fn the_documentation_has_a_place_for_figures() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
        assert!(replace(&fs::read_to_string(page).unwrap(), "x").is_some());
    }
}
