//! Which modules of a crate name which others, as their sources say.

use crate::tokens::{Scope, Token, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// The names of a module and of those around it, from the crate's root on.
type Path = Vec<String>;

/// The modules of a crate that lie in files of their own. What lies in a module inline is that module's.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    modules: BTreeMap<Path, Module>,
}

#[derive(Debug, Default)]
struct Module {
    /// What `use` brings in, and under which name.
    imports: Vec<(Path, String)>,
    /// Paths that are written out.
    named: Vec<Path>,
    /// Names of its own items.
    defined: BTreeSet<String>,
}

/// Modules that lie side by side and name each other in a circle.
#[derive(Debug)]
pub(crate) struct Circle {
    /// `around::module`, in order.
    pub(crate) modules: Vec<String>,
    /// Who names what.
    pub(crate) edges: Vec<String>,
}

const ITEMS: [&str; 8] = ["struct", "enum", "fn", "trait", "type", "const", "static", "union"];

impl Crate {
    /// Adds a module with its source. Gives the modules that it declares in files of their own.
    pub(crate) fn add(&mut self, path: &[String], source: &str) -> Vec<String> {
        let tokens = tokens(source, Scope::Product);
        let mut module = Module::default();
        let mut declared = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let text = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text.as_str());
            match text(0) {
                "mod" if text(2) == ";" => declared.push(text(1).to_owned()),
                "use" if text(1) != "<" => {
                    at = read_use(&tokens, at + 1, &Vec::new(), &mut module.imports);
                    continue;
                }
                item if ITEMS.contains(&item) => drop(module.defined.insert(text(1).to_owned())),
                _ if text(1) == "::" && (at == 0 || tokens[at - 1].text != "::") => {
                    module.named.push(read_path(&tokens[at..]));
                }
                _ => {}
            }
            at += 1;
        }
        self.modules.insert(path.to_vec(), module);
        declared
    }

    /// Where modules that lie side by side, each with all beneath it, name each other in a circle.
    pub(crate) fn circles(&self) -> Vec<Circle> {
        let edges = self.edges();
        self.modules.keys().flat_map(|around| circles_in(around, &edges)).collect()
    }

    /// From which module to which, and by what path.
    fn edges(&self) -> Vec<(&Path, Path, String)> {
        let mut edges = Vec::new();
        for (from, module) in &self.modules {
            let imported = module.imports.iter().map(|(path, _)| path);
            for path in imported.chain(&module.named) {
                if let Some(to) = self.resolve(from, path, 0).filter(|to| to != from) {
                    edges.push((from, to, path.join("::")));
                }
            }
        }
        edges
    }

    /// The module that defines what a path names in another one; `None` if it is none of this crate.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<Path> {
        let (mut here, mut rest) = self.start(from, path)?;
        while let [name, further @ ..] = rest {
            let beneath = [here.as_slice(), std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&beneath) {
                (here, rest) = (beneath, further);
                continue;
            }
            return Some(self.handed_on(&here, name, depth).unwrap_or(here));
        }
        Some(here)
    }

    /// The module that a name comes from which another one hands on.
    fn handed_on(&self, module: &Path, name: &str, depth: usize) -> Option<Path> {
        let Module { imports, defined, .. } = &self.modules[module];
        if name == "*" || defined.contains(name) || depth > DEPTH_MAX {
            return None;
        }
        let by_name = imports.iter().filter(|(_, imported)| imported == name);
        let mut by_name = by_name.filter_map(|(path, _)| self.resolve(module, path, depth + 1));
        let all_of = imports.iter().filter(|(_, imported)| imported == "*");
        let mut all_of = all_of.filter_map(|(path, _)| self.resolve(module, path, depth + 1));
        by_name.next().or_else(|| all_of.find(|from| self.modules[from].defined.contains(name)))
    }

    /// Where a path begins, and what is left of it.
    fn start<'a>(&self, from: &[String], path: &'a [String]) -> Option<(Path, &'a [String])> {
        let mut here = from.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => here.clear(),
            "self" | "super" => {
                while let [name, further @ ..] = rest
                    && (name == "self" || name == "super")
                {
                    if name == "super" {
                        here.pop();
                    }
                    rest = further;
                }
                return Some((here, rest));
            }
            child => {
                let beneath = [from, &[child.to_owned()]].concat();
                return self.modules.contains_key(&beneath).then_some((here, rest));
            }
        }
        Some((here, &rest[1..]))
    }
}

/// How often a name may be handed on.
const DEPTH_MAX: usize = 8;

