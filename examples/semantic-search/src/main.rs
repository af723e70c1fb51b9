//! Ranks the lines of a text file by how near in meaning they are to a query.
//!
//! The sentence embedder and its tokenizer are part of the binary; nothing is read at run time but
//! the text file.

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

mod embed;

use embed::Embedder;

const USAGE: &str = "\
usage: semantic-search QUERY FILE [--top N]

Prints the lines of FILE that are nearest in meaning to QUERY, best first, each with its cosine
similarity (1 is the same, 0 is unrelated) and its line number.

  --top N   how many lines to print (default 5)";

struct Args {
    query: String,
    file: String,
    top: usize,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut words = Vec::new();
    let mut top = 5;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-h" | "--help" => return Ok(None),
            "--top" => {
                let value = args.next().ok_or("--top needs a number")?;
                top = value.parse().map_err(|_| format!("--top: `{value}` is not a number"))?;
            }
            _ if arg.starts_with("--") => return Err(format!("unknown option `{arg}`")),
            _ => words.push(arg),
        }
    }
    match <[String; 2]>::try_from(words) {
        Ok([query, _]) if query.trim().is_empty() => Err("QUERY is empty".to_owned()),
        Ok([query, file]) => Ok(Some(Args { query, file, top })),
        Err(words) => Err(format!("expected QUERY and FILE, got {} arguments", words.len())),
    }
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("error: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match search(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn search(args: &Args) -> Result<(), Box<dyn Error>> {
    let text = std::fs::read_to_string(&args.file).map_err(|e| format!("{}: {e}", args.file))?;
    let numbered: Vec<(usize, &str)> =
        (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty()).collect();

    let mut sentences: Vec<&str> = numbered.iter().map(|(_, line)| *line).collect();
    sentences.push(&args.query);
    let mut vectors = Embedder::load()?.embed(&sentences)?;
    let query = vectors.pop().ok_or("the query has no vector")?;

    let mut ranked: Vec<(f32, usize, &str)> = numbered
        .iter()
        .zip(&vectors)
        .map(|(&(number, line), vector)| (embed::cosine(&query, vector), number, line))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut out = std::io::stdout().lock();
    for (score, number, line) in ranked.iter().take(args.top) {
        match writeln!(out, "{score:6.3}  {number:>4}  {line}") {
            // The reader, as `head`, has seen enough.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => break,
            other => other?,
        }
    }
    Ok(())
}
