//! PyTorch files that lie or attack, each made by hand, and what the reader says of them.

use std::time::Duration;

use bytes::Bytes;
use model_build::ErrorKind;
use model_build::format::pytorch;
use model_build_tests::pickles::{Pickle, archive, file, stream};

use super::fixtures;

/// How long this thread has run, whatever else the machine does.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0))
}

#[track_caller]
fn says(bytes: Vec<u8>, words: &[&str]) {
    let start = processor_time();
    let error = pytorch::from_bytes(&Bytes::from(bytes), None).unwrap_err();
    let took = processor_time() - start;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(matches!(error.kind(), ErrorKind::Malformed | ErrorKind::Unsupported), "{error:?}");
    for word in words {
        assert!(error.report().contains(word), "{} does not say {word:?}", error.report());
    }
}

/// A file whose state dict has one tensor, `w`.
fn holding(tensor: impl Fn(Pickle) -> Pickle) -> Vec<u8> {
    file(&tensor(Pickle::new().raw(b"}(").text("w")).raw(b"u").end())
}

#[test]
fn what_the_helpers_make_is_accepted() {
    let plain = Pickle::new().raw(b"}(").text("w").one().raw(b"u").end();
    for bytes in
        [file(&plain), stream(&plain, &["0"], &[4u64.to_le_bytes().as_slice(), &[7; 16]].concat())]
    {
        let read = pytorch::from_bytes(&bytes.into(), None).unwrap();
        assert_eq!(read["w"].bytes().unwrap(), [7; 4].as_slice());
    }
}

#[test]
fn calls_are_refused_by_name_and_nothing_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let command = format!("touch {}", dir.path().join("ran").display());
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("importlib", "import_module"),
        ("os.path", "join"),
        ("pickle", "loads"),
        ("shutil", "rmtree"),
        ("socket", "create_connection"),
        // Known to nobody here, refused because they are called.
        ("functools", "partial"),
        ("operator", "attrgetter"),
        ("torch.hub", "load"),
        ("torch", "load"),
        ("numpy.testing._private.utils", "runstring"),
        ("some.package", "function"),
    ] {
        let modern = if module == "__builtin__" { "builtins" } else { module };
        let full = format!("`{modern}.{name}`");
        let words = [full.as_str(), "nothing was run", "torch.save(model.state_dict()"];
        let argument = |p: Pickle| p.raw(b"(").text(&command).raw(b"t");
        let reduce = |p: Pickle| argument(p.global(module, name)).raw(b"R");
        // As the whole of the file, beside the weights, and among them.
        says(file(&reduce(Pickle::new()).end()), &words);
        let beside = Pickle::new().raw(b"}(").text("state_dict").raw(b"}(").text("w").one();
        let beside = reduce(beside.raw(b"u").text("x")).raw(b"u").end();
        says(file(&beside), &words);
        says(holding(reduce), &words);
        // By a name on the stack.
        let stacked = Pickle::new().text(module).text(name).raw([0x93]);
        says(file(&argument(stacked).raw(b"R").end()), &words);
        // As protocol 0 makes instances.
        let old = Pickle::new().raw(b"(").text(&command).raw(format!("i{module}\n{name}\n"));
        says(file(&old.end()), &words);
        let old = Pickle::new().raw(b"(").global(module, name).text(&command).raw(b"o");
        says(file(&old.end()), &words);
        // In the stream before archives.
        says(stream(&reduce(Pickle::new()).end(), &[], &[]), &words);
        let mut first = reduce(Pickle::new()).end();
        first.splice(0..0, b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec());
        says(first, &words);
    }
    // An instance of what is no class, and one made by Python's helper.
    let new = Pickle::new().global("os", "system").text("x").raw([0x85, 0x81]).end();
    says(file(&new), &["`os.system`"]);
    let new = Pickle::new().global("copyreg", "_reconstructor").raw(b"(").global("os", "system");
    says(file(&new.raw(b"NNtR").end()), &["`os.system`"]);
    // A call of what was made by a call.
    let made = Pickle::new().global("collections", "OrderedDict").raw(b")R)R").end();
    says(file(&made), &["no class or function"]);
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[test]
fn an_instance_of_an_unknown_class_is_data_and_no_weights() {
    let object = |p: Pickle| p.global("some.package", "Config").raw([b')', 0x81]).raw(b"}b");
    says(holding(object), &["no tensors"]);
    let beside = object(Pickle::new().raw(b"}(").text("w").one().text("config")).raw(b"u").end();
    says(file(&beside), &["an instance of `some.package.Config`", "`config`"]);
}

