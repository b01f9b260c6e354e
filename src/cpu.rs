//! What this build expects of the processor.

/// The features of x86-64-v3, and pclmulqdq, that this build was compiled for and this processor lacks.
#[cfg(target_arch = "x86_64")]
pub(crate) fn missing_features() -> Option<&'static str> {
    [
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("BMI2", std::arch::is_x86_feature_detected!("bmi2")),
        ("FMA", std::arch::is_x86_feature_detected!("fma")),
        ("F16C", std::arch::is_x86_feature_detected!("f16c")),
        ("LZCNT", std::arch::is_x86_feature_detected!("lzcnt")),
        ("MOVBE", std::arch::is_x86_feature_detected!("movbe")),
        ("PCLMULQDQ", std::arch::is_x86_feature_detected!("pclmulqdq")),
    ]
    .into_iter()
    .find_map(|(name, present)| (!present).then_some(name))
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn missing_features() -> Option<&'static str> {
    None
}
