//! Ollama's store and its Modelfile.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use model_build::ErrorKind;
use model_build::format::{self, WriteOptions, gguf, ollama};
use model_build::hub::{Gguf, Hub, Meta, MetaArray};

const HOST: &str = "registry.ollama.ai";

fn model() -> Bytes {
    std::fs::read(super::fixtures("gguf").join("aligned.gguf")).unwrap().into()
}

/// A store with one model `tiny:1b`; each layer is a media type's ending and its bytes.
fn store(root: &Path, layers: &[(&str, &[u8])]) -> PathBuf {
    let mut list = Vec::new();
    std::fs::create_dir_all(root.join("blobs")).unwrap();
    for (i, (kind, content)) in layers.iter().enumerate() {
        let hex = format!("{i:064x}");
        std::fs::write(root.join(format!("blobs/sha256-{hex}")), content).unwrap();
        list.push(serde_json::json!({
            "mediaType": format!("application/vnd.ollama.image.{kind}"),
            "digest": format!("sha256:{hex}"),
            "size": content.len(),
        }));
    }
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:0", "size": 0},
        "layers": list,
    });
    let folder = root.join("manifests").join(HOST).join("library/tiny");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("1b"), manifest.to_string()).unwrap();
    folder.join("1b")
}

const TEMPLATE: &str = "{{ if .System }}<s>{{ .System }}\n{{ end }}\"{{ .Prompt }}\"";
const PARAMS: &str =
    r#"{"num_ctx":4096,"stop":["<|im_end|>","a \"b\""],"temperature":0.7,"use_mmap":true}"#;

fn whole(root: &Path) -> PathBuf {
    store(
        root,
        &[
            ("model", &model()),
            ("template", TEMPLATE.as_bytes()),
            ("system", b"be brief"),
            ("params", PARAMS.as_bytes()),
            ("license", b"do as you like\nreally"),
            ("license", b"second"),
            ("messages", br#"[{"role":"user","content":"hi"}]"#),
            ("projector", b"GGUF"),
        ],
    )
}

fn read(path: &Path) -> Result<Gguf, model_build::Error> {
    let found = format::resolve(path)?;
    assert_eq!(found.format.name, "ollama");
    match (found.format.read.unwrap())(&found.files)? {
        Hub::Gguf(gguf) => Ok(gguf),
        _ => panic!("no GGUF"),
    }
}

#[test]
fn a_model_is_located_by_name_and_read_with_all_its_layers() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = whole(dir.path());
    let located = ollama::locate(dir.path(), "ollama:tiny:1b").unwrap();
    assert_eq!(located.manifest, manifest);
    assert_eq!(located.licenses.len(), 2);
    assert_eq!(located.projectors.len(), 1);
    assert!(located.model.ends_with(format!("blobs/sha256-{:064x}", 0)));
    assert_eq!(ollama::locate(dir.path(), "library/tiny:1b").unwrap(), located);
    let named = format!("{HOST}/library/tiny:1b");
    assert_eq!(ollama::locate(dir.path(), &named).unwrap(), located);

    let read = read(&manifest).unwrap();
    let plain = gguf::from_bytes(&model()).unwrap();
    assert_eq!(read.metadata[..plain.metadata.len()], plain.metadata);
    assert_eq!(read.get("ollama.template"), Some(&Meta::text(TEMPLATE)));
    assert_eq!(read.get("ollama.system"), Some(&Meta::text("be brief")));
    assert_eq!(read.get("ollama.params"), Some(&Meta::text(PARAMS)));
    let licenses = MetaArray::Text(vec!["do as you like\nreally".into(), "second".into()]);
    assert_eq!(read.get("ollama.license"), Some(&Meta::Array(licenses)));
    assert_eq!(read.tensors.len(), plain.tensors.len());
}

#[test]
fn names_that_are_none_or_not_there_are_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    whole(dir.path());
    for bad in ["", "../tiny", "tiny:../../x", "a/b/c/d", "..", "tiny:1b/x"] {
        let error = ollama::locate(dir.path(), bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Manifest, "{bad:?}: {error}");
    }
    let error = ollama::locate(dir.path(), "tiny").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.hints()[0].contains("ollama pull tiny"), "{error:?}");
}

