//! The classes and functions a pickle may name, by name: which are read as data, which are refused.
//!
//! Nothing named in a pickle is ever called. What is on none of these lists may be the class of an
//! instance that is kept as plain data; a call of it is refused.

use crate::hub::DType;

/// What [`DType`] a storage class holds.
const STORAGES: &[(&str, DType)] = &[
    ("BoolStorage", DType::Bool),
    ("ByteStorage", DType::U8),
    ("CharStorage", DType::I8),
    ("ShortStorage", DType::I16),
    ("IntStorage", DType::I32),
    ("LongStorage", DType::I64),
    ("HalfStorage", DType::F16),
    ("BFloat16Storage", DType::BF16),
    ("FloatStorage", DType::F32),
    ("DoubleStorage", DType::F64),
    ("ComplexFloatStorage", DType::C64),
    ("ComplexDoubleStorage", DType::C128),
];

/// What [`DType`] a `torch.dtype` is.
const DTYPES: &[(&str, DType)] = &[
    ("bool", DType::Bool),
    ("uint8", DType::U8),
    ("int8", DType::I8),
    ("int16", DType::I16),
    ("short", DType::I16),
    ("int32", DType::I32),
    ("int", DType::I32),
    ("int64", DType::I64),
    ("long", DType::I64),
    ("uint16", DType::U16),
    ("uint32", DType::U32),
    ("uint64", DType::U64),
    ("float16", DType::F16),
    ("half", DType::F16),
    ("bfloat16", DType::BF16),
    ("float32", DType::F32),
    ("float", DType::F32),
    ("float64", DType::F64),
    ("double", DType::F64),
    ("float8_e4m3fn", DType::F8E4M3),
    ("float8_e4m3fnuz", DType::F8E4M3Fnuz),
    ("float8_e5m2", DType::F8E5M2),
    ("float8_e5m2fnuz", DType::F8E5M2Fnuz),
    ("float8_e8m0fnu", DType::F8E8M0),
    ("complex64", DType::C64),
    ("complex128", DType::C128),
];

/// Functions that make tensors.
const TENSORS: &[&str] = &[
    "torch._tensor._rebuild_from_type",
    "torch._tensor._rebuild_from_type_v2",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    "torch._utils._rebuild_device_tensor_from_numpy",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_nested_tensor",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_sparse_csr_tensor",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_wrapper_subclass",
    "torch._utils._rebuild_xla_tensor",
    "torch.tensor._rebuild_from_type",
    "torch.tensor._rebuild_from_type_v2",
];

/// Dictionaries.
const DICTIONARIES: &[&str] =
    &["builtins.dict", "collections.Counter", "collections.OrderedDict", "collections.defaultdict"];

/// Sets.
const SETS: &[&str] = &["builtins.frozenset", "builtins.set"];

/// Calls that make plain data.
const DATA: &[&str] = &[
    "_codecs.encode",
    "argparse.Namespace",
    "builtins.bool",
    "builtins.bytearray",
    "builtins.bytes",
    "builtins.complex",
    "builtins.float",
    "builtins.int",
    "builtins.list",
    "builtins.object",
    "builtins.range",
    "builtins.slice",
    "builtins.str",
    "builtins.tuple",
    "collections.deque",
    "copyreg.__newobj__",
    "copyreg._reconstructor",
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "datetime.timedelta",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib.WindowsPath",
    "torch.Size",
    "torch.Tensor",
    "torch.device",
    "torch.dtype",
    "torch.nn.parameter.Buffer",
    "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
    "torch.storage._load_from_bytes",
];

/// TorchScript's own lists and tags.
const TORCHSCRIPT: &str = "torch.jit._pickle.";

/// Modules of Python that a model has no reason to name, from which code is run or files are reached.
const REFUSED: &[&str] = &[
    "_io",
    "_pickle",
    "_posixsubprocess",
    "_thread",
    "asyncio",
    "bdb",
    "cProfile",
    "cffi",
    "code",
    "codeop",
    "commands",
    "ctypes",
    "distutils",
    "dill",
    "cloudpickle",
    "ftplib",
    "gc",
    "http",
    "httplib",
    "imp",
    "importlib",
    "inspect",
    "io",
    "joblib",
    "linecache",
    "marshal",
    "multiprocessing",
    "nt",
    "ntpath",
    "os",
    "pdb",
    "pickle",
    "cPickle",
    "pip",
    "pkgutil",
    "platform",
    "popen2",
    "posix",
    "posixpath",
    "profile",
    "pty",
    "pydoc",
    "requests",
    "runpy",
    "shelve",
    "shutil",
    "signal",
    "site",
    "smtplib",
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "sysconfig",
    "telnetlib",
    "tempfile",
    "threading",
    "timeit",
    "trace",
    "tty",
    "urllib",
    "urllib2",
    "venv",
    "webbrowser",
    "zipimport",
];

/// Python 3's name of a module that Python 2 called otherwise.
pub(super) fn modern_module(module: &str) -> &str {
    match module {
        "__builtin__" => "builtins",
        "copy_reg" => "copyreg",
        "UserDict" | "UserList" => "collections",
        module => module,
    }
}

/// Whether the name alone is refused, wherever it stands.
pub(super) fn is_refused(name: &str) -> bool {
    let module = name.split('.').next().unwrap_or(name);
    REFUSED.contains(&module) || (module == "builtins" && !is_callable(name))
}

/// Whether a call of it is read as data.
pub(super) fn is_callable(name: &str) -> bool {
    is_tensor(name)
        || is_dictionary(name)
        || is_set(name)
        || DATA.contains(&name)
        || name.starts_with(TORCHSCRIPT)
}

/// Whether it makes a tensor.
pub(super) fn is_tensor(name: &str) -> bool {
    TENSORS.contains(&name)
}

/// Whether it makes a dictionary.
pub(super) fn is_dictionary(name: &str) -> bool {
    DICTIONARIES.contains(&name)
}

/// Whether it makes a set.
pub(super) fn is_set(name: &str) -> bool {
    SETS.contains(&name)
}

/// Whether it is a class of a TorchScript archive.
pub(super) fn is_torchscript(name: &str) -> bool {
    name.starts_with("__torch__.")
}

/// What a storage class holds; `Some(None)` for bytes without a type.
pub(super) fn storage(name: &str) -> Option<Option<DType>> {
    let class = name.strip_prefix("torch.")?;
    let class = class.strip_prefix("cuda.").or(class.strip_prefix("storage.")).unwrap_or(class);
    if matches!(class, "UntypedStorage" | "_UntypedStorage") {
        return Some(None);
    }
    STORAGES.iter().find(|(n, _)| *n == class).map(|(_, dtype)| Some(*dtype))
}

/// The storage class that holds a type, without its module.
pub(super) fn storage_of(dtype: DType) -> Option<&'static str> {
    STORAGES.iter().find(|(_, d)| *d == dtype).map(|(name, _)| *name)
}

/// What a `torch.dtype` is.
pub(super) fn dtype(name: &str) -> Option<DType> {
    let name = name.strip_prefix("torch.")?;
    DTYPES.iter().find(|(n, _)| *n == name).map(|(_, dtype)| *dtype)
}

/// The `torch.dtype` of a type, without its module.
pub(super) fn dtype_of(dtype: DType) -> Option<&'static str> {
    DTYPES.iter().find(|(_, d)| *d == dtype).map(|(name, _)| *name)
}
