//! The text of a loader: types, documentation, and where the payload is.
//!
//! Users compile it as their own code, under their own lints: it holds no `unsafe` (macros of the
//! runtime crate do), everything public in it is documented, and it allows only lints about style.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{File, Item, ObjectFormat, Platform, name};
use crate::error::{Error, Result};
use crate::record::Port;

const RUNTIME: &str = "::model_build_runtime";

/// The payload of a crate that is built for its documentation.
pub(super) const STUB: &str = "::model_build_runtime::__private::Payload::Stub";

/// The element types that inputs and outputs may have, as [`DType::name`](crate::hub::DType::name)
/// gives them; their Rust types and variants of the runtime's `DType`.
const ELEMENTS: &[(&str, &str, &str)] = &[
    ("f64", "f64", "F64"),
    ("f32", "f32", "F32"),
    ("f16", "::model_build_runtime::half::f16", "F16"),
    ("bf16", "::model_build_runtime::half::bf16", "BF16"),
    ("i64", "i64", "I64"),
    ("i32", "i32", "I32"),
    ("i16", "i16", "I16"),
    ("i8", "i8", "I8"),
    ("u64", "u64", "U64"),
    ("u32", "u32", "U32"),
    ("u16", "u16", "U16"),
    ("u8", "u8", "U8"),
    ("bool", "bool", "Bool"),
];

fn element(dtype: &str) -> Option<(&'static str, &'static str)> {
    ELEMENTS.iter().find(|(name, ..)| *name == dtype).map(|(_, ty, variant)| (*ty, *variant))
}

/// Where the bytes of a file are: an expression, and what it wants beside it.
#[derive(Default)]
pub(super) struct Payload {
    expression: String,
    /// Items at the level of the type.
    items: String,
}

impl From<String> for Payload {
    fn from(expression: String) -> Self {
        Self { expression, items: String::new() }
    }
}

/// The payload of a file by its path relative to the text.
pub(super) fn include(path: &str) -> Payload {
    format!("{RUNTIME}::__include!({path:?})").into()
}

/// The payload of a file that stands in an object file.
pub(super) fn linked(symbol: &str, len: u64) -> Payload {
    format!("{RUNTIME}::__linked!({symbol:?}, {len})").into()
}

/// The payload of a file beside the executable, there under `name`.
pub(super) fn sidecar(name: &str, file: &File, built: &str) -> Payload {
    format!(
        "{RUNTIME}::__private::Payload::Sidecar({RUNTIME}::__private::Sidecar::new({name:?}, {}, \
         {:?}, {built:?}))",
        file.len, file.digest
    )
    .into()
}

