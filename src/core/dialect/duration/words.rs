//! A protocol that bills time, in the words of a configuration.

use super::super::{BadWord, Dialect, Family};
use super::{Asked, Bills, Duration, Stated, Told};

/// What a configuration says, as it stands there. Empty: what the preset says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a> {
    /// How requests' paths end, separated by commas; a `*` at an end stands for one word.
    pub path: &'a str,
    /// The parameters of the query that name the model, the first that is there; separated by commas.
    pub model_in: &'a str,
    /// `connection` or `sound`.
    pub bills: &'a str,
    /// The event of the provider from which on a connection is billed.
    pub begins: &'a str,
    /// `EVENT: SECONDS`, or `EVENT: SECONDS * COUNT`: the event that states the time, and its fields.
    pub states: &'a str,
    /// The event before a close of ours, with `{code}`, `{close_code}` and `{message}` in it.
    pub ending: &'a str,
}

impl Words<'_> {
    /// The family with these words in its first dialect, which stays as long as the process lives: ask once a provider.
    pub fn applied(&self, family: &'static Family) -> Result<&'static Family, BadWord> {
        let preset = family.dialects.iter().find_map(|dialect| dialect.as_duration());
        match (preset, self.key_in_use()) {
            (Some(preset), key) if key.is_some() || preset.paths.is_empty() => {
                let own: &'static Duration = Box::leak(Box::new(self.over(preset)?));
                let spoken = |dialect: &&'static dyn Dialect| {
                    if dialect.name() == preset.name { own } else { *dialect }
                };
                let dialects: Vec<_> = family.dialects.iter().map(spoken).collect();
                Ok(Box::leak(Box::new(Family {
                    dialects: Box::leak(dialects.into_boxed_slice()),
                    ..*family
                })))
            }
            (None, Some(key)) => {
                let what =
                    format!("this is for providers that bill time, and the dialect {} does not", family.name);
                Err(BadWord { key, what })
            }
            _ => Ok(family),
        }
    }

    fn key_in_use(&self) -> Option<&'static str> {
        let Words { path, model_in, bills, begins, states, ending } = self;
        let keys = [
            ("path", path),
            ("model_in", model_in),
            ("bills", bills),
            ("begins", begins),
            ("states", states),
            ("ending", ending),
        ];
        keys.into_iter().find(|(_, said)| !said.trim().is_empty()).map(|(key, _)| key)
    }

    fn over(&self, preset: &Duration) -> Result<Duration, BadWord> {
        Ok(Duration {
            name: preset.name,
            paths: self.paths(preset)?,
            bills: self.bills(preset)?,
            asked: Asked { model: leaked_list(self.model_in).unwrap_or(preset.asked.model), ..preset.asked },
            told: Told {
                begins: leaked(self.begins).or(preset.told.begins),
                ends: self.ends()?.or(preset.told.ends),
                error: self.error()?.or(preset.told.error),
                ..preset.told
            },
        })
    }

    fn paths(&self, preset: &Duration) -> Result<&'static [&'static str], BadWord> {
        let paths = leaked_list(self.path).unwrap_or(preset.paths);
        let is_fit = |path: &&str| {
            path.starts_with('/') && !path.trim_end_matches("/*").contains('*') && !path.contains(['?', ' '])
        };
        match paths.iter().find(|path| !is_fit(path)) {
            Some(path) => {
                let what = format!(
                    "{path:?} is no end of a path, such as \"/v1/listen\", or \"/agents/*\" for one word at its end"
                );
                Err(BadWord { key: "path", what })
            }
            None if paths.is_empty() => {
                let what = "say how the paths end that it takes, such as \"/v1/listen\"".to_owned();
                Err(BadWord { key: "path", what })
            }
            None => Ok(paths),
        }
    }

    fn bills(&self, preset: &Duration) -> Result<Bills, BadWord> {
        match self.bills {
            "" => Ok(preset.bills),
            "connection" => Ok(Bills::Connection),
            "sound" => Ok(Bills::Binary),
            other => {
                let what = format!("{other:?} is none of \"connection\", \"sound\"");
                Err(BadWord { key: "bills", what })
            }
        }
    }

    fn ends(&self) -> Result<Option<Stated>, BadWord> {
        if self.states.is_empty() {
            return Ok(None);
        }
        let parts = self.states.split_once(':').map(|(event, fields)| {
            let (seconds, times) = fields.split_once('*').unwrap_or((fields, ""));
            [event, seconds, times].map(str::trim)
        });
        match parts {
            Some([event, seconds, times]) if !event.is_empty() && !seconds.is_empty() => {
                let [event, seconds, times] = [event, seconds, times].map(|word| leaked(word).unwrap_or(""));
                Ok(Some(Stated { event, seconds, times }))
            }
            _ => {
                let what = format!(
                    "{:?} names no event with a field of seconds, such as \"Metadata: duration * channels\"",
                    self.states
                );
                Err(BadWord { key: "states", what })
            }
        }
    }

    fn error(&self) -> Result<Option<&'static str>, BadWord> {
        let filled = self.ending.replace("{close_code}", "4004");
        match self.ending.is_empty() || serde_json::from_str::<serde_json::Value>(&filled).is_ok() {
            true => Ok(leaked(self.ending)),
            false => {
                let what = "it is no JSON once {code}, {close_code} and {message} are filled in".to_owned();
                Err(BadWord { key: "ending", what })
            }
        }
    }
}

