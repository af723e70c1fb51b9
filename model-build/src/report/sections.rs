//! The page: a head, and an article for each artifact.

use super::html::{Cell, Html, Table};
use super::plot::{self, Bar, Group, Series, Words};
use super::{Checked, Entry, Page, count, decibels, number, percent, shown_as, size};
use crate::verify::{Cost, Costs, Layer, Layers, METRICS, OutputMetrics, snr};

const STYLE: &str = include_str!("style.css");

/// How many of the layers that add the most error are drawn as bars.
const WORST: usize = 12;

/// The page as HTML. The same data gives the same bytes.
pub fn html(page: &Page) -> String {
    let mut h = Html::default();
    h.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    h.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    h.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    h.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    h.text(&page.title).raw(" · model-build</title>\n<style>\n").raw(STYLE);
    h.raw("</style></head>\n<body>\n<header><h1>")
        .text(&page.title)
        .raw("</h1>\n<p class=\"soft\">");
    h.text(&summary(page)).raw("</p>\n");
    if page.entries.len() > 1 {
        h.raw("<nav aria-label=\"Artifacts\"><ul>");
        for (i, entry) in page.entries.iter().enumerate() {
            h.raw("<li><a href=\"#").text(&id(i)).raw("\">").text(&entry.name).raw("</a></li>");
        }
        h.raw("</ul></nav>\n");
    }
    h.raw("</header>\n<main>\n");
    for (i, entry) in page.entries.iter().enumerate() {
        h.part(article(&id(i), entry));
    }
    h.raw("</main>\n<footer><p>model-build ");
    h.text(env!("CARGO_PKG_VERSION")).raw("</p></footer>\n</body></html>\n");
    h.finish()
}

fn id(i: usize) -> String {
    format!("artifact-{}", i + 1)
}

fn summary(page: &Page) -> String {
    let missed = page.entries.iter().filter_map(|e| e.accuracy.as_ref());
    let missed = missed.filter(|a| a.verdict.is_err()).count();
    let all = count(page.entries.len() as u64, "artifact");
    match missed {
        0 => all,
        n => format!("{all}, {n} below a bound of the accuracy check"),
    }
}

fn article(id: &str, entry: &Entry) -> Html {
    let mut h = Html::default();
    h.raw("<article id=\"")
        .text(id)
        .raw("\" aria-labelledby=\"")
        .text(id)
        .raw("-name\">\n<h2 id=\"");
    h.text(id).raw("-name\">").text(&entry.name).raw("</h2>\n");
    if let Some(checked) = &entry.accuracy {
        h.part(verdict(checked));
    }
    h.part(facts(entry));
    if let Some(checked) = &entry.accuracy {
        h.part(accuracy(checked));
    }
    if let Some(found) = &entry.layers {
        h.part(layers(id, found));
    }
    h.part(sizes(id, entry));
    if let Some(found) = &entry.costs {
        h.part(costs(id, found));
    }
    if !entry.histograms.is_empty() {
        h.part(calibration(id, entry));
    }
    h.part(making(entry)).raw("</article>\n");
    h
}

fn verdict(checked: &Checked) -> Html {
    let mut h = Html::default();
    let bounded = METRICS.iter().filter(|m| (m.bound)(&checked.bounds).is_some()).count();
    let (line, why) = match &checked.verdict {
        Ok(warnings) if bounded == 0 => {
            h.raw("<p class=\"verdict\">");
            ("Measured; no bound is set", warnings)
        }
        Ok(warnings) => {
            h.raw("<p class=\"verdict pass\">");
            ("✓ Every bound holds", warnings)
        }
        Err(why) => {
            h.raw("<p class=\"verdict fail\">");
            ("✗ A bound is missed", why)
        }
    };
    h.text(line).raw("</p>\n");
    if !why.is_empty() {
        h.raw("<ul class=\"why\">");
        why.iter().for_each(|line| {
            h.element("li", line);
        });
        h.raw("</ul>\n");
    }
    h
}

