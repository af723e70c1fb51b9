//! Plots as inline SVG. Sideways everything is in percent and upright in pixels, so that a plot fills
//! the width it gets and its text keeps its size on a phone.

use super::html::Html;
use super::scale::{Linear, Log};

/// What a plot says in words.
pub(super) struct Words<'a> {
    /// Unique in the document.
    pub(super) id: &'a str,
    /// What is shown.
    pub(super) title: &'a str,
    /// What it shows, for those who do not see it.
    pub(super) about: &'a str,
}

/// What colours mean: a class of the style sheet and a word each.
pub(super) type Legend<'a> = &'a [(&'static str, &'a str)];

/// One bar.
pub(super) struct Bar {
    /// A class of the style sheet.
    pub(super) class: &'static str,
    pub(super) value: f64,
    /// The value for people.
    pub(super) text: String,
    /// The end of a thin line that goes on from the bar.
    pub(super) whisker: Option<f64>,
}

/// Bars that belong together, under one label.
pub(super) struct Group {
    pub(super) label: String,
    pub(super) bars: Vec<Bar>,
}

/// Percent of the width that the longest bar takes; the rest is for its number.
const REACH: f64 = 78.0;
const LABEL: f64 = 18.0;
const BAR: f64 = 14.0;
const GAP: f64 = 10.0;

/// Sideways bars from 0 on one linear scale.
pub(super) fn bars(
    words: &Words<'_>,
    legend: Legend<'_>,
    axis: &str,
    tick: fn(f64) -> String,
    groups: &[Group],
) -> Html {
    let values = groups.iter().flat_map(|g| &g.bars).flat_map(|b| [Some(b.value), b.whisker]);
    let scale = Linear::to(values.flatten().fold(0.0, f64::max));
    let height = |g: &Group| LABEL + g.bars.iter().map(|_| BAR + 2.0).sum::<f64>() + GAP;
    let bottom: f64 = groups.iter().map(height).sum();
    let mut svg = Html::default();
    for value in &scale.ticks {
        let x = scale.at(*value) * REACH;
        line(&mut svg, "grid", (x, 0.0), (x, bottom));
        let anchor = if *value == 0.0 { "start" } else { "middle" };
        label(&mut svg, "tick", anchor, (x, bottom + 16.0), &tick(*value));
    }
    let mut y = 0.0;
    for group in groups {
        label(&mut svg, "name", "start", (0.0, y + 13.0), &shortened(&group.label));
        let mut top = y + LABEL;
        for bar in &group.bars {
            draw_bar(&mut svg, bar, &scale, top);
            top += BAR + 2.0;
        }
        y += height(group);
    }
    figure(words, legend, bottom + 24.0, svg, axis)
}

fn draw_bar(svg: &mut Html, bar: &Bar, scale: &Linear, top: f64) {
    let x = scale.at(bar.value) * REACH;
    svg.raw("<rect class=\"").raw(bar.class).raw("\" x=\"0\" y=\"").number(top);
    svg.raw("\" width=\"").number(x).raw("%\" height=\"").number(BAR).raw("\"/>\n");
    let mut end = x;
    if let Some(whisker) = bar.whisker {
        end = scale.at(whisker) * REACH;
        let middle = top + BAR / 2.0;
        line(svg, "whisker", (x, middle), (end, middle));
        line(svg, "whisker", (end, top + 2.0), (end, top + BAR - 2.0));
    }
    svg.raw("<text class=\"value\" dx=\"6\" x=\"").number(end).raw("%\" y=\"");
    svg.number(top + BAR - 3.0).raw("\">").text(&bar.text).raw("</text>\n");
}

/// Dots of one kind: values from left to right, `None` where there is nothing to show.
pub(super) struct Series<'a> {
    /// A class of the style sheet.
    pub(super) class: &'static str,
    pub(super) radius: f64,
    pub(super) values: Vec<Option<f64>>,
    /// What each dot is, shown where a pointer rests on it.
    pub(super) names: Option<Vec<&'a str>>,
}

/// Most dots of a series: more could not be told apart.
const MOST_DOTS: usize = 1500;