/// The payload of a file that the assembler includes. The symbol is weak: two crates of a program
/// may embed the same bytes.
pub(super) fn assembled(
    format: ObjectFormat,
    platform: &Platform,
    symbol: &str,
    file: &File,
) -> Result<Payload> {
    let path = file.path.to_str().ok_or_else(|| {
        Error::unsupported("the assembler takes only paths in Unicode").file(&file.path)
    })?;
    // C prefixes its names on these platforms, and so does the compiler.
    let underscore = match format {
        ObjectFormat::MachO => "_",
        ObjectFormat::Coff if platform.arch == "x86" => "_",
        _ => "",
    };
    let s = format!("{underscore}{symbol}");
    let mut lines = match format {
        ObjectFormat::MachO => vec![
            ".section __TEXT,__const".to_owned(),
            format!(".globl {s}"),
            format!(".weak_definition {s}"),
            format!(".private_extern {s}"),
        ],
        ObjectFormat::Coff => {
            vec![format!(".section .rdata$model_build,\"dr\",discard,{s}"), format!(".globl {s}")]
        }
        // `%` where `@` starts a comment (Arm); both mean the same elsewhere.
        ObjectFormat::Elf | ObjectFormat::Other => vec![
            format!(".section .rodata.{s},\"a\",%progbits"),
            format!(".weak {s}"),
            format!(".hidden {s}"),
        ],
    };
    lines.push(".p2align 6".to_owned());
    lines.push(format!("{s}:"));
    lines.push(format!(".incbin \"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"")));
    lines.push(".text".to_owned());
    let lines = lines.iter().map(|l| format!("    {l:?},\n")).collect::<String>();
    Ok(Payload {
        expression: format!("{RUNTIME}::__assembled!({symbol:?}, {})", file.len),
        items: format!("{RUNTIME}::__assemble! {{\n{lines}}}\n\n"),
    })
}

/// Text that is safe in a `///` line within backticks.
fn doc(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c == '`' { '\'' } else { c }).collect()
}

fn shape(port: &Port) -> String {
    doc(&format!("[{}]", port.dims.join(", ")))
}

/// 1234567 → `1.2 MB`.
fn size(len: u64) -> String {
    let mut value = len;
    let mut rest = 0;
    for unit in ["bytes", "kB", "MB"] {
        if value < 1000 {
            return if unit == "bytes" {
                format!("{value} {unit}")
            } else {
                format!("{value}.{rest} {unit}")
            };
        }
        (value, rest) = (value / 1000, value % 1000 / 100);
    }
    format!("{value}.{rest} GB")
}

/// Whether a backend can run the artifact, with typed inputs and outputs; else why not.
fn runnable(item: &Item<'_>) -> Result<(), String> {
    if item.format != "onnx" {
        return Err(format!("No backend runs `{}` files", doc(item.format)));
    }
    let mut ports = item.info.inputs.iter().chain(&item.info.outputs);
    match ports.find(|p| element(&p.dtype).is_none()) {
        Some(port) => {
            let (name, dtype) = (doc(&port.name), doc(&port.dtype));
            Err(format!("`{name}` has elements of type `{dtype}`, which no Rust type stands for"))
        }
        None => Ok(()),
    }
}

/// Lints that generated code may trip and that say nothing about it. None that a crate would forbid.
const ALLOW: &str = "#[allow(dead_code, unreachable_pub, unused_qualifications, clippy::all, \
                     clippy::pedantic, clippy::nursery, clippy::restriction)]\n";

/// The text of a loader; the type is named after the parts of `named`, its files are at `payloads`.
pub(super) fn loader(
    item: &Item<'_>,
    named: &[&str],
    payloads: &[Payload],
    skeleton: Option<&str>,
) -> String {
    let ty = name::type_name(named);
    let mut out = String::new();
    let runnable = runnable(item);
    // Writing to a String does not fail.
    let _ = header(&mut out, item, &ty, &runnable);
    let _ = inherent(&mut out, &ty, runnable.is_ok());
    if runnable.is_ok() {
        let _ = ports(&mut out, item, &ty);
    }
    out.extend(payloads.iter().map(|p| p.items.as_str()));
    let _ = artifact(&mut out, item, &ty, payloads, skeleton);
    out
}

fn header(
    out: &mut String,
    item: &Item<'_>,
    ty: &str,
    runnable: &Result<(), String>,
) -> std::fmt::Result {
    let (model, target) = (doc(item.model), doc(item.target));
    writeln!(out, "// Written by build.rs: do not edit.\n")?;
    out.push_str(ALLOW);
    writeln!(
        out,
        "const _: () = ::core::assert!(\n    {RUNTIME}::__private::TEXT == 1,\n    \"model-build and \
         model-build-runtime are of different versions: update both\",\n);\n"
    )?;
    writeln!(out, "/// The model `{model}`, target `{target}`.\n///")?;
    let len = item.files.iter().map(|f| f.len).fold(0, u64::saturating_add);
    let parameters = item.info.parameters;
    writeln!(out, "/// Format `{}`, {}, {parameters} weights.", doc(item.format), size(len))?;
    match runnable {
        Err(why) => writeln!(out, "/// {why}, so there is no `load`.")?,
        Ok(()) => {
            let all = [("input", &item.info.inputs), ("output", &item.info.outputs)];
            writeln!(out, "///\n/// | | name | type | shape |\n/// |---|---|---|---|")?;
            for (kind, ports) in all {
                for port in ports {
                    let name = doc(&port.name).replace('|', "\\|");
                    let shape = shape(port).replace('|', "\\|");
                    writeln!(
                        out,
                        "/// | {kind} | `{name}` | `{}` | `{shape}` |",
                        doc(&port.dtype)
                    )?;
                }
            }
        }
    }
    out.push_str("#[derive(Clone, Copy, Debug)]\n");
    out.push_str(ALLOW);
    writeln!(out, "pub struct {ty};\n")
}

fn inherent(out: &mut String, ty: &str, runnable: bool) -> std::fmt::Result {
    out.push_str(ALLOW);
    write!(
        out,
        "impl {ty} {{
    /// What is known of the artifact at compile time.
    pub const METADATA: {RUNTIME}::Metadata =
        <Self as {RUNTIME}::Artifact>::METADATA;

    /// The bytes of the main file: those in the executable, or a mapped file beside it.
    ///
    /// # Errors
    /// Only where the file stands beside the executable: when it is missing or another one.
    pub fn bytes() -> ::core::result::Result<&'static [u8], {RUNTIME}::Error> {{
        {RUNTIME}::__private::main_bytes::<Self>()
    }}

    /// The bytes of a file of the artifact by its name; `None` when there is no such file.
    pub fn file(
        name: &str,
    ) -> ::core::option::Option<::core::result::Result<&'static [u8], {RUNTIME}::Error>> {{
        {RUNTIME}::__private::file_bytes::<Self>(name)
    }}