/// The numbers to see first.
fn facts(entry: &Entry) -> Html {
    let mut facts: Vec<(&str, String)> = Vec::new();
    let bytes: u64 = entry.record.files.iter().map(|f| f.len).sum();
    facts.push(("Size", size(bytes)));
    if let Some(sizes) = &entry.sizes {
        let (before, after) =
            sizes.types.iter().fold((0, 0), |(b, a), t| (b + t.before, a + t.after));
        if before > 0 {
            facts.push(("Tensors, of the source's bytes", percent(ratio(after, before))));
        }
    }
    if let Some(checked) = &entry.accuracy {
        let outputs = &checked.measured.outputs;
        let worst = outputs.iter().map(|o| o.cosine).reduce(f64::min);
        facts.extend(worst.map(|worst| ("Worst cosine", format!("{worst:.6}"))));
        let snr = outputs.iter().filter_map(OutputMetrics::snr).reduce(f64::min);
        facts.extend(snr.map(|snr| ("Worst signal to noise", decibels(snr))));
    }
    if let Some(costs) = &entry.costs {
        facts.push(("Median latency", format!("{} ms", number(costs.artifact.median))));
    }
    if entry.record.info.parameters > 0 {
        facts.push(("Parameters", grouped(entry.record.info.parameters)));
    }
    let mut h = Html::default();
    h.raw("<dl class=\"facts\">");
    for (name, value) in facts {
        h.raw("<div>").element("dt", name).element("dd", &value).raw("</div>");
    }
    h.raw("</dl>\n");
    h
}

/// A count with its digits in groups of three.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[allow(clippy::cast_precision_loss)] // for display
fn ratio(part: u64, of: u64) -> f64 {
    part as f64 / of as f64
}

fn accuracy(checked: &Checked) -> Html {
    let measured = &checked.measured;
    let mut h = Html::default();
    h.raw("<section><h3>Accuracy</h3>\n<p class=\"soft\">Against the same source at full precision, on ");
    h.text(&format!("{}, in {} ({}).", measured.inputs, measured.runner, measured.level));
    h.raw("</p>\n");
    for output in &measured.outputs {
        let caption = format!("Output {}, {}", output.name, count(output.elements, "element"));
        let mut table = Table::new(&caption, ["Measure", "Measured", "Bound"]);
        for metric in &METRICS {
            let bound = (metric.bound)(&checked.bounds);
            let value = (metric.value)(output).filter(|_| output.compared > 0);
            if value.is_none() && bound.is_none() {
                continue;
            }
            let sign = if metric.least { "≥" } else { "≤" };
            table.row(vec![
                Cell::Named(metric.name.to_owned(), metric.about.to_owned()),
                Cell::Number(value.map_or_else(|| "–".to_owned(), |v| shown_as(metric, v))),
                match metric.holds(output, &checked.bounds) {
                    Some(holds) => Cell::Verdict(
                        holds,
                        bound.map(|b| format!("{sign} {b}")).unwrap_or_default(),
                    ),
                    None => Cell::Text(bound.map_or_else(String::new, |b| format!("{sign} {b}"))),
                },
            ]);
        }
        h.part(table.html());
        let mut notes = vec![format!(
            "Worst row: {}. Greatest difference: {}.",
            output.cosine_at, output.max_abs_at
        )];
        if let Some(a) = output.accuracy {
            notes.push(format!(
                "Of {} the reference gets {} right, the artifact {}.",
                count(a.rows, "labelled row"),
                percent(a.reference),
                percent(a.artifact)
            ));
        }
        if output.compared < output.elements {
            notes.push(format!("{} elements are not finite.", output.elements - output.compared));
        }
        if output.compared > 0 {
            h.element("p class=\"soft\"", &notes.join(" "));
        }
    }
    h.raw("</section>\n");
    h
}

