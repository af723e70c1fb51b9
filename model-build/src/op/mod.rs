//! Operators: typed view, shape inference. One file per op or family of ops with one rule.
