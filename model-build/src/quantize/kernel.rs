//! Which instructions this machine has.

use crate::env;
use crate::hub::Kernel;

impl Kernel {
    /// The kernels that run here, the slowest first; the scalar one always does.
    pub fn available() -> Vec<Self> {
        let mut all = vec![Self::Scalar];
        #[cfg(target_arch = "aarch64")]
        all.push(Self::Neon);
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2") {
                all.push(Self::Avx2);
            }
            if ["avx512f", "avx512bw", "avx512dq", "avx512vl"].iter().all(|name| detected(name)) {
                all.push(Self::Avx512);
            }
        }
        all
    }

    /// The lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The fastest kernel that runs here, or the one that `MODEL_BUILD_KERNEL` names if it runs here.
    /// All give the same bytes.
    pub fn best() -> Self {
        let mut all = Self::available();
        let wanted = env::var("MODEL_BUILD_KERNEL");
        let named = all.iter().copied().find(|kernel| wanted.as_deref() == Some(kernel.name()));
        named.or_else(|| all.pop()).unwrap_or(Self::Scalar)
    }
}

#[cfg(target_arch = "x86_64")]
fn detected(name: &str) -> bool {
    match name {
        "avx512f" => std::arch::is_x86_feature_detected!("avx512f"),
        "avx512bw" => std::arch::is_x86_feature_detected!("avx512bw"),
        "avx512dq" => std::arch::is_x86_feature_detected!("avx512dq"),
        "avx512vl" => std::arch::is_x86_feature_detected!("avx512vl"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scalar_kernel_is_always_there() {
        assert_eq!(Kernel::available()[0], Kernel::Scalar);
    }
}