"
    )?;
    if runnable {
        write!(
            out,
            "
    /// Loads the model into the default backend.
    ///
    /// # Errors
    /// When no backend is enabled or it cannot run the model.
    pub fn load() -> ::core::result::Result<{RUNTIME}::Session<Self>, {RUNTIME}::Error> {{
        {RUNTIME}::Session::load()
    }}

    /// Loads the model as the options say.
    ///
    /// # Errors
    /// When the backend is not enabled, is not found, or cannot run the model.
    pub fn load_with(
        options: &{RUNTIME}::LoadOptions,
    ) -> ::core::result::Result<{RUNTIME}::Session<Self>, {RUNTIME}::Error> {{
        {RUNTIME}::Session::load_with(options)
    }}
"
        )?;
    }
    out.push_str("}\n\n");
    Ok(())
}

/// The structs of inputs and outputs, and how they meet the backend.
fn ports(out: &mut String, item: &Item<'_>, ty: &str) -> std::fmt::Result {
    let inputs = structure(out, ty, "Inputs", &item.info.inputs)?;
    let outputs = structure(out, ty, "Outputs", &item.info.outputs)?;
    let views = inputs.iter().map(|f| format!("inputs.{f}.view()")).collect::<Vec<_>>().join(", ");
    let taken = outputs.iter().map(|f| format!("{f}: values.take()?")).collect::<Vec<_>>();
    let (inputs_unused, values_unused) =
        (if inputs.is_empty() { "_" } else { "" }, if outputs.is_empty() { "_" } else { "" });
    out.push_str(ALLOW);
    writeln!(
        out,
        "impl {RUNTIME}::Model for {ty} {{
    type Inputs = {ty}Inputs;
    type Outputs = {ty}Outputs;

    fn views({inputs_unused}inputs: &{ty}Inputs) -> ::std::vec::Vec<{RUNTIME}::__private::View<'_>> {{
        ::std::vec::Vec::from([{views}])
    }}

    fn outputs(
        {values_unused}values: &mut {RUNTIME}::__private::Values,
    ) -> ::core::result::Result<{ty}Outputs, {RUNTIME}::Error> {{
        ::core::result::Result::Ok({ty}Outputs {{ {} }})
    }}
}}
",
        taken.join(", ")
    )
}