/// Dots on a logarithmic scale; nothing when there is no positive value. Where there are more
/// values than can be told apart, a dot is the greatest of its neighbours.
pub(super) fn dots(
    words: &Words<'_>,
    legend: Legend<'_>,
    axis: &str,
    tick: fn(f64) -> String,
    series: &[Series<'_>],
) -> Option<Html> {
    const TOP: f64 = 18.0;
    const HEIGHT: f64 = 220.0;
    let scale = Log::of(series.iter().flat_map(|s| s.values.iter().flatten().copied()))?;
    let y = |value: f64| TOP + (1.0 - scale.at(value)) * HEIGHT;
    let mut svg = Html::default();
    for value in scale.ticks() {
        line(&mut svg, "grid", (0.0, y(value)), (100.0, y(value)));
    }
    for one in series {
        svg.raw("<g class=\"").raw(one.class).raw("\">\n");
        let step = one.values.len().div_ceil(MOST_DOTS).max(1);
        let places = one.values.len().div_ceil(step);
        for (i, values) in one.values.chunks(step).enumerate() {
            let shown = values.iter().enumerate().filter_map(|(j, v)| Some((j, (*v)?)));
            let Some((j, value)) =
                shown.filter(|(_, v)| *v > 0.0).max_by(|a, b| a.1.total_cmp(&b.1))
            else {
                continue;
            };
            svg.raw("<circle r=\"").number(one.radius).raw("\" cx=\"");
            svg.number(middle(i, places)).raw("%\" cy=\"").number(y(value)).raw("\"");
            match one.names.as_ref().and_then(|names| names.get(i * step + j)) {
                Some(name) => {
                    let text = format!("{name}: {}", tick(value));
                    svg.raw("><title>").text(&text).raw("</title></circle>\n")
                }
                None => svg.raw("/>\n"),
            };
        }
        svg.raw("</g>\n");
    }
    for value in scale.ticks() {
        label(&mut svg, "tick over", "start", (0.0, y(value) - 4.0), &tick(value));
    }
    let below = TOP + HEIGHT + 18.0;
    label(&mut svg, "tick", "start", (0.0, below), "first value");
    label(&mut svg, "tick", "end", (100.0, below), "last value");
    Some(figure(words, legend, below + 8.0, svg, axis))
}

/// The middle of place `i` of `n`, in percent.
#[allow(clippy::cast_precision_loss)] // places of dots and bins
fn middle(i: usize, n: usize) -> f64 {
    (i as f64 + 0.5) / (n.max(1) as f64) * 100.0
}

/// How often values fell between edges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// What was counted, as the name of a value of the graph.
    pub name: String,
    /// Ascending, one more than there are counts.
    pub edges: Vec<f64>,
    /// How many values fell between an edge and the next.
    pub counts: Vec<u64>,
    /// The range that was chosen for quantization.
    pub range: Option<(f64, f64)>,
}

/// Most bars of a histogram; neighbours are put together.
const MOST_BINS: usize = 96;

impl Histogram {
    /// Bins with their counts per width; nothing when edges and counts do not fit each other.
    #[allow(clippy::cast_precision_loss)] // counts, as heights
    fn densities(&self) -> Option<Vec<(f64, f64, f64)>> {
        let fits = self.edges.len() == self.counts.len().checked_add(1)?
            && !self.counts.is_empty()
            && self.edges.iter().all(|e| e.is_finite())
            && self.edges.is_sorted_by(|a, b| a < b);
        if !fits {
            return None;
        }
        let step = self.counts.len().div_ceil(MOST_BINS).max(1);
        let bins = self.counts.chunks(step).enumerate().filter_map(|(i, counts)| {
            let from = *self.edges.get(i * step)?;
            let to = *self.edges.get(i * step + counts.len())?;
            let count: f64 = counts.iter().map(|n| *n as f64).sum();
            Some((from, to, count / (to - from)))
        });
        Some(bins.collect())
    }
}

/// A histogram with the chosen range; nothing when its edges and counts do not fit each other.
pub(super) fn histogram(
    words: &Words<'_>,
    tick: fn(f64) -> String,
    data: &Histogram,
) -> Option<Html> {
    const HEIGHT: f64 = 120.0;
    const TOP: f64 = 4.0;
    let bins = data.densities()?;
    let (first, last) = (data.edges.first().copied()?, data.edges.last().copied()?);
    let (low, high) = data
        .range
        .filter(|(a, b)| a.is_finite() && b.is_finite())
        .map_or((first, last), |(a, b)| (first.min(a), last.max(b)));
    let x = |value: f64| ((value - low) / (high - low) * 100.0).clamp(0.0, 100.0);
    let most = bins.iter().map(|b| b.2).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = Html::default();
    for (from, to, density) in bins.iter().filter(|b| b.2 > 0.0) {
        let height = density / most * HEIGHT;
        svg.raw("<rect class=\"artifact\" x=\"").number(x(*from)).raw("%\" y=\"");
        svg.number(TOP + HEIGHT - height).raw("\" width=\"").number(x(*to) - x(*from));
        svg.raw("%\" height=\"").number(height).raw("\"/>\n");
    }
    line(&mut svg, "base", (0.0, TOP + HEIGHT), (100.0, TOP + HEIGHT));
    if let Some((from, to)) = data.range.filter(|(a, b)| a.is_finite() && b.is_finite()) {
        for value in [from, to] {
            line(&mut svg, "range", (x(value), 0.0), (x(value), TOP + HEIGHT));
        }
    }
    let below = TOP + HEIGHT + 16.0;
    label(&mut svg, "tick", "start", (0.0, below), &tick(low));
    if low < 0.0 && high > 0.0 && (15.0..85.0).contains(&x(0.0)) {
        label(&mut svg, "tick", "middle", (x(0.0), below), "0");
    }
    label(&mut svg, "tick", "end", (100.0, below), &tick(high));
    let legend: Legend<'_> = match data.range {
        Some(_) => &[("artifact", "values, linear from 0"), ("range", "chosen range")],
        None => &[("artifact", "values, linear from 0")],
    };
    Some(figure(words, legend, below + 8.0, svg, "value"))
}