fn layers(id: &str, found: &Layers) -> Html {
    let mut h = Html::default();
    let worst = found.worst();
    h.raw("<section><h3>Error by layer</h3>\n<p class=\"soft\">");
    h.text(&format!(
        "{} that the reference and the artifact both compute, compared on {}, in {} ({}). The error of a \
         value is the length of the difference over the length of the reference. Blame is the part that \
         its own layer adds: the error of the artifact’s layer when it is fed with the reference’s \
         values. {} to blame.",
        count(found.layers.len() as u64, "value"),
        found.inputs,
        found.runner,
        found.level,
        match worst.len() {
            0 => "None is".to_owned(),
            1 => "1 is".to_owned(),
            n => format!("{n} are"),
        }
    ));
    h.raw("</p>\n");
    if !found.other_shapes.is_empty() {
        let text = format!("Left out, of another shape: {}", found.other_shapes.join(", "));
        h.element("p class=\"soft\"", &text);
    }
    h.part(along_the_graph(id, found));
    if !worst.is_empty() {
        h.part(most_to_blame(id, &worst));
    }
    h.raw("<details><summary>All values, in the order of the graph</summary>\n");
    h.part(layer_table(found)).raw("</details></section>\n");
    h
}

fn along_the_graph(id: &str, found: &Layers) -> Html {
    let series = [
        Series {
            class: "error",
            radius: 2.2,
            values: found.layers.iter().map(|l| l.relative).collect(),
            names: None,
        },
        Series {
            class: "blame",
            radius: 3.0,
            values: found.layers.iter().map(|l| l.blame).collect(),
            names: Some(found.layers.iter().map(|l| l.name.as_str()).collect()),
        },
    ];
    let worst = found.layers.iter().filter_map(|l| l.relative).reduce(f64::max).unwrap_or(0.0);
    let words = Words {
        id: &format!("{id}-along"),
        title: "Relative error along the graph",
        about: &format!(
            "A dot per value in the order of the graph; the greatest error is {}.",
            percent(worst)
        ),
    };
    let legend =
        [("error", "error, inherited and own"), ("blame", "blame: own error; 0 is not drawn")];
    plot::dots(&words, &legend, "logarithmic scale", percent, &series).unwrap_or_default()
}

fn most_to_blame(id: &str, worst: &[&Layer]) -> Html {
    let shown = worst.iter().filter_map(|l| Some((l, l.blame?))).take(WORST);
    let groups: Vec<Group> = shown
        .map(|(layer, blame)| Group {
            label: layer.name.clone(),
            bars: vec![
                Bar { class: "blame", value: blame, text: percent(blame), whisker: None },
                Bar {
                    class: "error",
                    value: layer.relative.unwrap_or(0.0),
                    text: layer.relative.map_or_else(String::new, percent),
                    whisker: None,
                },
            ],
        })
        .collect();
    let words = Words {
        id: &format!("{id}-blame"),
        title: "The layers that add the most error",
        about: &groups.first().map(|g| format!("{} adds the most.", g.label)).unwrap_or_default(),
    };
    let legend = [("blame", "blame: own error"), ("error", "error, inherited and own")];
    plot::bars(&words, &legend, "relative error, linear from 0", percent, &groups)
}

fn layer_table(found: &Layers) -> Html {
    let titles = [
        "Value",
        "Operator",
        "In the artifact",
        "Blame",
        "Error",
        "SNR",
        "Cosine",
        "Greatest difference",
    ];
    let mut table = Table::new("Every value", titles);
    let error = |e: Option<f64>| e.map_or_else(|| "–".to_owned(), number);
    for layer in &found.layers {
        table.row(vec![
            Cell::Text(layer.name.clone()),
            Cell::Text(layer.op.clone()),
            Cell::Text(if layer.becomes == [layer.op.as_str()] {
                "the same".to_owned()
            } else {
                layer.becomes.join(", ")
            }),
            Cell::Number(error(layer.blame)),
            Cell::Number(error(layer.relative)),
            Cell::Number(layer.relative.map_or_else(|| "–".to_owned(), |e| decibels(snr(e)))),
            Cell::Number(format!("{:.6}", layer.cosine)),
            Cell::Number(number(layer.max_abs)),
        ]);
    }
    table.html()
}

