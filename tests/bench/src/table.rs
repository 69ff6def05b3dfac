//! The table: figures, marks, and whether they are met. Knows no measurement.

use crate::statistics::ratio;

/// What was measured of each; none if it was not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// podwire's.
    pub(crate) podwire: Option<f64>,
    /// The kernel's part alone.
    pub(crate) floor: Option<f64>,
    /// Debian's bridge with host-local.
    pub(crate) incumbent: Option<f64>,
}

/// What a figure has to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark {
    /// At most so many times the floor's figure.
    TimesFloor(f64),
    /// The incumbent's figure, a time, is at least so many times podwire's.
    TimesFaster(f64),
    /// At least so many times the incumbent's figure, a rate.
    TimesIncumbent(f64),
    /// At most so many times another figure of podwire's own.
    Times {
        /// So many times.
        limit: f64,
        /// What of.
        of: &'static str,
        /// That figure.
        figure: Option<f64>,
    },
    /// At most this.
    AtMost(f64),
}

impl Mark {
    /// What is compared with the limit.
    fn measured(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::TimesFloor(_) => ratio(figures.podwire, figures.floor),
            Self::TimesFaster(_) => ratio(figures.incumbent, figures.podwire),
            Self::TimesIncumbent(_) => ratio(figures.podwire, figures.incumbent),
            Self::Times { figure, .. } => ratio(figures.podwire, figure),
            Self::AtMost(_) => figures.podwire,
        }
    }

    fn is_met(self, figures: &Figures) -> Option<bool> {
        let measured = self.measured(figures)?;
        Some(match self {
            Self::TimesFloor(limit) | Self::AtMost(limit) | Self::Times { limit, .. } => measured <= limit,
            Self::TimesFaster(limit) | Self::TimesIncumbent(limit) => measured >= limit,
        })
    }

    fn describe(self) -> String {
        match self {
            Self::TimesFloor(limit) => format!("≤ {limit} × floor"),
            Self::TimesFaster(limit) => format!("≥ {limit} × faster than bridge"),
            Self::TimesIncumbent(limit) => format!("≥ {limit} × bridge"),
            Self::Times { limit, of, .. } => format!("≤ {limit} × {of}"),
            Self::AtMost(limit) => format!("≤ {limit}"),
        }
    }

    /// A figure that is its own measure has no ratio.
    fn ratio(self, figures: &Figures) -> Option<String> {
        match self {
            Self::AtMost(_) => None,
            _ => self.measured(figures).map(|ratio| format!("{} ×", number(Some(ratio)))),
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    case: String,
    figures: Figures,
    marks: Vec<Mark>,
}

impl Line {
    /// Figures without a mark.
    pub(crate) fn new(case: impl Into<String>, figures: Figures) -> Self {
        Self { case: case.into(), figures, marks: Vec::new() }
    }

    /// With a mark.
    pub(crate) fn mark(mut self, mark: Mark) -> Self {
        self.marks.push(mark);
        self
    }

    fn cells(&self) -> [String; 7] {
        let Self { case, figures, marks } = self;
        let ratios = marks.iter().filter_map(|mark| mark.ratio(figures)).collect::<Vec<_>>();
        let described = marks.iter().map(|mark| mark.describe()).collect::<Vec<_>>();
        [
            case.clone(),
            number(figures.podwire),
            number(figures.floor),
            number(figures.incumbent),
            ratios.join(", "),
            described.join(", "),
            self.verdict().to_owned(),
        ]
    }

    fn verdict(&self) -> &'static str {
        let met = self.marks.iter().map(|mark| mark.is_met(&self.figures)).collect::<Vec<_>>();
        match &met[..] {
            [] => "",
            met if met.contains(&Some(false)) => "NO",
            met if met.contains(&None) => "not measured",
            _ => "yes",
        }
    }
}

const HEADER: [&str; 7] = ["case", "podwire", "floor", "bridge", "ratio", "mark", "met"];

/// The table as text; in Markdown, its columns stand between bars.
pub(crate) fn render(lines: &[Line], markdown: bool) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(lines.iter().map(Line::cells));
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or_default());
    rows.insert(1, std::array::from_fn(|column| "-".repeat(widths[column])));
    rows.iter().map(|row| format_row(row, &widths, markdown)).collect()
}

fn format_row(row: &[String; 7], widths: &[usize; 7], markdown: bool) -> String {
    let pad = |(cell, width_of): (&String, &usize)| cell.clone() + &" ".repeat(width_of - width(cell));
    let cells = row.iter().zip(widths).map(pad).collect::<Vec<_>>();
    if markdown {
        format!("| {} |\n", cells.join(" | "))
    } else {
        cells.join("  ").trim_end().to_owned() + "\n"
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// Three digits that mean something.
pub(crate) fn number(figure: Option<f64>) -> String {
    match figure {
        None => "–".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(figure) if figure.abs() < 10.0 => format!("{figure:.2}"),
        Some(figure) if figure.abs() < 100.0 => format!("{figure:.1}"),
        Some(figure) => format!("{figure:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: Figures = Figures { podwire: Some(2.6), floor: Some(2.0), incumbent: Some(15.6) };

    fn verdict(figures: Figures, mark: Mark) -> &'static str {
        Line::new("a case", figures).mark(mark).verdict()
    }

    #[test]
    fn each_mark_is_met_up_to_its_limit_and_not_beyond() {
        let own = |limit| Mark::Times { limit, of: "empty", figure: Some(2.0) };
        for (met, missed) in [
            (Mark::TimesFloor(1.3), Mark::TimesFloor(1.29)),
            (Mark::TimesFaster(6.0), Mark::TimesFaster(6.01)),
            (Mark::TimesIncumbent(0.16), Mark::TimesIncumbent(0.17)),
            (own(1.3), own(1.2)),
            (Mark::AtMost(2.6), Mark::AtMost(2.5)),
        ] {
            assert_eq!(verdict(FIGURES, met), "yes", "{met:?}");
            assert_eq!(verdict(FIGURES, missed), "NO", "{missed:?}");
        }
    }

    #[test]
    fn a_mark_without_its_figure_is_neither_met_nor_missed() {
        let without = Figures { incumbent: None, ..FIGURES };
        assert_eq!(verdict(without, Mark::TimesFaster(6.0)), "not measured");
        assert_eq!(verdict(Figures::default(), Mark::AtMost(1.0)), "not measured");
        let both = Line::new("two marks", without).mark(Mark::TimesFaster(6.0)).mark(Mark::TimesFloor(1.0));
        assert_eq!(both.verdict(), "NO");
        assert_eq!(Line::new("none", FIGURES).verdict(), "");
    }

    #[test]
    fn columns_line_up_in_both_forms() {
        let lines = [
            Line::new("ADD", FIGURES).mark(Mark::TimesFloor(1.3)),
            Line::new("a longer case", Figures { incumbent: None, ..FIGURES }),
        ];
        let text = render(&lines, false);
        let starts = text.lines().filter(|line| !line.starts_with('-')).map(|line| {
            let before = line.find(['p', '2']).expect("podwire's column");
            line[..before].chars().count()
        });
        assert_eq!(starts.collect::<std::collections::BTreeSet<_>>().len(), 1, "{text}");
        let markdown = render(&lines, true);
        assert!(markdown.lines().all(|line| line.matches('|').count() == 8), "{markdown}");
    }
}
