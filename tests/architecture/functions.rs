//! How long functions are.

use crate::tokens::{Scope, Token, tokens};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// From `fn` to the brace that ends it, both included.
    pub(crate) line_count: usize,
}

/// All that have a body, those of tests and those within others included.
pub(crate) fn functions(source: &str) -> Vec<Function> {
    let tokens = tokens(source, Scope::All);
    let starts = (0..tokens.len()).filter(|&at| tokens[at].text == "fn");
    starts.filter_map(|at| function(&tokens[at..])).collect()
}

/// `None` where it is a type's or has no body.
fn function(tokens: &[Token]) -> Option<Function> {
    let name = tokens
        .get(1)
        .filter(|name| name.text.starts_with(|first: char| first.is_alphabetic() || first == '_'))?;
    let body = body(tokens)?;
    let end = end_of(&tokens[body..])?;
    Some(Function { name: name.text.clone(), line_count: tokens[body + end].line - tokens[0].line + 1 })
}

/// Where the body begins.
fn body(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "{" if depth == 0 => return Some(at),
            ";" if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Where the brace is closed that is the first token.
fn end_of(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    tokens.iter().position(|token| {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

#[test]
fn a_function_is_as_long_as_its_lines() {
    let source = "trait T { fn none(&self) -> [u8; 2]; }\n\
                  type F = fn(u8);\n\
                  fn one(text: &str) -> bool { text == \"fn x() {\" }\n\
                  fn four(\n    a: u8,\n) {\n}\n\
                  #[cfg(test)]\nmod tests {\n    fn two() {\n    }\n}\n";
    let found = functions(source);
    let found: Vec<_> = found.iter().map(|function| (function.name.as_str(), function.line_count)).collect();
    assert_eq!(found, [("one", 1), ("four", 4), ("two", 2)]);
}
