//! Tensors as pickles describe them: the calls that would make them, read as data.

use super::globals;
use super::pickle::RESAVE;
use super::storage::{self, Storages, View};
use super::value::{Node, Pickle, Value};
use crate::error::{Error, Result};
use crate::hub::{DType, Tensor};

/// How many wrappers may stand around a tensor.
const WRAPPERS: u32 = 8;

/// Whether a value is a tensor, of whatever kind.
pub(super) fn is_tensor(pickle: &Pickle<'_>, value: Value) -> bool {
    pickle.call(value).is_some_and(|(callee, _)| globals::is_tensor(callee))
}

/// Reads a tensor.
pub(super) fn read(pickle: &Pickle<'_>, storages: &dyn Storages, value: Value) -> Result<Tensor> {
    let (callee, args) = pickle.call(value).ok_or_else(|| Error::bug("no tensor"))?;
    unwrap(pickle, storages, callee, args, WRAPPERS)
}

fn unwrap(
    pickle: &Pickle<'_>,
    storages: &dyn Storages,
    callee: &str,
    args: &[Value],
    left: u32,
) -> Result<Tensor> {
    let malformed = || Error::malformed(format!("`{callee}` with other arguments than it takes"));
    let left = left
        .checked_sub(1)
        .ok_or_else(|| Error::malformed("a tensor wrapped more often than any is"))?;
    let short = callee.rsplit('.').next().unwrap_or(callee);
    match (short, args) {
        ("_rebuild_tensor", [storage, offset, shape, strides]) => {
            dense(pickle, storages, *storage, [*offset, *shape, *strides], None)
        }
        ("_rebuild_tensor_v2", [storage, offset, shape, strides, rest @ ..]) => {
            plain(pickle, rest.get(2).copied())?;
            dense(pickle, storages, *storage, [*offset, *shape, *strides], None)
        }
        ("_rebuild_tensor_v3", [storage, offset, shape, strides, _, _, dtype, rest @ ..]) => {
            plain(pickle, rest.first().copied())?;
            let name = pickle.global(*dtype).ok_or_else(malformed)?;
            let dtype = globals::dtype(name).ok_or_else(|| {
                Error::unsupported(format!("elements of the type `{name}`")).hint(RESAVE)
            })?;
            dense(pickle, storages, *storage, [*offset, *shape, *strides], Some(dtype))
        }
        ("_rebuild_parameter" | "_rebuild_parameter_with_state", [inner, ..]) => {
            let (callee, args) = pickle.call(*inner).ok_or_else(malformed)?;
            unwrap(pickle, storages, callee, args, left)
        }
        ("_rebuild_from_type_v2" | "_rebuild_from_type", [function, class, args, ..]) => {
            let class = pickle.global(*class).ok_or_else(malformed)?;
            if !is_tensor_class(class) {
                return Err(Error::unsupported(format!("a tensor of the class `{class}`"))
                    .hint("save plain tensors: `tensor.as_subclass(torch.Tensor)`"));
            }
            let callee = pickle.global(*function).ok_or_else(malformed)?;
            let args = pickle.tuple(*args).ok_or_else(malformed)?;
            unwrap(pickle, storages, callee, args, left)
        }
        (
            "_rebuild_tensor"
            | "_rebuild_tensor_v2"
            | "_rebuild_tensor_v3"
            | "_rebuild_parameter"
            | "_rebuild_parameter_with_state"
            | "_rebuild_from_type"
            | "_rebuild_from_type_v2",
            _,
        ) => Err(malformed()),
        _ => Err(unsupported(callee)),
    }
}

fn is_tensor_class(name: &str) -> bool {
    matches!(
        name,
        "torch.Tensor"
            | "torch._tensor.Tensor"
            | "torch.tensor.Tensor"
            | "torch.nn.parameter.Parameter"
            | "torch.nn.parameter.Buffer"
    )
}

/// Refuses the bits that say a tensor's values are to be conjugated or negated.
fn plain(pickle: &Pickle<'_>, metadata: Option<Value>) -> Result<()> {
    let Some(metadata) = metadata.filter(|m| *m != Value::None) else { return Ok(()) };
    let entries = pickle.entries(metadata);
    if entries.is_some_and(|all| all.iter().all(|(_, value)| *value == Value::Bool(false))) {
        return Ok(());
    }
    Err(Error::unsupported("a tensor whose values are to be conjugated or negated")
        .hint("save `tensor.resolve_conj().resolve_neg()`"))
}

fn unsupported(callee: &str) -> Error {
    match callee.rsplit('.').next().unwrap_or(callee) {
        "_rebuild_qtensor" => Error::unsupported("a tensor that PyTorch quantized")
            .hint("save the model before it is quantized, or `tensor.dequantize()`"),
        "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => {
            Error::unsupported("a sparse tensor").hint("save `tensor.to_dense()`")
        }
        "_rebuild_meta_tensor_no_storage" => {
            Error::unsupported("a tensor without data, on the device `meta`")
                .hint("save the model after its weights are loaded")
        }
        _ => Error::unsupported(format!("a tensor made by `{callee}`")).hint(RESAVE),
    }
}

/// A dense tensor in a storage: offset, shape, strides in elements. `dtype` is the storage's unless
/// given.
fn dense(
    pickle: &Pickle<'_>,
    storages: &dyn Storages,
    storage: Value,
    [offset, shape, strides]: [Value; 3],
    dtype: Option<DType>,
) -> Result<Tensor> {
    let id = match pickle.node(storage) {
        Some(Node::Persistent(id)) => storage::storage_id(pickle, *id)?,
        _ => match pickle.call(storage) {
            Some(("torch.storage._load_from_bytes", _)) => {
                return Err(Error::unsupported("a storage pickled inside of the pickle")
                    .hint("save with `torch.save`, not with the module `pickle`"));
            }
            _ => return Err(Error::malformed("a tensor without a storage")),
        },
    };
    let dtype = dtype.or(id.dtype).unwrap_or(DType::U8);
    if matches!(dtype, DType::C64 | DType::C128) {
        return Err(Error::unsupported("a tensor of complex numbers")
            .hint("save `torch.view_as_real(tensor)`"));
    }
    let offset = match offset {
        Value::Int(n) => u64::try_from(n).ok(),
        _ => None,
    };
    let offset = offset.ok_or_else(|| Error::malformed("an offset that is none"))?;
    let shape = storage::lengths(pickle, shape, "a shape")?;
    let strides = storage::lengths(pickle, strides, "strides")?;
    let mut storage = storages.storage(&id)?;
    storage.dtype = id.dtype;
    storage::tensor(&storage, View { dtype, offset, shape, strides })
}