/// One struct with a tensor per port; gives the fields' names.
fn structure(
    out: &mut String,
    ty: &str,
    kind: &str,
    ports: &[Port],
) -> Result<Vec<String>, std::fmt::Error> {
    let fields = name::fields(ports.iter().map(|p| p.name.as_str()));
    writeln!(out, "/// {kind} of [`{ty}`].\n#[derive(Clone, Debug, PartialEq)]")?;
    out.push_str(ALLOW);
    if !fields.iter().all(|f| name::is_snake_case(f)) {
        out.push_str("#[allow(non_snake_case)]\n");
    }
    writeln!(out, "pub struct {ty}{kind} {{")?;
    for (port, field) in ports.iter().zip(&fields) {
        let element = element(&port.dtype).map_or("()", |(ty, _)| ty);
        writeln!(out, "    /// `{}`, `{}` `{}`.", doc(&port.name), doc(&port.dtype), shape(port))?;
        writeln!(out, "    pub {field}: {RUNTIME}::Tensor<{element}>,")?;
    }
    writeln!(out, "}}\n")?;
    Ok(fields)
}

fn port_values(ports: &[Port]) -> String {
    let one = |port: &Port| {
        let dtype = match element(&port.dtype) {
            Some((_, variant)) => variant.to_owned(),
            None => format!("Other({:?})", port.dtype),
        };
        let dims = port.dims.iter().map(|dim| match dim.parse::<u32>() {
            Ok(n) => format!("{RUNTIME}::Dim::Fixed({n})"),
            Err(_) if dim == "?" => format!("{RUNTIME}::Dim::Any"),
            Err(_) => format!("{RUNTIME}::Dim::Named({dim:?})"),
        });
        let dims = dims.collect::<Vec<_>>().join(", ");
        format!(
            "\n                {RUNTIME}::Port {{ name: {:?}, dtype: {RUNTIME}::DType::{dtype}, dims: \
             &[{dims}] }},",
            port.name
        )
    };
    ports.iter().map(one).collect()
}

fn artifact(
    out: &mut String,
    item: &Item<'_>,
    ty: &str,
    payloads: &[Payload],
    skeleton: Option<&str>,
) -> std::fmt::Result {
    let facts = item.info.facts.iter().chain(&item.metadata);
    let facts = facts.map(|(k, v)| (k, v)).collect::<BTreeMap<_, _>>();
    let facts =
        facts.iter().map(|(k, v)| format!("\n                ({k:?}, {v:?}),")).collect::<String>();
    let (len, digest) = item.files.first().map_or((0, ""), |f| (f.len, f.digest.as_str()));
    let files = item.files.iter().zip(payloads).map(|(file, payload)| {
        format!(
            "\n        {RUNTIME}::__private::File {{ name: {:?}, payload: {} }},",
            file.name, payload.expression
        )
    });
    let files = files.collect::<String>();
    let skeleton = match skeleton {
        Some(path) => format!("Some(::core::include_bytes!({path:?}))"),
        None => "None".to_owned(),
    };
    out.push_str(ALLOW);
    writeln!(
        out,
        "const _: () = {{
    static FILES: [{RUNTIME}::__private::File; {count}] = [{files}
    ];

    impl {RUNTIME}::Artifact for {ty} {{
        const METADATA: {RUNTIME}::Metadata = {RUNTIME}::Metadata {{
            model: {model:?},
            target: {target:?},
            format: {format:?},
            digest: {digest:?},
            len: {len},
            parameters: {parameters},
            inputs: &[{inputs}
            ],
            outputs: &[{outputs}
            ],
            facts: &[{facts}
            ],
        }};

        fn files() -> &'static [{RUNTIME}::__private::File] {{
            &FILES
        }}

        fn skeleton() -> ::core::option::Option<&'static [u8]> {{
            ::core::option::Option::{skeleton}
        }}
    }}
}};",
        count = payloads.len(),
        model = item.model,
        target = item.target,
        format = item.format,
        parameters = item.info.parameters,
        inputs = port_values(&item.info.inputs),
        outputs = port_values(&item.info.outputs),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (len, want) in [
            (999, "999 bytes"),
            (1_234, "1.2 kB"),
            (812_345, "812.3 kB"),
            (91_000_000, "91.0 MB"),
            (3_500_000_000, "3.5 GB"),
        ] {
            assert_eq!(size(len), want);
        }
    }

    #[test]
    fn text_of_other_people_cannot_leave_a_comment() {
        assert_eq!(doc("a\nb`c"), "a'b'c");
    }
}
