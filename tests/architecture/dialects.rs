//! What a dialect may be: short, without a price, and unknown to all but the registry and the configuration.

use super::{read, sources};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FOLDER: &str = "src/core/dialect";
const REGISTRY: &str = "src/core/dialect/families.rs";
const LINES_MAX: usize = 400;

/// Who may name a dialect besides: what configures them, what they speak over HTTP, and the headers that go up, whoever reads them.
const KNOWING: [&str; 4] = ["src/config.rs", "src/config/", "src/core/api/", "src/core/http/pass.rs"];
/// Names that are words of their own.
const WORDS: [&str; 3] = ["openai", "duration", "Duration"];

/// What of a file is neither test nor comment.
fn code(file: &Path) -> String {
    let source = read(file);
    let product = source.split("#[cfg(test)]").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    product.lines().filter(is_code).map(|line| format!("{line}\n")).collect()
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs")
}

fn dialect_files() -> Vec<PathBuf> {
    let all = sources().into_iter();
    all.filter(|file| file.starts_with(FOLDER) && !is_test(file) && file != Path::new(REGISTRY)).collect()
}

/// The types that are dialects, and the families that a configuration may name.
fn names() -> BTreeSet<String> {
    let of_types = dialect_files().into_iter().flat_map(|file| {
        let code = code(&file);
        let named = code.split("impl Dialect for ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        named.map(str::to_owned).collect::<Vec<_>>()
    });
    let registry = code(Path::new(REGISTRY));
    let of_families =
        registry.split("name: \"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned);
    let all: BTreeSet<String> = of_types.chain(of_families).collect();
    all.into_iter().filter(|name| !WORDS.contains(&name.as_str())).collect()
}

#[test]
fn a_dialect_is_short_and_knows_no_price() {
    for file in dialect_files() {
        let source = read(&file);
        let line_count = source.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
        assert!(line_count <= LINES_MAX, "{} has {line_count} lines", file.display());
        let code = code(&file);
        for price in ["price::", "NanoUsd", "PricePerMillion"] {
            assert!(!code.contains(price), "{} knows a price: {price}", file.display());
        }
    }
}

#[test]
fn a_dialect_is_named_by_nobody_but_the_registry_and_the_configuration() {
    let names = names();
    assert!(names.contains("GptLive") && names.contains("deepgram") && names.len() > 15, "{names:?}");
    let knows = |file: &Path| {
        file.starts_with(FOLDER) || KNOWING.iter().any(|who| file.display().to_string().starts_with(who))
    };
    let product = sources().into_iter().filter(|file| file.starts_with("src") || file.starts_with("admin"));
    for file in product.filter(|file| !is_test(file) && !knows(file)) {
        let code = code(&file);
        let named: Vec<_> = names.iter().filter(|name| code.contains(name.as_str())).collect();
        assert!(named.is_empty(), "{} names {named:?}", file.display());
    }
}
