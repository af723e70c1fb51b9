//! Recipes: which type each tensor of a GGUF model gets, by a file type's rules or under a budget of
//! bytes; importance matrices; what a build would do, as rows.

mod apply;
mod budget;
mod choose;
mod facts;
pub mod file_type;
mod imatrix;
mod keep;
mod measure;
mod report;
mod rules;
mod size;
mod tensor_type;

pub use apply::{BlockWeights, From, Goal, REVISION, apply, read_importance, unchanged};
pub use budget::{
    BudgetOptions, Budgeted, FAST_LADDER, FULL_LADDER, Target, ladder, within_budget,
};
pub use choose::{Choice, ChooseOptions, Decision, Origin, Override, To, choose, decide};
pub use facts::visit_order;
pub use file_type::{ALL, FileType, Id, by_name, by_number};
pub use imatrix::Importance;
pub use report::{Report, Row, report};
pub use size::parse_size;
pub use tensor_type::TensorType;
