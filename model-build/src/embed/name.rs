//! Rust identifiers from the names of models, targets and tensors.

/// Words that no identifier may be. Those that raw identifiers allow are written `r#word`.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

/// Words that no raw identifier may be either.
const RESERVED: &[&str] = &["self", "super", "crate", "Self", "_"];

/// A type name: the words of the parts, each with its first letter in upper case.
/// `all-MiniLM-L6-v2`, `int8` → `AllMiniLML6V2Int8`.
pub(super) fn type_name(parts: &[&str]) -> String {
    let words = parts.iter().flat_map(|p| p.split(|c: char| !c.is_ascii_alphanumeric()));
    let mut out = String::new();
    for word in words {
        let mut chars = word.chars();
        out.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(chars.as_str());
    }
    if !out.starts_with(|c: char| c.is_ascii_alphabetic()) {
        out.insert_str(0, "Model");
    }
    if out == "Self" {
        out.push('_');
    }
    out
}

/// One field name per name, in order: characters that identifiers lack become `_`, keywords become
/// raw, and a name that is taken gets a number.
pub(super) fn fields<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for name in names {
        let base = field(name);
        let mut unique = base.clone();
        let mut n = 2;
        while taken.contains(&unique) {
            unique = format!("{base}_{n}");
            n += 1;
        }
        taken.push(unique);
    }
    let raw = |f: String| if KEYWORDS.contains(&f.as_str()) { format!("r#{f}") } else { f };
    taken.into_iter().map(raw).collect()
}

fn field(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    if RESERVED.contains(&out.as_str()) {
        out.push('_');
    }
    out
}

/// Whether the compiler's lint on names would leave a field alone.
pub(super) fn is_snake_case(field: &str) -> bool {
    let word = field.trim_start_matches("r#").trim_matches('_');
    !word.contains("__") && !word.contains(|c: char| c.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_are_upper_camel_case() {
        for (parts, want) in [
            (&["digits"][..], "Digits"),
            (&["digits", "int8"], "DigitsInt8"),
            (&["all-MiniLM-L6-v2", "server_x"], "AllMiniLML6V2ServerX"),
            (&["2bit"], "Model2bit"),
            (&["模型"], "Model"),
            (&["self"], "Self_"),
            (&["a.b", "c d"], "ABCD"),
        ] {
            assert_eq!(type_name(parts), want, "{parts:?}");
        }
    }

    #[test]
    fn field_names_are_identifiers_and_unique() {
        let names =
            ["x", "a.b", "a/b", "a_b", "type", "self", "_", "", "0", "input:0", "type", "Ü"];
        let want = [
            "x", "a_b", "a_b_2", "a_b_3", "r#type", "self_", "__", "___2", "_0", "input_0",
            "type_2", "___3",
        ];
        let got = fields(names);
        assert_eq!(got, want);
        let mut unique = got.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), got.len());
    }

    #[test]
    fn snake_case_is_told_from_other_cases() {
        for (name, snake) in [
            ("pixel_values", true),
            ("_0", true),
            ("r#type", true),
            ("inputIds", false),
            ("a__b", false),
        ] {
            assert_eq!(is_snake_case(name), snake, "{name}");
        }
    }
}