#[test]
fn stores_that_lie_are_refused() {
    let says = |layers: &[(&str, &[u8])], change: &dyn Fn(&Path), word: &str| {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), layers);
        change(dir.path());
        let located = ollama::locate(dir.path(), "tiny:1b");
        let error = located.and_then(|l| ollama::from_store(&l)).unwrap_err();
        assert!(error.to_string().contains(word), "{error} does not say {word:?}");
    };
    let model = model();
    let good: (&str, &[u8]) = ("model", &model);
    let same = |_: &Path| {};
    let blob = |d: &Path, i: u32| d.join(format!("blobs/sha256-{i:064x}"));
    let manifest = |d: &Path| d.join("manifests").join(HOST).join("library/tiny/1b");
    let edit = |d: &Path, from: &str, to: &str| {
        let text = std::fs::read_to_string(manifest(d)).unwrap();
        assert!(text.contains(from));
        std::fs::write(manifest(d), text.replace(from, to)).unwrap();
    };
    says(&[], &same, "no model");
    says(&[good, good], &same, "two layers");
    says(&[good, ("adapter", b"x")], &same, "adapter");
    says(&[good, ("tensor", b"x")], &same, "image.tensor");
    says(&[("model", b"GGML")], &same, "starts with `GGUF`");
    says(&[good, ("params", b"{")], &same, "not valid JSON");
    says(&[good, ("params", b"[]")], &same, "not a JSON object");
    says(&[good, ("params", br#"{"a":{}}"#)], &same, "`a`");
    says(&[good, ("messages", br#"[{"role":"x","content":""}]"#)], &same, "message");
    says(&[good, ("template", b"\xff")], &same, "UTF-8");
    says(&[good], &|d| std::fs::remove_file(blob(d, 0)).unwrap(), "no such file");
    says(&[good], &|d| std::fs::write(blob(d, 0), b"x").unwrap(), "the blob has 1");
    says(&[good], &|d| std::fs::write(manifest(d), b"{}").unwrap(), "not a valid manifest");
    says(&[good], &|d| edit(d, "\"schemaVersion\":2", "\"schemaVersion\":1"), "version 1");
    let digest = format!("sha256:{:064x}", 0);
    for bad in ["sha256:../../../../etc/passwd", "sha256:", "md5:00", &digest[..70]] {
        says(&[good], &|d| edit(d, &format!("\"{digest}\""), &format!("\"{bad}\"")), "no digest");
    }
}

#[test]
fn a_json_file_elsewhere_is_no_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = whole(dir.path());
    let stray = dir.path().join("1b");
    std::fs::copy(manifest, &stray).unwrap();
    assert!(format::resolve(&stray).unwrap_err().to_string().contains("no format known"));
}

fn write(model: &Gguf) -> Result<(Bytes, String), model_build::Error> {
    let options = WriteOptions { file_name: "tiny.gguf".to_owned(), ..WriteOptions::default() };
    let blobs = (ollama::OLLAMA.write.unwrap())(&Hub::Gguf(model.clone()), &options)?;
    let [first, second] = blobs.as_slice() else { panic!("two files") };
    assert_eq!((first.name.as_str(), second.name.as_str()), ("tiny.gguf", "Modelfile"));
    let text = String::from_utf8(super::gguf::content(second)).unwrap();
    Ok((super::gguf::content(first).into(), text))
}

#[test]
fn the_folder_for_ollama_has_the_model_and_a_modelfile_with_all_its_layers() {
    let dir = tempfile::tempdir().unwrap();
    let (file, text) = write(&read(&whole(dir.path())).unwrap()).unwrap();
    assert_eq!(file, model(), "what is in the Modelfile is not in the model");
    let want = format!(
        r#"FROM ./tiny.gguf
TEMPLATE """{TEMPLATE}"""
SYSTEM "be brief"
PARAMETER num_ctx 4096
PARAMETER stop "<|im_end|>"
PARAMETER stop """a "b""""
PARAMETER temperature 0.7
PARAMETER use_mmap true
MESSAGE user "hi"
LICENSE """do as you like
really"""
LICENSE "second"
"#
    );
    assert_eq!(text, want);
}

#[test]
fn a_jinja_template_stays_in_the_model_and_is_no_template_of_ollamas() {
    let mut model = gguf::from_bytes(&model()).unwrap();
    model.set("tokenizer.chat_template", Meta::text("{% for m in messages %}"));
    let (file, text) = write(&model).unwrap();
    assert_eq!(text, "FROM ./tiny.gguf\n");
    assert!(gguf::from_bytes(&file).unwrap().get("tokenizer.chat_template").is_some());
}

#[test]
fn what_a_modelfile_cannot_quote_is_refused_by_key() {
    let mut model = gguf::from_bytes(&model()).unwrap();
    for bad in [Meta::text("a\"\"\"b"), Meta::text("a\u{a0}b"), Meta::U8(1)] {
        model.set("ollama.template", bad);
        let error = write(&model).unwrap_err();
        assert!(error.to_string().contains("`ollama.template`"), "{error}");
    }
}
