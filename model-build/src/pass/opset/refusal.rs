//! Why a graph cannot be of an older operator set: the closed list of obstacles.

use std::fmt;

use crate::error::Error;

/// What stands in the way of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// The operator does not exist in that version and is not made of others here.
    NoOperator,
    /// The older definition does not take an element type in use.
    ElementType,
    /// The older definition lacks what an attribute, an input or an output asks for.
    Feature,
    /// The older definition takes as an attribute what is computed when the model runs.
    NotConstant,
    /// What must be known of a value's type or shape is not known.
    UnknownType,
}

impl Refusal {
    /// Every kind.
    pub const ALL: &'static [Self] =
        &[Self::NoOperator, Self::ElementType, Self::Feature, Self::NotConstant, Self::UnknownType];
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOperator => "no operator",
            Self::ElementType => "element type",
            Self::Feature => "feature missing",
            Self::NotConstant => "not a constant",
            Self::UnknownType => "type unknown",
        })
    }
}

impl std::error::Error for Refusal {}

/// The kind of obstacle an error of [`convert`](super::convert) names; `None` for errors that are not
/// about what an operator set can say.
pub fn refusal(error: &Error) -> Option<Refusal> {
    std::error::Error::source(error)?.downcast_ref::<Refusal>().copied()
}
