//! Writes HTML in which text cannot become markup: markup comes from this program's own literals,
//! everything else is escaped.

/// A document, or a part of one, in the making.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of this program.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, or the value of an attribute between double quotes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // What a reader cannot see, or what turns the direction of the text around it.
                c if (c.is_control() && c != '\n') || is_format(c) => {
                    self.0.extend(c.escape_unicode());
                }
                c => self.0.push(c),
            }
        }
        self
    }

    /// A number as CSS and SVG write it, with at most three decimals.
    pub(super) fn number(&mut self, value: f64) -> &mut Self {
        let text = format!("{:.3}", if value.is_finite() { value } else { 0.0 });
        let text = text.trim_end_matches('0').trim_end_matches('.');
        self.0.push_str(if text == "-0" { "0" } else { text });
        self
    }

    /// A part.
    #[allow(clippy::needless_pass_by_value)] // a part is used once
    pub(super) fn part(&mut self, part: Self) -> &mut Self {
        self.0.push_str(&part.0);
        self
    }

    /// An element with text in it; `tag` may carry attributes: `td class="n"`.
    pub(super) fn element(&mut self, tag: &'static str, text: &str) -> &mut Self {
        let name = tag.split(' ').next().unwrap_or(tag);
        self.raw("<").raw(tag).raw(">").text(text).raw("</").raw(name).raw(">")
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Characters without a width of their own: of direction, joining, and marks of byte order.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A table with a caption for those who hear it, in a region that scrolls when it is too wide.
pub(super) struct Table {
    caption: String,
    titles: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// One cell.
pub(super) enum Cell {
    /// Text, to the left. The first text of a row is its title.
    Text(String),
    /// A number, to the right.
    Number(String),
    /// A digest or other text for machines.
    Code(String),
    /// The title of a row, and what it means.
    Named(String, String),
    /// Whether a bound holds, and the bound.
    Verdict(bool, String),
}

impl Table {
    pub(super) fn new<const N: usize>(caption: &str, titles: [&str; N]) -> Self {
        Self {
            caption: caption.to_owned(),
            titles: titles.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(super) fn html(self) -> Html {
        let mut h = Html::default();
        h.raw("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"");
        h.text(&self.caption).raw("\"><table><caption>").text(&self.caption);
        h.raw("</caption><thead><tr>");
        let first = self.rows.first();
        for (i, title) in self.titles.iter().enumerate() {
            let number = first.and_then(|row| row.get(i)).is_some_and(Cell::is_number);
            h.element(
                if number { "th scope=\"col\" class=\"n\"" } else { "th scope=\"col\"" },
                title,
            );
        }
        h.raw("</tr></thead><tbody>\n");
        for row in self.rows {
            h.raw("<tr>");
            for (i, cell) in row.into_iter().enumerate() {
                match cell {
                    Cell::Text(text) if i == 0 => h.element("th scope=\"row\"", &text),
                    Cell::Text(text) => h.element("td", &text),
                    Cell::Number(text) => h.element("td class=\"n\"", &text),
                    Cell::Code(text) => h.element("td class=\"code\"", &text),
                    Cell::Named(name, about) => {
                        h.raw("<th scope=\"row\">").text(&name).raw(" ");
                        h.element("small", &about).raw("</th>")
                    }
                    Cell::Verdict(holds, bound) => {
                        h.raw(if holds { "<td class=\"pass\">" } else { "<td class=\"fail\">" });
                        h.text(&bound).raw(" ");
                        h.element("small", if holds { "✓ holds" } else { "✗ missed" }).raw("</td>")
                    }
                };
            }
            h.raw("</tr>\n");
        }
        h.raw("</tbody></table></div>\n");
        h
    }
}

impl Cell {
    fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup_nor_hide() {
        let mut h = Html::default();
        h.element("td title=\"x\"", "<script>alert('1')</script>&\"\u{202e}\u{0}é");
        assert_eq!(
            h.finish(),
            "<td title=\"x\">&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\\u{202e}\\u{0}é</td>"
        );
    }

    #[test]
    fn numbers_have_few_digits_and_are_never_what_css_cannot_read() {
        let number = |v| {
            let mut h = Html::default();
            h.number(v);
            h.finish()
        };
        assert_eq!(
            [0.0, -0.0001, 1.5, 33.333_333, f64::NAN, 100.0].map(number),
            ["0", "0", "1.5", "33.333", "0", "100"]
        );
    }
}