fn line(svg: &mut Html, class: &'static str, from: (f64, f64), to: (f64, f64)) {
    svg.raw("<line class=\"").raw(class).raw("\" x1=\"").number(from.0).raw("%\" y1=\"");
    svg.number(from.1).raw("\" x2=\"").number(to.0).raw("%\" y2=\"").number(to.1).raw("\"/>\n");
}

fn label(svg: &mut Html, class: &'static str, anchor: &'static str, at: (f64, f64), text: &str) {
    svg.raw("<text class=\"").raw(class).raw("\" text-anchor=\"").raw(anchor).raw("\" x=\"");
    svg.number(at.0).raw("%\" y=\"").number(at.1).raw("\">").text(text).raw("</text>\n");
}

/// The end of a long name, which tells it from others, from where a part of it begins.
fn shortened(name: &str) -> String {
    const MOST: usize = 42;
    let length = name.chars().count();
    if length <= MOST {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length - MOST + 1).collect();
    let begins = end.find(['.', '/']).map_or(0, |at| at + 1);
    let end = end.get(begins..).filter(|rest| rest.len() * 2 > end.len()).unwrap_or(&end);
    format!("… {end}")
}

fn figure(words: &Words<'_>, legend: Legend<'_>, height: f64, svg: Html, axis: &str) -> Html {
    let mut h = Html::default();
    h.raw("<figure><figcaption>").text(words.title);
    h.raw("<span class=\"axis\">").text(axis).raw("</span></figcaption>\n<ul class=\"legend\">");
    for (class, text) in legend {
        h.raw("<li><i class=\"").raw(class).raw("\"></i>").text(text).raw("</li>");
    }
    h.raw("</ul>\n<svg role=\"img\" width=\"100%\" height=\"").number(height);
    h.raw("\" aria-labelledby=\"").text(words.id).raw("-t ").text(words.id).raw("-d\">");
    h.raw("<title id=\"").text(words.id).raw("-t\">").text(words.title).raw("</title><desc id=\"");
    h.text(words.id).raw("-d\">").text(words.about).raw("</desc>\n").part(svg);
    h.raw("</svg></figure>\n");
    h
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words<'static> = Words { id: "x", title: "t", about: "a" };

    fn bar(value: f64) -> Group {
        let bar = Bar { class: "artifact", value, text: "n".to_owned(), whisker: None };
        Group { label: "l".to_owned(), bars: vec![bar] }
    }

    #[test]
    fn bars_start_at_zero_and_are_as_long_as_their_values() {
        let svg = bars(&WORDS, &[], "", |v| v.to_string(), &[bar(50.0), bar(100.0)]).finish();
        assert!(svg.contains("x=\"0\" y=\"18\" width=\"39%\""), "{svg}");
        assert!(svg.contains("width=\"78%\""), "{svg}");
        assert!(svg.contains(">0</text>") && svg.contains(">100</text>"), "{svg}");
    }

    #[test]
    fn more_dots_than_can_be_told_apart_become_the_greatest_of_their_neighbours() {
        let values = (0..3000).map(|i| Some(if i == 7 { 1.0 } else { 0.1 })).collect();
        let series = [Series { class: "error", radius: 2.0, values, names: None }];
        let svg = dots(&WORDS, &[], "", |v| v.to_string(), &series).unwrap().finish();
        assert_eq!(svg.matches("<circle").count(), 1500);
        assert_eq!(svg.matches("cy=\"18\"").count(), 1);
        let none = [Series { class: "error", radius: 2.0, values: vec![Some(0.0)], names: None }];
        assert!(dots(&WORDS, &[], "", |v| v.to_string(), &none).is_none());
    }

    #[test]
    fn a_histogram_that_does_not_fit_its_edges_is_not_drawn() {
        let mut data = Histogram {
            name: "h".to_owned(),
            edges: vec![-1.0, 0.0, 2.0],
            counts: vec![4, 4],
            range: Some((-0.5, 1.0)),
        };
        let svg = histogram(&WORDS, |v| v.to_string(), &data).unwrap().finish();
        // The second bin is twice as wide, so half as high.
        assert!(svg.contains("height=\"120\"") && svg.contains("height=\"60\""), "{svg}");
        data.counts.push(1);
        assert!(histogram(&WORDS, |v| v.to_string(), &data).is_none());
        data.edges = vec![0.0, 0.0, f64::NAN, 1.0];
        assert!(histogram(&WORDS, |v| v.to_string(), &data).is_none());
    }
}
