//! ONNX's numbers and type messages ↔ the hub's `DType` and `Type`.

use prost::Message;

use super::proto;
use crate::error::{Error, Result};
use crate::hub::{DType, Dim, Type};

/// The element type of ONNX's number, or an error.
pub(super) fn dtype(number: i32) -> Result<DType> {
    DType::of_number(number.into()).ok_or_else(|| match number {
        0 => Error::malformed("the element type is missing"),
        _ => Error::unsupported(format!("ONNX element type number {number} is unknown here"))
            .hint("the model was made for a newer version of ONNX: update model-build"),
    })
}

/// ONNX's number of an element type; it has one for each.
pub(super) fn number(dtype: DType) -> i32 {
    i32::try_from(dtype.number()).unwrap_or(0)
}

/// A type as the hub holds it, and whether that holds all of it.
pub(super) struct Known {
    /// `None` when the message says nothing of the type.
    pub(super) ty: Option<Type>,
    /// Whether [`to_proto`] of `ty` means the same as the message.
    pub(super) whole: bool,
}

/// Reads a type message.
pub(super) fn from_proto(message: &proto::Type) -> Result<Known> {
    let mut whole = message.denotation.is_empty();
    let mut inner = |of: Option<&proto::Type>| -> Result<Option<Box<Type>>> {
        let Some(of) = of else {
            whole = false;
            return Ok(None);
        };
        let known = from_proto(of)?;
        whole &= known.whole && known.ty.is_some();
        Ok(known.ty.map(Box::new))
    };
    let ty = match &message.value {
        None => None,
        Some(proto::TypeValue::Tensor(t)) => {
            let (dtype, shape) = tensor_type(t, &mut whole)?;
            dtype.map(|dtype| Type::Tensor { dtype, shape })
        }
        Some(proto::TypeValue::SparseTensor(t)) => {
            let (dtype, shape) = tensor_type(t, &mut whole)?;
            dtype.map(|dtype| Type::Sparse { dtype, shape })
        }
        Some(proto::TypeValue::Sequence(t)) => inner(t.elem_type.as_deref())?.map(Type::Sequence),
        Some(proto::TypeValue::Optional(t)) => inner(t.elem_type.as_deref())?.map(Type::Optional),
        Some(proto::TypeValue::Map(t)) => match (t.key_type, inner(t.value_type.as_deref())?) {
            (0, _) | (_, None) => {
                whole = false;
                None
            }
            (key, Some(value)) => Some(Type::Map(dtype(key)?, value)),
        },
        Some(proto::TypeValue::Opaque(t)) => {
            Some(Type::Opaque { domain: t.domain.clone(), name: t.name.clone() })
        }
    };
    Ok(Known { ty, whole })
}

fn tensor_type(
    message: &proto::TensorType,
    whole: &mut bool,
) -> Result<(Option<DType>, Option<Vec<Dim>>)> {
    let shape = match &message.shape {
        None => None,
        Some(shape) => Some(
            shape
                .dim
                .iter()
                .map(|d| {
                    *whole &= d.denotation.is_empty();
                    dim(d, whole)
                })
                .collect::<Result<Vec<_>>>()?,
        ),
    };
    let dtype = match message.elem_type {
        0 => {
            *whole = false;
            None
        }
        number => Some(dtype(number)?),
    };
    Ok((dtype, shape))
}

fn dim(message: &proto::Dimension, whole: &mut bool) -> Result<Dim> {
    Ok(match &message.value {
        None => Dim::Unknown,
        Some(proto::DimensionValue::Param(name)) if name.is_empty() => Dim::Unknown,
        Some(proto::DimensionValue::Param(name)) => Dim::symbol(name),
        // ONNX Runtime and the exporters that write it take -1 for "unknown".
        Some(proto::DimensionValue::Value(-1)) => {
            *whole = false;
            Dim::Unknown
        }
        Some(proto::DimensionValue::Value(n)) => Dim::Fixed(
            u64::try_from(*n)
                .map_err(|_| Error::malformed(format!("a dimension of {n} in a type")))?,
        ),
    })
}

/// Writes a type message. An error when a dimension passes what ONNX can hold.
pub(super) fn to_proto(ty: &Type) -> Result<proto::Type> {
    let boxed = |of: &Type| to_proto(of).map(|t| Some(Box::new(t)));
    let value = match ty {
        Type::Tensor { dtype, shape } => {
            proto::TypeValue::Tensor(tensor_to_proto(*dtype, shape.as_deref())?)
        }
        Type::Sparse { dtype, shape } => {
            proto::TypeValue::SparseTensor(tensor_to_proto(*dtype, shape.as_deref())?)
        }
        Type::Sequence(of) => {
            proto::TypeValue::Sequence(Box::new(proto::ElementType { elem_type: boxed(of)? }))
        }
        Type::Optional(of) => {
            proto::TypeValue::Optional(Box::new(proto::ElementType { elem_type: boxed(of)? }))
        }
        Type::Map(key, of) => proto::TypeValue::Map(Box::new(proto::MapType {
            key_type: number(*key),
            value_type: boxed(of)?,
        })),
        Type::Opaque { domain, name } => proto::TypeValue::Opaque(proto::OpaqueType {
            domain: domain.clone(),
            name: name.clone(),
        }),
    };
    Ok(proto::Type { value: Some(value), denotation: String::new() })
}

fn tensor_to_proto(dtype: DType, shape: Option<&[Dim]>) -> Result<proto::TensorType> {
    let dim = |dim: &Dim| {
        Ok(proto::Dimension {
            value: match dim {
                Dim::Fixed(n) => Some(proto::DimensionValue::Value(length(*n)?)),
                Dim::Symbol(name) => Some(proto::DimensionValue::Param(name.to_string())),
                Dim::Unknown => None,
            },
            denotation: String::new(),
        })
    };
    let shape = match shape {
        None => None,
        Some(dims) => {
            Some(proto::TensorShape { dim: dims.iter().map(dim).collect::<Result<_>>()? })
        }
    };
    Ok(proto::TensorType { elem_type: number(dtype), shape })
}

/// A length as ONNX holds it.
pub(super) fn length(n: u64) -> Result<i64> {
    i64::try_from(n).map_err(|_| {
        Error::unsupported(format!("a dimension of {n} is more than an ONNX file can hold"))
    })
}

/// The type message of a value: the exact one that was read if it still means `ty`.
pub(super) fn encode(
    ty: Option<&Type>,
    exact: Option<&bytes::Bytes>,
) -> Result<Option<proto::Type>> {
    if let Some(exact) = exact
        && let Ok(message) = proto::Type::decode(exact.clone())
        && from_proto(&message)?.ty.as_ref() == ty
    {
        return Ok(Some(message));
    }
    ty.map(to_proto).transpose()
}
