//! Lists of models: names, and beginnings of names.

use std::fmt;

/// Models by name. An empty list is all models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Models(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Name(String),
    /// Any model that begins so.
    Beginning(String),
}

/// How closely a list names a model; the greatest is by its exact name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    Any,
    Beginning(usize),
    Name,
}

impl Models {
    /// Names separated by commas; a last `*` stands for any end. `Err` says which of them is none.
    pub fn parse(list: &str) -> Result<Models, String> {
        let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(Pattern::parse).collect::<Result<_, _>>().map(Models)
    }

    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// How closely the list names this model, if it does.
    pub fn fit(&self, model: &str) -> Option<Fit> {
        if self.is_any() {
            return Some(Fit::Any);
        }
        self.0.iter().filter_map(|pattern| pattern.fit(model)).max()
    }
}

/// As [`Models::parse`] reads it; empty where any model is meant.
impl fmt::Display for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match pattern {
                Pattern::Name(name) => write!(f, "{separator}{name}")?,
                Pattern::Beginning(beginning) => write!(f, "{separator}{beginning}*")?,
            }
        }
        Ok(())
    }
}

impl Pattern {
    fn parse(word: &str) -> Result<Pattern, String> {
        let (name, is_beginning) =
            word.strip_suffix('*').map_or((word, false), |beginning| (beginning, true));
        if name.contains(|c: char| c == '*' || c.is_whitespace() || c.is_control()) || word == "*" {
            return Err(format!("{word:?} is no model's name, and no beginning of one with a `*` behind it"));
        }
        Ok(if is_beginning { Pattern::Beginning(name.to_owned()) } else { Pattern::Name(name.to_owned()) })
    }

    fn fit(&self, model: &str) -> Option<Fit> {
        match self {
            Pattern::Name(name) => (name == model).then_some(Fit::Name),
            Pattern::Beginning(beginning) => {
                model.starts_with(beginning.as_str()).then_some(Fit::Beginning(beginning.len()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_exactly_by_its_beginning_or_not() {
        let models = Models::parse(" gpt-realtime, gpt-realtime-2*,gpt-* ,").unwrap();
        assert_eq!(models.to_string(), "gpt-realtime, gpt-realtime-2*, gpt-*");
        for (model, fit) in [
            ("gpt-realtime", Some(Fit::Name)),
            ("gpt-realtime-2.1", Some(Fit::Beginning(14))),
            ("gpt-5", Some(Fit::Beginning(4))),
            ("gemini", None),
        ] {
            assert_eq!(models.fit(model), fit, "{model}");
        }
        let any = Models::parse("").unwrap();
        assert_eq!((any.is_any(), any.fit("m"), any.to_string()), (true, Some(Fit::Any), String::new()));
        for wrong in ["*", "a*b", "a b"] {
            assert!(Models::parse(wrong).unwrap_err().contains("is no model's name"), "{wrong}");
        }
    }
}