fn sizes(id: &str, entry: &Entry) -> Html {
    let mut h = Html::default();
    let Some(sizes) = &entry.sizes else { return h };
    h.raw("<section><h3>Size</h3>\n");
    let bar =
        |class, bytes| Bar { class, value: as_float(bytes), text: size(bytes), whisker: None };
    let groups: Vec<Group> = sizes
        .groups
        .iter()
        .map(|g| Group {
            label: g.name.clone(),
            bars: vec![bar("reference", g.before), bar("artifact", g.after)],
        })
        .collect();
    let total = |f: fn(&super::Size) -> u64| sizes.types.iter().map(f).fold(0, u64::saturating_add);
    let (before, after) = (total(|t| t.before), total(|t| t.after));
    let words = Words {
        id: &format!("{id}-size"),
        title: "Bytes of tensors, before and after",
        about: &format!("{} in the source, {} in the artifact.", size(before), size(after)),
    };
    let legend = [("reference", "source"), ("artifact", "artifact")];
    h.part(plot::bars(&words, &legend, "bytes, linear from 0", bytes, &groups));
    let mut table = Table::new("Bytes by element type", ["Type", "Source", "Artifact"]);
    for one in &sizes.types {
        table.row(vec![
            Cell::Text(one.name.clone()),
            Cell::Number(size(one.before)),
            Cell::Number(size(one.after)),
        ]);
    }
    table.row(vec![
        Cell::Text("all".to_owned()),
        Cell::Number(size(before)),
        Cell::Number(size(after)),
    ]);
    h.part(table.html()).raw("</section>\n");
    h
}

#[allow(clippy::cast_precision_loss)] // as a length on a screen
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

/// Bytes at a tick, which are whole.
fn bytes(value: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // ticks are not negative
    let text = size(value as u64);
    text.replace(".0 ", " ")
}

fn costs(id: &str, costs: &Costs) -> Html {
    let mut h = Html::default();
    h.raw("<section><h3>Latency and memory</h3>\n<p class=\"soft\">");
    h.text(&format!(
        "{} of each in turn, after warming up, on {}, {}, in {} ({}). Times and memory are of the \
         machine that measured them.",
        count(costs.runs, "run"),
        costs.shapes.join(", "),
        count(costs.threads, "thread"),
        costs.runner,
        costs.level
    ));
    h.raw("</p>\n");
    let sides = [("reference", &costs.reference), ("artifact", &costs.artifact)];
    let groups: Vec<Group> = sides
        .iter()
        .map(|(name, cost)| Group {
            label: (*name).to_owned(),
            bars: vec![Bar {
                class: name,
                value: cost.median,
                text: format!("{} ms", number(cost.median)),
                whisker: Some(cost.p95),
            }],
        })
        .collect();
    let words = Words {
        id: &format!("{id}-latency"),
        title: "Latency of a run",
        about: &format!(
            "Median {} ms for the reference, {} ms for the artifact.",
            number(costs.reference.median),
            number(costs.artifact.median)
        ),
    };
    let ms = |v: f64| if v == 0.0 { "0 ms".to_owned() } else { format!("{v} ms") };
    let legend = [("reference", "reference"), ("artifact", "artifact")];
    h.part(plot::bars(
        &words,
        &legend,
        "median, with a line to the 95th percentile; milliseconds, linear from 0",
        ms,
        &groups,
    ));
    let peaks = sides.iter().filter_map(|(name, cost)| Some((*name, cost.peak_bytes?)));
    let groups: Vec<Group> = peaks
        .map(|(name, peak)| Group {
            label: name.to_owned(),
            bars: vec![Bar { class: name, value: as_float(peak), text: size(peak), whisker: None }],
        })
        .collect();
    if !groups.is_empty() {
        let words = Words {
            id: &format!("{id}-memory"),
            title: "Peak memory of loading and running",
            about: "What each model adds to the peak of a process of its own.",
        };
        h.part(plot::bars(&words, &legend, "bytes, linear from 0", bytes, &groups));
    }
    let mut table = Table::new("Latency and memory", ["Measure", "Reference", "Artifact"]);
    let times: [(&str, fn(&Cost) -> f64); 4] = [
        ("Median", |c| c.median),
        ("95th percentile", |c| c.p95),
        ("Fastest run", |c| c.fastest),
        ("Loading", |c| c.load),
    ];
    let both = |text: &dyn Fn(&Cost) -> String| {
        [&costs.reference, &costs.artifact].map(|cost| Cell::Number(text(cost)))
    };
    for (name, time) in times {
        let cells = both(&|cost| format!("{} ms", number(time(cost))));
        table.row(std::iter::once(Cell::Text(name.to_owned())).chain(cells).collect());
    }
    let cells = both(&|cost| cost.peak_bytes.map_or_else(|| "unknown".to_owned(), size));
    table.row(std::iter::once(Cell::Text("Peak memory".to_owned())).chain(cells).collect());
    h.part(table.html()).raw("</section>\n");
    h
}

