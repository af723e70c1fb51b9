//! ggml's reference quantizer, loaded at run time: the oracle of block types.
//!
//! `scripts/fetch-oracles.sh` fetches it; `GGML_DYLIB_PATH` names `libggml-base.so`.

use std::ffi::{c_int, c_void};
use std::path::PathBuf;

use libloading::{Library, Symbol};

type Quantize =
    unsafe extern "C" fn(c_int, *const f32, *mut c_void, i64, i64, i64, *const f32) -> usize;
type ToFloat = unsafe extern "C" fn(*const c_void, *mut f32, i64);

/// `struct ggml_type_traits` of ggml.h.
#[repr(C)]
struct Traits {
    name: *const std::ffi::c_char,
    block_len: i64,
    interleaved: i64,
    block_bytes: usize,
    is_quantized: bool,
    to_float: Option<ToFloat>,
    from_float: *const c_void,
}

/// The loaded library.
pub struct Ggml(Library);

impl Ggml {
    /// The library of `GGML_DYLIB_PATH`; `None` where that is not set.
    pub fn load() -> Option<Self> {
        let path = PathBuf::from(std::env::var_os("GGML_DYLIB_PATH")?);
        // SAFETY: the library is ggml's, whose initializers do nothing but fill tables.
        let library = unsafe { Library::new(&path) };
        Some(Self(library.unwrap_or_else(|e| panic!("{}: {e}", path.display()))))
    }

    /// Encodes rows of `columns` elements. `out` has the room.
    pub fn encode(
        &self,
        id: u32,
        rows: &[f32],
        importance: Option<&[f32]>,
        columns: usize,
        out: &mut [u8],
    ) {
        assert_eq!(rows.len() % columns, 0);
        assert!(importance.is_none_or(|i| i.len() == columns));
        let n = i64::try_from(rows.len() / columns).unwrap();
        // SAFETY: the signature is that of ggml.h; the lengths were checked, the written length is.
        let written = unsafe {
            let quantize: Symbol<'_, Quantize> = self.0.get(b"ggml_quantize_chunk").unwrap();
            let importance = importance.map_or(std::ptr::null(), <[f32]>::as_ptr);
            let columns = i64::try_from(columns).unwrap();
            let out = out.as_mut_ptr().cast();
            quantize(c_int::try_from(id).unwrap(), rows.as_ptr(), out, 0, n, columns, importance)
        };
        assert_eq!(written, out.len());
    }

    /// Decodes blocks.
    pub fn decode(&self, id: u32, blocks: &[u8], out: &mut [f32]) {
        // SAFETY: the layout of the traits is that of ggml.h; the length is checked before the call.
        unsafe {
            let traits: Symbol<'_, unsafe extern "C" fn(c_int) -> *const Traits> =
                self.0.get(b"ggml_get_type_traits").unwrap();
            let traits = &*traits(c_int::try_from(id).unwrap());
            let elements = i64::try_from(out.len()).unwrap();
            let bytes = usize::try_from(elements / traits.block_len).unwrap() * traits.block_bytes;
            assert_eq!(bytes, blocks.len());
            (traits.to_float.unwrap())(blocks.as_ptr().cast(), out.as_mut_ptr(), elements);
        }
    }
}