#[test]
fn cycles_are_refused() {
    // {"w": tensor, "self": <itself>}
    let cycle = Pickle::new().raw(b"}q\0(").text("w").one().text("self").raw(b"h\0u").end();
    says(file(&cycle), &["nested"]);
    let list = Pickle::new().raw(b"]q\0h\0a").end();
    says(file(&list), &["no tensors"]);
    let weights = Pickle::new().raw(b"}(").text("w").raw(b"]q\0(").one().raw(b"h\0eu").end();
    says(file(&weights), &["nested"]);
    let module = |p: Pickle| {
        p.global("torch.nn.modules.container", "Sequential").raw([b')', 0x81]).raw(b"q\0}(")
    };
    let module = module(Pickle::new()).text("_parameters").raw(b"}").text("_modules");
    let module = module.raw(b"}(").text("again").raw(b"h\0u").raw(b"ub").end();
    says(file(&module), &["nested"]);
    let script = Pickle::new().global("__torch__.A", "B").raw([b')', 0x81]).raw(b"q\0}(");
    let script = script.text("me").raw(b"h\0ub").end();
    says(file(&script), &["nested"]);
}

/// Lists of the list before, twice, `depth` deep; the innermost has a tensor.
fn doubling(depth: u8, open: &[u8], close: &[u8]) -> Vec<u8> {
    let mut out = Pickle::new().one().raw([b'q', 0]);
    for i in 0..depth {
        out = out.raw(b"0").raw(open);
        for key in ["a", "b"] {
            out = if close == b"u" { out.text(key) } else { out };
            out = out.raw([b'h', i]);
        }
        out = out.raw(close).raw([b'q', i + 1]);
    }
    out.end()
}

#[test]
fn doublings_of_doublings_are_refused_before_they_are_unrolled() {
    for depth in [30, 60, 200] {
        for (open, close) in [(b"](".as_slice(), b"e".as_slice()), (b"}(", b"u"), (b"(", b"t")] {
            says(file(&doubling(depth, open, close)), &[]);
            let mut weights = doubling(depth, open, close);
            weights.pop();
            weights.splice(0..2, Pickle::new().raw(b"}(").text("x").one().text("w").0);
            weights.extend_from_slice(b"u.");
            says(file(&weights), &[]);
        }
    }
}

#[test]
fn memos_out_of_reach_are_refused() {
    let far = Pickle::new().raw(b"Nr").raw(u32::MAX.to_le_bytes()).end();
    says(file(&far), &["memo 4294967295"]);
    says(file(&Pickle::new().raw(b"h\x07").end()), &["memo 7 is not set"]);
    says(file(&Pickle::new().raw(b"g12x\n").end()), &["memo"]);
}

#[test]
fn shapes_past_any_memory_are_refused_by_tensor() {
    let big = 1i64 << 62;
    for (shape, strides) in [
        (vec![big, 2], vec![1, 1]),
        (vec![big, 2], vec![0, 0]),
        (vec![big], vec![0]),
        (vec![i64::MAX], vec![1]),
        (vec![1 << 33], vec![0]),
        (vec![1 << 31, 1 << 31], vec![1 << 31, 1]),
        (vec![2, 2], vec![i64::MAX, i64::MAX]),
        (vec![-1], vec![1]),
        (vec![2], vec![-1]),
        (vec![2, 2], vec![1]),
        (vec![1; 65], vec![1; 65]),
    ] {
        says(holding(|p| p.tensor(4, 0, &shape, &strides)), &["`w`"]);
    }
}

