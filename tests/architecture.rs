//! The walls between the crates and within them: who may import whom, what the core may not know, that modules form no
//! circle, that functions are short, and that every file is in use.

#[path = "architecture/dialects.rs"]
mod dialects;
#[path = "architecture/functions.rs"]
mod functions;
#[path = "architecture/modules.rs"]
mod modules;
#[path = "architecture/tokens.rs"]
mod tokens;

use functions::functions;
use modules::{Circle, Crate};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a crate of ours may depend on, tests and benches aside: of ours these and no other, and none of those.
struct Wall {
    package: &'static str,
    ours: &'static [&'static str],
    outside: Outside,
}

enum Outside {
    Only(&'static [&'static str]),
    Never(&'static [&'static str]),
}

const WALLS: [Wall; 9] = [
    Wall {
        package: "tokenist-core",
        ours: &[],
        outside: Outside::Only(&[
            "base64",
            "brotli-decompressor",
            "crc32fast",
            "flate2",
            "httparse",
            "memchr",
            "serde",
            "serde_json",
            "sonic-rs",
            "unicode-normalization",
        ]),
    },
    Wall {
        package: "tokenist-handoff",
        ours: &["tokenist-core"],
        outside: Outside::Only(&["arc-swap", "crossbeam", "libc"]),
    },
    Wall {
        package: "tokenist-proxy",
        ours: &["tokenist-core", "tokenist-handoff"],
        outside: Outside::Never(&["tokio", "axum", "hyper", "rusqlite", "mongodb", "redis", "parking_lot"]),
    },
    Wall {
        package: "tokenist-control",
        ours: &["tokenist-core", "tokenist-handoff"],
        outside: Outside::Never(&["monoio", "axum", "hyper"]),
    },
    Wall {
        package: "tokenist-admin",
        ours: &["tokenist-core", "tokenist-control"],
        outside: Outside::Never(&["monoio", "rusqlite", "mongodb", "redis"]),
    },
    Wall {
        package: "tokenist",
        ours: &["tokenist-core", "tokenist-handoff", "tokenist-proxy", "tokenist-control", "tokenist-admin"],
        outside: Outside::Never(&["monoio", "axum", "hyper", "rusqlite", "mongodb", "redis"]),
    },
    Wall { package: "tokload", ours: &["tokenist-core"], outside: Outside::Never(&["tokio", "axum"]) },
    Wall {
        package: "tokenist-simulation",
        ours: &["tokenist-core", "tokenist-handoff", "tokenist-proxy", "tokenist-control"],
        outside: Outside::Only(&["rusqlite"]),
    },
    Wall { package: "tokenist-kit", ours: &[], outside: Outside::Never(&["monoio", "tokio"]) },
];

/// A function may be longer than this many lines once in so many functions; half of all are no longer than that.
const LONG_LINES: usize = 70;
const LONG_ONE_IN: usize = 400;
const MEDIAN_LINES: usize = 7;

/// The only files that may say `unsafe`.
const UNSAFE: [&str; 8] = [
    "bench/link.rs",
    "bench/process.rs",
    "bench/stamp.rs",
    "src/handoff/notifier.rs",
    "src/proxy/io/allocations.rs",
    "src/proxy/io/buffer.rs",
    "src/proxy/io/shut_down.rs",
    "src/proxy/io/tcp.rs",
];

/// The only files that may ask what time it is on the wall, where clippy refuses it everywhere.
const CLOCKS: [&str; 4] =
    ["bench/clock.rs", "src/control/clock.rs", "src/proxy/clock.rs", "tests/kit/clock.rs"];

/// What the core may not name outside its tests: sockets, files, threads, clocks, the environment, a log.
const IMPURE: [&str; 12] = [
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "std::sync::Mutex",
    "std::sync::mpsc",
    "std::io::",
    "SystemTime",
    "Instant::now",
    "tracing",
    "println!",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn packages() -> Vec<Value> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo can be asked");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).expect("metadata is JSON");
    metadata["packages"].as_array().expect("a list of packages").clone()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Every Rust file of the project, relative to its root.
fn sources() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<_> = ["src", "admin", "bench", "tests"].map(|top| root().join(top)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of ours") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
            let foreign = name.starts_with('.') || ["target", "node_modules"].contains(&name);
            if path.is_dir() && !foreign {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    found
}

fn read(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn no_crate_imports_what_it_may_not_know() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| text(&package["name"])).collect();
    let walled: BTreeSet<&str> = WALLS.iter().map(|wall| wall.package).collect();
    assert_eq!(ours, walled, "every crate of the workspace has its wall here");
    for wall in &WALLS {
        let package = packages.iter().find(|package| package["name"] == wall.package).expect("checked above");
        let dependencies = package["dependencies"].as_array().expect("a list");
        let real = dependencies.iter().filter(|dependency| dependency["kind"] != "dev");
        for name in real.map(|dependency| text(&dependency["name"])) {
            let allowed = match (ours.contains(name), &wall.outside) {
                (true, _) => wall.ours.contains(&name),
                (false, Outside::Only(names)) => names.contains(&name),
                (false, Outside::Never(names)) => !names.contains(&name),
            };
            assert!(allowed, "{} may not depend on {name}", wall.package);
        }
    }
}

#[test]
fn monoio_and_tokio_are_never_named_in_one_crate() {
    for package in packages() {
        let names: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|found| text(&found["name"]))
            .collect();
        let both = names.contains("monoio") && names.contains("tokio");
        assert!(!both, "{} names both runtimes, tests included", package["name"]);
    }
}

