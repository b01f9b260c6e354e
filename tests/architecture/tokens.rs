//! A source as words, brackets and punctuation, without comments, literals and lifetimes.

use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// A word, a bracket, `::` or another punctuation mark, with its line.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// What of a source is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    /// But for items that are compiled for tests alone.
    Product,
}

pub(crate) fn tokens(source: &str, scope: Scope) -> Vec<Token> {
    let mut found = Vec::new();
    flatten(source.parse().expect("a source that compiles"), scope, &mut found);
    found
}

fn flatten(stream: TokenStream, scope: Scope, found: &mut Vec<Token>) {
    let mut trees = stream.into_iter();
    while let Some(tree) = trees.next() {
        match tree {
            TokenTree::Group(group) => flatten_group(&group, scope, found),
            TokenTree::Ident(word) => found.push(token(word.to_string(), word.span())),
            TokenTree::Literal(_) => {}
            TokenTree::Punct(mark) => match mark.as_char() {
                '#' if scope == Scope::Product && is_of_tests(&trees) => skip_item(&mut trees),
                '\'' => drop(trees.next()),
                ':' if mark.spacing() == Spacing::Joint => {
                    trees.next();
                    found.push(token("::".into(), mark.span()));
                }
                mark_char => found.push(token(mark_char.into(), mark.span())),
            },
        }
    }
}

fn flatten_group(group: &Group, scope: Scope, found: &mut Vec<Token>) {
    let (open, close) = match group.delimiter() {
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::Parenthesis | Delimiter::None => ("(", ")"),
    };
    found.push(token(open.into(), group.span_open()));
    flatten(group.stream(), scope, found);
    found.push(token(close.into(), group.span_close()));
}

fn token(text: String, span: proc_macro2::Span) -> Token {
    Token { text, line: span.start().line }
}

/// Whether an attribute goes on with `[cfg(test)]`.
fn is_of_tests(rest: &IntoIter) -> bool {
    let next = rest.clone().next().map(|tree| tree.to_string().replace(' ', ""));
    next.as_deref() == Some("[cfg(test)]")
}

/// An item ends with its braces or a semicolon.
fn skip_item(trees: &mut IntoIter) {
    let ends = |tree: &TokenTree| match tree {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(mark) => mark.as_char() == ';',
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    trees.find(ends);
}