#[test]
fn views_past_their_storage_are_refused_by_tensor() {
    for (offset, shape, strides) in [
        (4, [1], [1]),
        (0, [5], [1]),
        (1, [4], [1]),
        (0, [3], [2]),
        (i64::MAX, [1], [1]),
        (i64::MAX, [2], [i64::MAX]),
        (-1, [1], [1]),
    ] {
        says(holding(|p| p.tensor(4, offset, &shape, &strides)), &["`w`"]);
    }
    says(holding(|p| p.tensor(5, 0, &[1], &[1])), &["`w`", "20 bytes", "has 16"]);
    says(holding(|p| p.tensor(i64::MAX, 0, &[1], &[1])), &["`w`", "2^64"]);
    says(holding(|p| p.tensor(-4, 0, &[1], &[1])), &["`w`", "-4"]);
    let other = |p: Pickle| {
        let call = p.global("torch._utils", "_rebuild_tensor_v2").raw(b"(").storage("../0", 4);
        call.int(0).ints(&[1]).ints(&[1]).raw([0x89]).raw(b"NtR")
    };
    says(holding(other), &["`w`", "no entry", "../0"]);
}

#[test]
fn tensors_that_are_made_in_odd_ways_are_refused_by_name() {
    let call = |name: &str| Pickle::new().raw(b"}(").text("w").global("torch._utils", name);
    let inner = |p: Pickle| {
        let p = p.global("torch.storage", "_load_from_bytes").raw(b"(C\x01xtR");
        p.int(0).ints(&[1]).ints(&[1])
    };
    let nested = inner(call("_rebuild_tensor").raw(b"(")).raw(b"tRu").end();
    says(file(&nested), &["`w`", "inside of the pickle", "torch.save"]);
    let few = call("_rebuild_tensor_v2").raw(b"(NtRu").end();
    says(file(&few), &["`w`", "other arguments"]);
    let plain = call("_rebuild_tensor").raw(b"(N").int(0).ints(&[1]).ints(&[1]).raw(b"tRu").end();
    says(file(&plain), &["`w`", "without a storage"]);
    let wrapped = (0..20).fold(Pickle::new().raw(b"}(").text("w").one(), |p, _| {
        let p = p.raw(b"q\0").raw(b"0").global("torch._utils", "_rebuild_parameter");
        p.raw(b"(h\0\x89NtR")
    });
    says(file(&wrapped.raw(b"u").end()), &["`w`", "wrapped"]);
    let class = |p: Pickle| {
        let p = p.global("torch._tensor", "_rebuild_from_type_v2").raw(b"(");
        let p = p.global("torch._utils", "_rebuild_tensor").global("a.b", "Strange");
        p.raw(b"(").storage("0", 4).int(0).ints(&[1]).ints(&[1]).raw(b"t}tR")
    };
    says(holding(class), &["`w`", "the class `a.b.Strange`"]);
    let negated = |p: Pickle| {
        let p = p.global("torch._utils", "_rebuild_tensor_v2").raw(b"(").storage("0", 4);
        let p = p.int(0).ints(&[1]).ints(&[1]).raw([0x89]).raw(b"N}(").text("neg").raw([0x88]);
        p.raw(b"utR")
    };
    says(holding(negated), &["`w`", "negated", "resolve_neg"]);
    let class = |p: Pickle| {
        let p = p.global("torch._utils", "_rebuild_tensor_v2").raw(b"((").text("storage");
        let p = p.global("torch", "StrangeStorage").text("0").text("cpu").int(4).raw(b"tQ");
        p.int(0).ints(&[1]).ints(&[1]).raw([0x89]).raw(b"NtR")
    };
    says(holding(class), &["`w`", "torch.StrangeStorage"]);
}