/// Modules that lie side by side, each with all beneath it, name each other in one direction only. A module and what lies
/// beneath it may name each other: the one declares and hands on, the other builds on its types. A name that is handed
/// on counts as that of the module which defines it.
#[test]
fn modules_side_by_side_name_each_other_in_one_direction_only() {
    let told = |(package, Circle { modules, edges })| {
        format!("{package} has a circle of {modules:?}:\n{}", edges.join("\n"))
    };
    let found: Vec<String> = packages().iter().flat_map(circles).map(told).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Of a package's library, or its program.
fn circles(package: &Value) -> Vec<(String, Circle)> {
    let targets = package["targets"].as_array().expect("a list");
    let is_product = |kind: &Value| ["lib", "bin"].contains(&text(kind));
    let product =
        targets.iter().find(|target| target["kind"].as_array().expect("a list").iter().any(is_product));
    let root_file = PathBuf::from(text(&product.expect("a library or a program")["src_path"]));
    let mut krate = Crate::default();
    add(&root_file, Place::Root, &[], &mut krate);
    krate.circles().into_iter().map(|circle| (text(&package["name"]).to_owned(), circle)).collect()
}

fn add(file: &Path, place: Place, path: &[String], krate: &mut Crate) {
    for name in krate.add(path, &read(file)) {
        let home = home_of(file, place);
        let flat = home.join(format!("{name}.rs"));
        let (file, place) = match root().join(&flat).exists() {
            true => (flat, Place::Module),
            false => (home.join(&name).join("mod.rs"), Place::Root),
        };
        add(&file, place, &[path, &[name]].concat(), krate);
    }
}

#[test]
fn functions_are_short() {
    let all: Vec<(String, usize)> = sources()
        .iter()
        .filter(|file| file.starts_with("src"))
        .flat_map(|file| {
            let functions = functions(&read(file)).into_iter();
            let named = move |function: functions::Function| {
                (format!("{}: {}", file.display(), function.name), function.line_count)
            };
            functions.map(named)
        })
        .collect();
    let mut lengths: Vec<usize> = all.iter().map(|(_, line_count)| *line_count).collect();
    lengths.sort_unstable();
    let (count, median) = (lengths.len(), lengths[lengths.len() / 2]);
    let long: Vec<_> = all.iter().filter(|(_, line_count)| *line_count > LONG_LINES).collect();
    let percent = 100.0 * long.len() as f64 / count as f64;
    eprintln!(
        "{count} functions in src, of {median} lines at the median; {} ({percent:.2} %) over {LONG_LINES}",
        long.len()
    );
    assert!(median <= MEDIAN_LINES, "half of all functions are longer than {median} lines");
    assert!(long.len() * LONG_ONE_IN <= count, "too many are over {LONG_LINES} lines: {long:#?}");
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for package in packages() {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let manifest = fs::read_to_string(manifest).expect("a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} sets its own lints", package["name"]);
    }
}

/// Whoever registers into an org reads its usage, so a kind that is kept for orgs and forgotten there gives them away.
#[test]
fn every_kind_of_the_catalog_is_asked_whether_it_makes_an_org_known() {
    let asked = read(Path::new("admin/account.rs"));
    let mut kinds = BTreeSet::new();
    let is_test = |file: &PathBuf| file.components().any(|part| part.as_os_str() == "tests");
    for file in sources().into_iter().filter(|file| !is_test(file)) {
        let source = read(&file);
        let real = source.split("#[cfg(test)]").next().unwrap_or_default();
        let kept = real.split("impl Kept for ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        kinds.extend(kept.map(str::to_owned));
    }
    // This file names the words, too.
    kinds.retain(|kind| kind.chars().all(char::is_alphanumeric));
    assert!(kinds.len() >= 7, "{kinds:?}");
    for kind in kinds {
        assert!(
            asked.contains(&format!("is_kept::<{kind}>(")),
            "known_org in admin/account.rs forgets {kind}"
        );
    }
}

#[test]
fn every_file_is_part_of_some_crate() {
    let mut included = BTreeSet::new();
    for package in packages() {
        for target in package["targets"].as_array().expect("a list") {
            let file = fs::canonicalize(text(&target["src_path"])).expect("a target has a file");
            let root = fs::canonicalize(root()).expect("the root is there");
            let file = file.strip_prefix(root).expect("targets are below the root").to_owned();
            include(file, Place::Root, &mut included);
        }
    }
    let fuzz = read(Path::new("tests/fuzz/Cargo.toml"));
    let orphans: Vec<_> = sources()
        .into_iter()
        .filter(|file| !included.contains(file))
        // The fuzzers are a workspace of their own.
        .filter(|file| {
            let name = file.strip_prefix("tests/fuzz").ok().and_then(Path::to_str);
            !name.is_some_and(|name| fuzz.contains(&format!("path = \"{name}\"")))
        })
        .collect();
    assert_eq!(orphans, Vec::<PathBuf>::new(), "no module includes these");
}

/// Where a file looks for its modules.
#[derive(Clone, Copy)]
enum Place {
    /// Beside itself: a target's root, or a `mod.rs`.
    Root,
    /// In the folder of its own name.
    Module,
}

fn home_of(file: &Path, place: Place) -> PathBuf {
    let folder = file.parent().expect("a file is in a folder");
    match place {
        Place::Root => folder.to_owned(),
        Place::Module => folder.join(file.file_stem().expect("a file has a name")),
    }
}

fn include(file: PathBuf, place: Place, included: &mut BTreeSet<PathBuf>) {
    if !included.insert(file.clone()) {
        return;
    }
    let folder = file.parent().expect("a file is in a folder").to_owned();
    let home = home_of(&file, place);
    for (name, path) in declared(&read(&file)) {
        let (flat, nested) = (home.join(format!("{name}.rs")), home.join(&name).join("mod.rs"));
        match path {
            Some(path) => include(folder.join(path), Place::Root, included),
            None if root().join(&flat).exists() => include(flat, Place::Module, included),
            None => include(nested, Place::Root, included),
        }
    }
}

/// The modules that a file declares in files of their own, with the path if it names one.
fn declared(source: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut path = None;
    for line in source.lines().map(str::trim) {
        if let Some(named) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            path = Some(named.to_owned());
            continue;
        }
        let words = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod "));
        if let Some((before, name)) = words {
            let visible = before.is_empty() || (before.starts_with("pub") && before.ends_with(' '));
            if visible && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
                found.push((name.to_owned(), path.take()));
            }
        }
    }
    found
}