/// Reads a tree of `use`. Gives where it ends.
fn read_use(tokens: &[Token], mut at: usize, before: &Path, imports: &mut Vec<(Path, String)>) -> usize {
    let mut path = before.clone();
    loop {
        match tokens[at].text.as_str() {
            "{" => {
                at += 1;
                while tokens[at].text != "}" {
                    at = read_use(tokens, at, &path, imports);
                    at += usize::from(tokens[at].text == ",");
                }
                return at + 1;
            }
            "::" => at += 1,
            "as" => {
                if let Some((_, name)) = imports.last_mut() {
                    name.clone_from(&tokens[at + 1].text);
                }
                return at + 2;
            }
            "self" if !path.is_empty() => at = end_use(path.clone(), at, imports),
            word if word == "*" || is_word(word) => {
                path.push(word.to_owned());
                at += 1;
                if tokens[at].text != "::" {
                    at = end_use(path.clone(), at - 1, imports);
                }
            }
            _ => return at,
        }
    }
}

/// Notes what a path brings in. Gives what comes behind its last word.
fn end_use(path: Path, last: usize, imports: &mut Vec<(Path, String)>) -> usize {
    let name = path.last().cloned().unwrap_or_default();
    imports.push((path, name));
    last + 1
}

/// The words of a path that begins here.
fn read_path(tokens: &[Token]) -> Path {
    let mut path = vec![tokens[0].text.clone()];
    let mut rest = &tokens[1..];
    while let [colons, word, further @ ..] = rest
        && colons.text == "::"
        && is_word(&word.text)
    {
        path.push(word.text.clone());
        rest = further;
    }
    path
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Circles among the modules right beneath this one.
fn circles_in(around: &Path, edges: &[(&Path, Path, String)]) -> Vec<Circle> {
    let beneath = |path: &Path| (path.starts_with(around)).then(|| path.get(around.len()).cloned()).flatten();
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut written = Vec::new();
    for (from, to, path) in edges {
        if let (Some(one), Some(other)) = (beneath(from), beneath(to))
            && one != other
        {
            written.push((one.clone(), other.clone(), format!("{} names {path}", from.join("::"))));
            names.entry(one).or_default().insert(other);
        }
    }
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        names.keys().map(|from| (from, reached(from, &names))).collect();
    let circle_of = |name: &String| -> BTreeSet<String> {
        let is_in = |other: &&&String| reach.get(**other).is_some_and(|reached| reached.contains(name));
        reach[name].iter().filter(is_in).map(|other| (*other).clone()).collect()
    };
    let circles: BTreeSet<BTreeSet<String>> =
        names.keys().map(circle_of).filter(|circle| circle.len() > 1).collect();
    let full = |name: &String| [around.as_slice(), std::slice::from_ref(name)].concat().join("::");
    let circle = |members: BTreeSet<String>| Circle {
        edges: written
            .iter()
            .filter(|(from, to, _)| members.contains(from) && members.contains(to))
            .map(|(_, _, edge)| edge.clone())
            .collect(),
        modules: members.iter().map(full).collect(),
    };
    circles.into_iter().map(circle).collect()
}

/// All that is named from there on, itself too if it is in a circle.
fn reached<'a>(from: &'a String, names: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        let next = names.get(name).into_iter().flatten();
        open.extend(next.filter(|next| found.insert(*next)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(sources: &[(&str, &str)]) -> Vec<Vec<String>> {
        let mut krate = Crate::default();
        for (path, source) in sources {
            let path: Path = path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
            krate.add(&path, source);
        }
        krate.circles().into_iter().map(|circle| circle.modules).collect()
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        let one_way = ("b", "use std::fmt; pub struct B; fn f(a: &'static str) {}");
        for source in ["use crate::b::B;", "use super::{b::B, c};", "fn f() -> crate::b::B { todo!() }"] {
            assert_eq!(circles(&[("", "mod a; mod b;"), ("a", source), one_way]), Vec::<Vec<String>>::new());
            let back = ("b", "use crate::a as other; pub struct B;");
            assert_eq!(circles(&[("", ""), ("a", source), back]), [["a", "b"]], "{source}");
        }
    }

    #[test]
    fn what_lies_beneath_a_module_is_its_own_and_they_may_name_each_other() {
        let parent = ("a", "mod one; mod two; pub use one::One; use two::Two; pub struct A;");
        let one = ("a::one", "use super::A; pub struct One;");
        assert_eq!(circles(&[("", ""), parent, one, ("a::two", "use super::A;")]), Vec::<Vec<String>>::new());
        // A name that is handed on is that of the module which defines it.
        let two = ("a::two", "use super::One;");
        let one = ("a::one", "use super::two::Two; pub struct One;");
        assert_eq!(circles(&[("", ""), parent, one, two]), [["a::one", "a::two"]]);
        // What a module beneath names is named by the one around it.
        let deep = ("a::one", "use crate::b::B;");
        assert_eq!(circles(&[("", ""), parent, deep, ("b", "use crate::a::A; struct B;")]), [["a", "b"]]);
    }

    #[test]
    fn what_is_for_tests_alone_does_not_count() {
        let b = ("b", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }");
        assert_eq!(circles(&[("", ""), ("a", "use crate::b::B;"), b]), Vec::<Vec<String>>::new());
    }
}