#[test]
fn opcodes_that_lie_about_lengths_are_refused() {
    for bytes in [
        b"\x8b\xff\xff\xff\x7f".as_slice(),      // an integer of 2 GB
        b"\x8b\xff\xff\xff\xff",                 // of 4 GB
        b"\x8a\xff\x01",                         // of 255 bytes
        b"X\xff\xff\xff\xff",                    // a string of 4 GB
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", // of 2^64 bytes
        b"\x8e\0\0\0\0\0\0\0\x80",               // bytes
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f", // an array of bytes
        b"T\xff\xff\xff\xff",                    // of Python 2
        b"S'never ends",                         // a line without its end
        b"Vnever ends",
        b"cos",
        b"cos\nsystem",
        b"L12345678901234567890",
    ] {
        says(file(&Pickle::new().raw(bytes).0), &["byte 2 of the pickle"]);
    }
    for bytes in [
        b"S'\n".as_slice(),
        b"S\n",
        b"Inone\n",
        b"L-\n",
        b"F1e\n",
        b"0",
        b"1",
        b"2",
        b"t",
        b"R",
        b"\x85",
        b"a",
        b"s",
        b"u",
        b"e",
        b"b",
        b"Q",
        b"Pid\n",
        b"Na",
        b"NNs",
        b"(NNu",
        b"(Nd",
        b"N)R",
        b"N)\x81",
        b"Nb",
        b"]Nb",
        b"(o",
        b"\x82\x01",
        b"\x97",
        b"\x98",
        b"\x80\x06",
        b"\xff",
        b"N\x8f(\x90",
        b"NN\x93",
        b"(N0",
        b"X\x02\0\0\0\xc3\x28",
        b"c\xff\n\xff\n",
        b"",
        b"cA\nB\n)R",
        b"ccollections\nOrderedDict\n)R}b}b",
        b"cA\nB\n)}(NNu\x92",
    ] {
        says(file(&Pickle::new().raw(bytes).0), &["of the pickle"]);
    }
}

#[test]
fn too_much_of_anything_is_refused_in_time() {
    let of = |bytes: &[u8], times| file(&Pickle::new().raw(bytes.repeat(times)).end());
    says(of(b"(", 400_000), &["stack"]);
    says(of(b"N", 400_000), &["stack"]);
    says(of(b"]", 300_000), &["stack"]);
    says(of(b"}0", 3_000_000), &["memory"]);
    says(of(b"cA\nB\n0", 1_500_000), &["memory"]);
    says(of(b"N0", 6_000_000), &["opcodes"]);
    let list = Pickle::new().raw(b"]").raw(b"Na".repeat(5_500_000)).end();
    says(file(&list), &["memory"]);
    let name = "x".repeat(2000);
    says(file(&Pickle::new().global(&name, "y").end()), &["name of a class"]);
    let long = Pickle::new().raw(b"}(").text(&name).one().raw(b"u").end();
    says(file(&long), &["name of more than 1024"]);
    // Many keys with the same dictionary of many keys.
    let inner = |p: Pickle, n: i64| (0..n).fold(p.raw(b"}("), |p, i| p.int(i).raw(b"N")).raw(b"u");
    let many = inner(Pickle::new(), 4000).raw(b"q\0}(");
    let many = (0..4000).fold(many, |p, i| p.text(&format!("k{i}")).raw(b"h\0")).raw(b"u").end();
    says(file(&many), &[]);
    let pairs = (0..4000).fold(Pickle::new().raw(b"]("), |p, _| p.raw(b"NN\x86"));
    let pairs = pairs.raw(b"eq\0").global("collections", "OrderedDict").raw(b"h\0\x85Rq\x01}(");
    let pairs = (0..4000).fold(pairs, |p, i| p.text(&format!("k{i}")).raw(b"h\x01")).raw(b"u");
    says(file(&pairs.end()), &[]);
}

#[test]
fn two_tensors_of_a_name_are_refused() {
    let twice = Pickle::new().raw(b"}(").text("w").one().text("w").one().raw(b"u").end();
    says(file(&twice), &["two tensors", "`w`"]);
    let joined = Pickle::new().raw(b"}(").text("a.0").one().text("a").raw(b"](").one();
    says(file(&joined.raw(b"eu").end()), &["two tensors", "`a.0`"]);
}