#[test]
fn unsafe_is_where_it_may_be_and_nowhere_else() {
    let this = Path::new(file!());
    let found: BTreeSet<String> = sources()
        .into_iter()
        // In quotes it is a word of a browser's policy.
        .filter(|file| file != this && read(file).replace("'unsafe-inline'", "").contains("unsafe"))
        .map(|file| file.display().to_string())
        .collect();
    assert_eq!(found, UNSAFE.map(String::from).into(), "left: found, right: allowed");
}

#[test]
fn the_wall_clock_is_asked_in_one_file_of_a_crate() {
    let this = Path::new(file!());
    let waived = ["disallowed_methods", "clippy::style", "clippy::all"];
    let found: BTreeSet<String> = sources()
        .into_iter()
        .filter(|file| file != this)
        .filter(|file| {
            let source = read(file);
            source.contains("SystemTime") || waived.iter().any(|lint| source.contains(lint))
        })
        .map(|file| file.display().to_string())
        .collect();
    assert_eq!(found, CLOCKS.map(String::from).into(), "left: found, right: allowed");
    let refused = read(Path::new("clippy.toml"));
    assert!(refused.contains("std::time::SystemTime::now"), "clippy lets everybody ask");
}

#[test]
fn the_core_knows_no_socket_file_thread_or_clock() {
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for file in
        sources().iter().filter(|file| file.starts_with("src/core") && !file.starts_with("src/core/tests"))
    {
        let source = read(file);
        let product = source.split("#[cfg(test)]").next().expect("the part before its tests");
        let named: Vec<_> = IMPURE.into_iter().filter(|name| product.contains(name)).collect();
        if !named.is_empty() {
            found.insert(file.display().to_string(), named);
        }
    }
    assert_eq!(found, BTreeMap::new());
}

#[test]
fn the_data_plane_holds_no_lock() {
    for file in sources().iter().filter(|file| file.starts_with("src/proxy")) {
        for lock in ["Mutex", "RwLock", "Condvar"] {
            assert!(!read(file).contains(lock), "{} names a {lock}", file.display());
        }
    }
}