fn calibration(id: &str, entry: &Entry) -> Html {
    let mut h = Html::default();
    h.raw("<section><h3>Calibration</h3>\n");
    for (i, data) in entry.histograms.iter().enumerate() {
        let seen = data.counts.iter().fold(0u64, |a, b| a.saturating_add(*b));
        let range = match data.range {
            Some((low, high)) => format!(" Chosen range {} to {}.", number(low), number(high)),
            None => String::new(),
        };
        let words = Words {
            id: &format!("{id}-histogram-{}", i + 1),
            title: &data.name,
            about: &format!("{} counted.{range}", count(seen, "value")),
        };
        h.part(plot::histogram(&words, number, data).unwrap_or_default());
    }
    h.raw("</section>\n");
    h
}

/// Everything that decides the artifact's bytes, and what came out.
fn making(entry: &Entry) -> Html {
    let mut h = Html::default();
    h.raw("<section><h3>How it was made</h3>\n");
    let mut stages = Table::new("Stages", ["Stage", "Revision and parameters"]);
    for (name, canonical) in &entry.stages {
        stages.row(vec![Cell::Text(name.clone()), Cell::Text(canonical.clone())]);
    }
    h.part(stages.html());
    let mut files = Table::new("Files", ["File", "BLAKE3"]);
    for file in &entry.record.files {
        files.row(vec![
            Cell::Named(file.name.clone(), size(file.len)),
            Cell::Code(file.digest.to_string()),
        ]);
    }
    h.part(files.html());
    let info = &entry.record.info;
    if !info.inputs.is_empty() || !info.outputs.is_empty() {
        let mut ports = Table::new("Inputs and outputs", ["Name", "Kind", "Type"]);
        for (kind, list) in [("input", &info.inputs), ("output", &info.outputs)] {
            for port in list {
                ports.row(vec![
                    Cell::Text(port.name.clone()),
                    Cell::Text(kind.to_owned()),
                    Cell::Text(format!("{}[{}]", port.dtype, port.dims.join(", "))),
                ]);
            }
        }
        h.part(ports.html());
    }
    h.raw("<details><summary>Ingredients of the keys, and facts</summary>\n");
    h.part(pairs("Facts of the artifact", "Fact", &info.facts));
    h.part(keyed("Key of the artifact", &entry.key, &entry.record.ingredients));
    if let Some(checked) = &entry.accuracy {
        h.part(keyed("Key of the accuracy check", &checked.key, &checked.ingredients));
    }
    h.raw("</details></section>\n");
    h
}

fn keyed(caption: &str, key: &str, ingredients: &[(String, String)]) -> Html {
    let mut all = ingredients.to_vec();
    all.push(("key of all these".to_owned(), key.to_owned()));
    pairs(caption, "Ingredient", &all)
}

fn pairs(caption: &str, title: &str, pairs: &[(String, String)]) -> Html {
    if pairs.is_empty() {
        return Html::default();
    }
    let mut table = Table::new(caption, [title, "Value"]);
    for (name, value) in pairs {
        table.row(vec![Cell::Text(name.clone()), Cell::Code(value.clone())]);
    }
    table.html()
}