#[test]
fn every_prefix_of_a_file_is_refused() {
    for name in ["protocol-3.pt", "protocol-3-legacy.pt"] {
        let whole = std::fs::read(fixtures("pytorch").join(name)).unwrap();
        assert!(pytorch::from_bytes(&whole.clone().into(), None).is_ok());
        for len in 0..whole.len() {
            says(whole[..len].to_vec(), &[]);
        }
    }
}

#[test]
fn archives_that_lie_are_refused() {
    let plain = Pickle::new().raw(b"}(").text("w").one().raw(b"u").end();
    let good = ("archive/data.pkl", plain.as_slice());
    let data = ("archive/data/0", [7; 16].as_slice());
    assert!(pytorch::from_bytes(&archive(&[good, data]).into(), None).is_ok());
    for name in ["../x", "/x", "archive/../../x", "..\\x", "a\0b", "", ".."] {
        says(archive(&[good, data, (name, b"")]), &["as the name of an entry"]);
    }
    says(archive(&[good, data, data]), &["two entries", "archive/data/0"]);
    says(archive(&[good]), &["`w`", "no entry `archive/data/0`"]);
    says(archive(&[good, data, ("other/data.pkl", b"")]), &["two files `data.pkl`"]);
    says(archive(&[("archive/other.pkl", &plain)]), &["no file `data.pkl`"]);
    says(archive(&[("a/b/data.pkl", &plain)]), &["no file `data.pkl`"]);
    says(archive(&[good, data, ("archive/byteorder", b"middle")]), &["`middle`"]);
    says(b"PK\x03\x04".to_vec(), &["too short"]);
    says(b"PK\x05\x06".iter().copied().chain([0; 18]).collect(), &["neither"]);
    says(archive(&[]), &[]);
}

/// Where the central record of the second entry, and the end record, are.
fn parts(bytes: &[u8]) -> (usize, usize) {
    let find = |mark: &[u8]| (0..bytes.len()).rfind(|i| bytes[*i..].starts_with(mark)).unwrap();
    (find(b"PK\x01\x02"), find(b"PK\x05\x06"))
}

#[test]
fn directories_that_do_not_fit_the_archive_are_refused() {
    let plain = Pickle::new().raw(b"}(").text("w").one().raw(b"u").end();
    let good = file(&plain);
    let (record, end) = parts(&good);
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    let far = 0x7fff_ffffu32.to_le_bytes();
    says(with(end + 16, &far), &["directory"]); // where the directory is
    says(with(end + 12, &far), &["directory"]); // how long it is
    says(with(end + 8, &[9, 0, 9, 0]), &[]); // how many entries it has
    says(with(end + 4, &[1, 0]), &["several parts"]);
    says(with(end + 10, &[1, 0]), &["several parts"]);
    says(with(end + 20, &[1, 0]), &["no directory"]); // a comment that is not there
    says(with(record + 42, &far), &["archive/data/0"]); // where the entry is
    says(with(record + 42, &[1, 0, 0, 0]), &["header is not"]);
    says(with(record + 20, &[far, far].concat()), &["header is not"]); // how long it is
    says(with(record + 24, &far), &["16 bytes in the archive"]);
    says(with(record + 8, &[1, 0]), &["encrypted"]);
    says(with(record + 10, &[8, 0]), &["header is not"]);
    says(with(record, b"XX"), &["entry that is none"]);
    // Sizes, places and counts in zip64 fields that are not there.
    let elsewhere = [0xff; 4];
    says(with(record + 42, &elsewhere), &["zip64"]);
    says(with(record + 20, &[0xff; 8]), &["zip64"]);
    says(with(end + 16, &elsewhere), &["zip64"]);
    says(with(end + 12, &elsewhere), &["zip64"]);
    says(with(end + 8, &[0xff; 4]), &["zip64"]);
    // Both entries in the same place: the first one, reaching over the second.
    let (first, second) = (0usize, 30 + "archive/data.pkl".len() + plain.len());
    assert!(good[second..].starts_with(b"PK\x03\x04"));
    let mut overlapping = good.clone();
    let long = u32::try_from(plain.len() + 8).unwrap().to_le_bytes();
    let central = record - 46 - "archive/data.pkl".len();
    for at in [first + 18, first + 22, central + 20, central + 24] {
        overlapping[at..at + 4].copy_from_slice(&long);
    }
    says(overlapping, &["overlap"]);
}

