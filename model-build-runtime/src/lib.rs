//! What a program that ships models built by model-build links.
//!
//! ```ignore
//! model_build_runtime::include_model!("digits.int8");
//! use model_build_runtime::Tensor;
//!
//! let model = DigitsInt8::load()?;
//! let pixel_values = Tensor::new([1, 1, 8, 8], pixels)?;
//! let out = model.run(&DigitsInt8Inputs { pixel_values })?;
//! println!("{:?} {:?}", out.logits.shape(), out.logits.data());
//! ```
//!
//! | feature | gives |
//! |---|---|
//! | `rten` (default) | a backend that is compiled in |
//! | `ort` | ONNX Runtime, a library found at run time |
//! | `half` | f16 and bf16 tensors; part of both backends |
//! | `sidecar` | artifacts beside the executable (`embed = "file"`, or above 1 GB) |
//!
//! Weights are not copied: both backends compute from the bytes in the executable, except tensors
//! whose type the backend lacks (rten: i64, bool, f16 and f64 weights are converted at load).
#![deny(unsafe_code)] // mapping a sidecar and borrowed values of ONNX Runtime are the exceptions

mod artifact;
mod backend;
mod error;
mod metadata;
#[cfg(any(feature = "rten", feature = "ort"))]
mod onnx;
mod session;
mod sidecar;
mod tensor;

pub use artifact::Artifact;
pub use error::{Error, ErrorKind};
#[cfg(feature = "half")]
pub use half;
pub use metadata::{Dim, Metadata, Port};
pub use model_build_macros::include_model;
pub use session::{Backend, LoadOptions, Model, Session};
pub use sidecar::Check;
pub use tensor::{DType, Element, Tensor};

/// What generated text uses, and nobody else: it changes with any version.
#[doc(hidden)]
pub mod __private {
    pub use crate::artifact::{File, Payload, file_bytes, main_bytes};
    pub use crate::session::Values;
    pub use crate::sidecar::Sidecar;
    pub use crate::tensor::View;

    /// The form of generated text that this version understands.
    pub const TEXT: u32 = 1;

    /// Bytes at an address that suits every element type and cache line.
    #[repr(C, align(64))]
    pub struct Aligned<B: ?Sized>(pub B);
}

// These expand to `unsafe` items; a crate that forbids unsafe code may use them all the same, as
// lints do not look into macros of other crates.

/// A small file, by its path relative to the generated text.
#[doc(hidden)]
#[macro_export]
macro_rules! __include {
    ($path:literal) => {{
        static DATA: &$crate::__private::Aligned<[u8]> =
            &$crate::__private::Aligned(*::core::include_bytes!($path));
        $crate::__private::Payload::Embedded(&DATA.0)
    }};
}

/// A file that stands in an object file, by its symbol, which is the library's name too, and
/// length. The library is linked, and not copied into the crate's own.
#[doc(hidden)]
#[macro_export]
macro_rules! __linked {
    ($symbol:literal, $len:literal) => {{
        #[link(name = $symbol, kind = "static", modifiers = "-bundle")]
        unsafe extern "C" {
            #[link_name = $symbol]
            static DATA: $crate::__private::Aligned<[u8; $len]>;
        }
        // SAFETY: model-build defines the symbol with that many bytes, read-only and aligned to at
        // least 64; the name holds the digest of the bytes.
        $crate::__private::Payload::Embedded(unsafe { &DATA.0 })
    }};
}

/// A file that [`__assemble`] put into this crate, by its symbol and length.
#[doc(hidden)]
#[macro_export]
macro_rules! __assembled {
    ($symbol:literal, $len:literal) => {{
        unsafe extern "C" {
            #[link_name = $symbol]
            static DATA: $crate::__private::Aligned<[u8; $len]>;
        }
        // SAFETY: as for `__linked`; the text that defines the symbol stands beside this one.
        $crate::__private::Payload::Embedded(unsafe { &DATA.0 })
    }};
}

/// Lines of assembly that define a symbol.
#[doc(hidden)]
#[macro_export]
macro_rules! __assemble {
    ($($line:literal),+ $(,)?) => {
        ::core::arch::global_asm!($($line,)+ options(raw));
    };
}

#[cfg(test)]
mod tests {
    use super::__private::Aligned;

    #[test]
    fn included_bytes_are_aligned_for_every_element_type() {
        static DATA: &Aligned<[u8]> = &Aligned(*b"odd");
        assert!(DATA.0.as_ptr().addr().is_multiple_of(64));
        assert_eq!(&DATA.0, b"odd");
        assert_eq!(size_of_val(DATA), 64);
    }
}
