//! Lists of models: names, and beginnings of names.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Models by name; of nothing, all models. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Models(Option<Arc<Vec<Pattern>>>);

/// What one word of a list means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
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
        words.map(Pattern::parse).collect()
    }

    pub fn is_any(&self) -> bool {
        self.0.is_none()
    }

    /// The model that the list names, if it names one alone.
    pub fn only(&self) -> Option<&str> {
        match self.patterns() {
            [Pattern::Name(name)] => Some(name),
            _ => None,
        }
    }

    /// How closely the list names this model, if it does.
    pub fn fit(&self, model: &str) -> Option<Fit> {
        match self.is_any() {
            true => Some(Fit::Any),
            false => self.patterns().iter().filter_map(|pattern| pattern.fit(model)).max(),
        }
    }

    /// The words of the list, in its order.
    pub fn words(&self) -> impl Iterator<Item = String> {
        self.patterns().iter().map(Pattern::to_string)
    }

    /// What any of these lists names.
    pub fn of_any<'a>(lists: impl Iterator<Item = &'a Models> + Clone) -> Models {
        match lists.clone().any(Models::is_any) {
            true => Models::default(),
            false => lists.flat_map(Models::patterns).cloned().collect(),
        }
    }

    /// What all of these lists name, separated by commas; empty where they have nothing in common.
    pub fn in_all(lists: &[Models]) -> String {
        let mut bounds = lists.iter().filter(|list| !list.is_any()).map(Models::patterns);
        let first = bounds.next().unwrap_or_default().to_vec();
        separated(&bounds.fold(first, |common, list| meet(&common, list)))
    }

    fn patterns(&self) -> &[Pattern] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl FromIterator<Pattern> for Models {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Models {
        let patterns: Vec<_> = patterns.into_iter().collect();
        Models((!patterns.is_empty()).then(|| Arc::new(patterns)))
    }
}

impl TryFrom<Vec<String>> for Models {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Models, String> {
        words.iter().map(|word| Pattern::parse(word)).collect()
    }
}

impl From<Models> for Vec<String> {
    fn from(models: Models) -> Vec<String> {
        models.words().collect()
    }
}

/// As [`Models::parse`] reads it; empty where any model is meant.
impl fmt::Display for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&separated(self.patterns()))
    }
}

impl Pattern {
    /// A model's name, or with a last `*` the beginning of one.
    pub fn parse(word: &str) -> Result<Pattern, String> {
        let (name, is_beginning) =
            word.strip_suffix('*').map_or((word, false), |beginning| (beginning, true));
        if name.is_empty() || name.contains(|c: char| "*,".contains(c) || c.is_whitespace() || c.is_control())
        {
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

    /// Whether this means nothing that the other does not.
    fn is_within(&self, other: &Pattern) -> bool {
        match (self, other) {
            (Pattern::Name(text), _) => other.fit(text).is_some(),
            (Pattern::Beginning(text), Pattern::Beginning(other)) => text.starts_with(other.as_str()),
            (Pattern::Beginning(_), Pattern::Name(_)) => false,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Name(name) => f.write_str(name),
            Pattern::Beginning(beginning) => write!(f, "{beginning}*"),
        }
    }
}

fn separated(patterns: &[Pattern]) -> String {
    let words: Vec<_> = patterns.iter().map(Pattern::to_string).collect();
    words.join(", ")
}

/// What both lists name: of two words that overlap one is always within the other.
fn meet(one: &[Pattern], other: &[Pattern]) -> Vec<Pattern> {
    let mut common: Vec<Pattern> = Vec::new();
    for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
        let narrower = if a.is_within(b) { Some(a) } else { b.is_within(a).then_some(b) };
        common.extend(narrower.filter(|pattern| !common.contains(pattern)).cloned());
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_exactly_by_its_beginning_or_not() {
        let models = Models::parse(" gpt-realtime, gpt-realtime-2*,gpt-* ,").unwrap();
        assert_eq!(models.to_string(), "gpt-realtime, gpt-realtime-2*, gpt-*");
        let only = |list| Models::parse(list).unwrap().only().map(str::to_owned);
        assert_eq!(
            (only("gpt-realtime").as_deref(), only("gpt-*"), only("a, b"), only("")),
            (Some("gpt-realtime"), None, None, None)
        );
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

    #[test]
    fn what_several_lists_name_is_what_each_of_them_does() {
        for (lists, in_all, of_any) in [
            (
                &["gpt-*, gemini-3", "gpt-realtime*, gemini-3"][..],
                "gpt-realtime*, gemini-3",
                "gpt-*, gemini-3, gpt-realtime*, gemini-3",
            ),
            (&["a*, ab", "ab*"], "ab*, ab", "a*, ab, ab*"),
            (&["a, b", "b, c", "c"], "", "a, b, b, c, c"),
            (&["", "a"], "a", ""),
            (&["", ""], "", ""),
        ] {
            let lists: Vec<_> = lists.iter().map(|list| Models::parse(list).unwrap()).collect();
            assert_eq!(Models::in_all(&lists), in_all);
            assert_eq!(Models::of_any(lists.iter()).to_string(), of_any);
        }
    }

    #[test]
    fn a_list_is_kept_as_its_words() {
        for (list, kept) in [("gpt-realtime, gpt-4*", r#"["gpt-realtime","gpt-4*"]"#), ("", "[]")] {
            let models = Models::parse(list).unwrap();
            assert_eq!(serde_json::to_string(&models).unwrap(), kept);
            assert_eq!(serde_json::from_str::<Models>(kept).unwrap(), models);
        }
        assert!(serde_json::from_str::<Models>(r#"["a,b"]"#).is_err());
    }
}