/// The records of zip64 in front of the end record of [`file`].
fn zip64(directory: u64, len: u64, count: u64, at: u64) -> Vec<u8> {
    let plain = Pickle::new().raw(b"}(").text("w").one().raw(b"u").end();
    let mut bytes = file(&plain);
    let (_, end) = parts(&bytes);
    let mut records = b"PK\x06\x06".to_vec();
    records.extend(44u64.to_le_bytes());
    records.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for field in [count, count, len, directory] {
        records.extend(field.to_le_bytes());
    }
    records.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    records.extend(at.to_le_bytes());
    records.extend(1u32.to_le_bytes());
    bytes[end + 8..end + 20].copy_from_slice(&[0xff; 12]);
    bytes.splice(end..end, records);
    bytes
}

#[test]
fn zip64_records_that_lie_are_refused() {
    let plain = file(&Pickle::new().raw(b"}(").text("w").one().raw(b"u").end());
    let (_, end) = parts(&plain);
    let start = u32::from_le_bytes(plain[end + 16..end + 20].try_into().unwrap());
    let (start, end) = (u64::from(start), end as u64);
    let len = end - start;
    assert!(pytorch::from_bytes(&zip64(start, len, 2, end).into(), None).is_ok());
    for (directory, len, count, at) in [
        (start, len, 2, end + 1),
        (start, len, 2, u64::MAX),
        (start, len, 2, u64::MAX - 60),
        (start, u64::MAX, 2, end),
        (u64::MAX, len, 2, end),
        (start, len + 1, 2, end),
        (start, len, u64::MAX, end),
        (start, len, 1 << 40, end),
        (start, len, 3, end),
    ] {
        says(zip64(directory, len, count, at), &[]);
    }
}

#[test]
fn streams_that_lie_are_refused() {
    let plain = Pickle::new().raw(b"}(").text("w").one().raw(b"u").end();
    let data = |count: u64| [count.to_le_bytes().as_slice(), &[7; 16]].concat();
    says(stream(&plain, &["0"], &data(1 << 62)), &["storage `0`", "2^64"]);
    says(stream(&plain, &["0"], &data(1 << 40)), &["storage `0`", "truncated"]);
    says(stream(&plain, &["0"], &data(3)), &["`w`", "12 bytes"]);
    says(stream(&plain, &[], &[]), &["`w`", "no storage `0`"]);
    says(stream(&plain, &["0", "0"], &data(4).repeat(2)), &["twice"]);
    says(stream(&plain, &["1"], &data(4)), &["storage `1`", "no tensor"]);
    let view = |from: i64, len: i64| {
        let id = |p: Pickle| {
            let id = p.raw(b"(").text("storage").global("torch", "FloatStorage").text("0");
            let id = id.text("cpu").int(4).raw(b"(").text("view").int(from).int(len);
            id.raw(b"ttQ")
        };
        let call = Pickle::new().raw(b"}(").text("w").global("torch._utils", "_rebuild_tensor");
        let pickle = id(call.raw(b"(")).int(0).ints(&[1]).ints(&[1]).raw(b"tRu").end();
        stream(&pickle, &["0"], &data(4))
    };
    assert!(pytorch::from_bytes(&view(1, 3).into(), None).is_ok());
    for (from, len) in [(1, 4), (4, 1), (i64::MAX / 4, 1), (-1, 1), (1, -1), (0, i64::MAX)] {
        says(view(from, len), &[]);
    }
    says(
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02K\x07.".to_vec(),
        &["1001"],
    );
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    says(tar, &["tar archive", "old PyTorch"]);
    says(b"GGUF".to_vec(), &["neither"]);
    says(Vec::new(), &["empty"]);
}
