//! Shapes as SVG. Knows nothing of what they stand for.

use std::fmt::Write as _;

/// What is drawn so far.
#[derive(Default)]
pub(super) struct Canvas(String);

/// Of words.
#[derive(Clone, Copy)]
pub(super) enum Face {
    Plain,
    Bold,
    Small,
    /// For addresses, which are compared.
    Mono,
}

/// Which side of words their place is.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Face {
    const fn class(self) -> &'static str {
        match self {
            Self::Plain => "p",
            Self::Bold => "b",
            Self::Small => "s",
            Self::Mono => "m",
        }
    }
}

impl Anchor {
    const fn value(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

const STYLE: &str = "text{font-family:Inter,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;font-size:12.5px}\
                     .b{font-weight:600;font-size:13.5px}.s{font-size:11px}\
                     .m{font-family:'JetBrains Mono','DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:11px}";

impl Canvas {
    pub(super) fn rect(
        &mut self,
        at: (u32, u32),
        size: (u32, u32),
        radius: u32,
        fill: &str,
        stroke: Option<&str>,
    ) {
        let stroke = stroke.unwrap_or("none");
        self.add(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{radius}\" fill=\"{fill}\" stroke=\"{stroke}\"/>",
            at.0, at.1, size.0, size.1
        ));
    }

    pub(super) fn line(&mut self, from: (u32, u32), to: (u32, u32), width: u32, colour: &str, dashed: bool) {
        let dashes = if dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        self.add(format_args!(
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes}/>",
            from.0, from.1, to.0, to.1
        ));
    }

    pub(super) fn text(&mut self, at: (u32, u32), face: Face, colour: &str, anchor: Anchor, words: &str) {
        if words.is_empty() {
            return;
        }
        let words = escaped(words);
        self.add(format_args!(
            "<text x=\"{}\" y=\"{}\" class=\"{}\" fill=\"{colour}\" text-anchor=\"{}\">{words}</text>",
            at.0,
            at.1,
            face.class(),
            anchor.value()
        ));
    }

    /// Words on a line, with a ground of their own.
    pub(super) fn label(&mut self, (x, y): (u32, u32), colour: &str, words: &str) {
        let width = 8 * words.chars().count() as u32 + 12;
        self.rect((x.saturating_sub(width / 2), y - 9), (width, 18), 9, "#fff6e9", Some(colour));
        self.text((x, y + 4), Face::Small, "#7a4708", Anchor::Middle, words);
    }

    /// What a viewer shows of whatever is drawn in between, under the pointer.
    pub(super) fn titled(&mut self, title: &str, draw: impl FnOnce(&mut Self)) {
        self.add(format_args!("<g><title>{}</title>", escaped(title)));
        draw(self);
        self.add(format_args!("</g>"));
    }

    pub(super) fn finish(self, width: u32, height: u32, title: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" \
             height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n\
             <style>{STYLE}</style>\n{}</svg>\n",
            escaped(title),
            self.0
        )
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing into a string does not fail.
        let _ = writeln!(self.0, "{element}");
    }
}

/// What XML would take for its own, and what it does not allow at all.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
