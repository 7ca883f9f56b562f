//! Pages for people: one HTML file each, with its style and its charts inside. They need no
//! network and run no script, which their content security policy also says to the browser.
//!
//! `layout.html` is the skeleton, `parts.html` has what pages share (bars, tables, heat maps),
//! [`chart`] draws SVG. A page is a template that extends the skeleton and a function beside it.

pub(crate) mod chart;
pub(crate) mod profile;
pub(crate) mod report;
pub(crate) mod runs;

use anyhow::Result;
use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::Serialize;

use crate::figures;

/// Fills in the template `name`. Every value is escaped, but what [`html`] says is HTML already.
fn render(name: &str, context: &impl Serialize) -> Result<String> {
    let mut pages = Environment::new();
    pages.add_template("layout.html", include_str!("layout.html"))?;
    pages.add_template("parts.html", include_str!("parts.html"))?;
    pages.add_template("profile.html", include_str!("profile.html"))?;
    pages.add_template("report.html", include_str!("report.html"))?;
    pages.add_template("report.md", include_str!("report.md"))?;
    pages.add_template("runs.html", include_str!("runs.html"))?;
    pages.add_global("style", html(include_str!("style.css").to_string()));
    pages.add_filter("short", figures::short);
    pages.add_filter("count", figures::count);
    pages.add_filter("percent", figures::percent);
    pages.add_filter("code", |text: &str| html(code(text)));
    pages.add_filter("cell", cell);
    Ok(pages.get_template(name)?.render(Serde(context))?)
}

/// Text that is HTML already.
fn html(text: String) -> Value {
    Value::from_safe_string(text)
}

/// What stands in backticks as code, all of it escaped.
fn code(text: &str) -> String {
    let mut out = String::new();
    let pieces: Vec<&str> = text.split('`').collect();
    for (i, piece) in pieces.iter().enumerate() {
        // A backtick that nothing closes is an ordinary character.
        match (i % 2 == 1, i + 1 < pieces.len()) {
            (true, true) => out += &format!("<code>{}</code>", escape(piece)),
            (true, false) => out += &format!("`{}", escape(piece)),
            (false, _) => out += &escape(piece),
        }
    }
    out
}

/// Text in a cell of a Markdown table.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '*' | '[' | ']' => out.extend(['\\', c]),
            '<' => out += "&lt;",
            '&' => out += "&amp;",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_escaped_inside_and_outside() {
        assert_eq!(code("<b> `<script>` is `it"), "&lt;b&gt; <code>&lt;script&gt;</code> is `it");
    }

    #[test]
    fn a_cell_stays_in_its_table() {
        assert_eq!(cell("a|b\n<i> & a_b"), "a\\|b &lt;i> &amp; a_b");
    }

    #[test]
    fn a_heat_map_names_its_rows_and_columns() {
        let mut pages = Environment::new();
        pages.add_template("parts.html", include_str!("parts.html")).unwrap();
        pages.add_filter("count", figures::count);
        let text = "{% import 'parts.html' as parts %}{{ parts.heat('was', 'said', ['a', '<b>'], [[9, 1], [0, 5]], 9) }}";
        pages.add_template("t.html", text).unwrap();
        let out = pages.get_template("t.html").unwrap().render(()).unwrap();
        assert_eq!(out.matches("scope=\"col\"").count(), 3, "{out}");
        assert_eq!(out.matches("scope=\"row\"").count(), 2, "{out}");
        assert!(out.contains("&lt;b&gt;") && !out.contains("<b>"), "{out}");
        assert!(out.contains("--heat: 100%") && out.contains("--heat: 0%"), "{out}");
    }
}