/// A word that stays; `None` where there is none.
fn leaked(word: &str) -> Option<&'static str> {
    (!word.is_empty()).then(|| &*Box::leak(Box::from(word)))
}

/// Words that were separated by commas.
fn leaked_list(list: &str) -> Option<&'static [&'static str]> {
    let words: Vec<&str> = list.split(',').filter_map(|word| leaked(word.trim())).collect();
    (!words.is_empty()).then(|| &*Box::leak(words.into_boxed_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{ProviderEvent, family};

    const WORDS: Words = Words {
        path: "/v1/hear, /v1/agents/*",
        model_in: "engine",
        bills: "sound",
        begins: "ready",
        states: "done: usage.seconds * lanes",
        ending: r#"{"kind":"{code}","number":{close_code},"why":"{message}"}"#,
    };

    #[test]
    fn a_configuration_makes_a_protocol_of_its_own() {
        let own = WORDS.applied(family("duration").unwrap()).unwrap();
        assert_eq!(own.route("/any/v1/hear").unwrap().1, "/v1/hear");
        assert_eq!(own.route("/v1/agents/a").unwrap().1, "/v1/agents/a");
        assert!(own.route("/v1/listen").is_none());
        let own = own.dialects[0];
        assert!(own.rates().sound_is_billed && own.hears_binary());
        let mut told = Vec::new();
        own.start("/v1/hear?engine=m&encoding=mulaw&sample_rate=8000", &mut |event| told.push(event));
        let [ProviderEvent::Session(settings)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(settings.model.as_deref(), Some("m"));
        let mut told = Vec::new();
        own.read(br#"{"type":"done","usage":{"seconds":1.5},"lanes":2}"#, &mut |event| told.push(event));
        let [ProviderEvent::Total { usage, .. }, ProviderEvent::Ahead { grows: false }] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(usage.duration_ms, 3_000);
    }

    #[test]
    fn what_is_not_said_is_as_the_preset_has_it() {
        let preset = family("deepgram").unwrap();
        assert!(std::ptr::eq(Words::default().applied(preset).unwrap(), preset));
        let own = Words { path: "/mine", ..Words::default() }.applied(preset).unwrap();
        assert_eq!(own.route("/mine").unwrap().0.name(), "deepgram");
        assert!(own.route("/v1/listen").is_none() && own.route("/v1/agent/converse").is_some());
        assert!(own.dialects[0].hears_binary());
    }

    #[test]
    fn what_makes_no_sense_is_said_with_its_key() {
        for (words, key, what) in [
            (Words { path: "", ..WORDS }, "path", "say how the paths end"),
            (Words { path: "v1/hear", ..WORDS }, "path", "\"v1/hear\" is no end of a path"),
            (Words { path: "/a/*/b", ..WORDS }, "path", "is no end of a path"),
            (Words { path: "/a?b", ..WORDS }, "path", "is no end of a path"),
            (Words { bills: "minutes", ..WORDS }, "bills", "\"minutes\" is none of"),
            (Words { states: "done", ..WORDS }, "states", "names no event"),
            (Words { states: ": seconds", ..WORDS }, "states", "names no event"),
            (Words { ending: "{\"a\":{message}}", ..WORDS }, "ending", "it is no JSON"),
        ] {
            let bad = words.applied(family("duration").unwrap()).unwrap_err();
            assert!(bad.key == key && bad.what.contains(what), "{bad}");
        }
        let bad = WORDS.applied(family("openai").unwrap()).unwrap_err();
        assert!(bad.key == "path" && bad.what.contains("providers that bill time"), "{bad}");
        assert_eq!(Words::default().applied(family("duration").unwrap()).unwrap_err().key, "path");
    }
}
