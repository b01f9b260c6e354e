//! What a request asks for: in JSON, or in a form with a file.

use crate::http::Request;
use crate::provider::parts;
use serde_json::{Map, Value};

#[derive(Debug)]
pub(super) struct Asked {
    /// Of a form, those that are no file; `true` and numbers as such.
    pub(super) fields: Value,
    /// How long the sound of a file in the form WAVE plays.
    pub(super) sound_ms: u64,
}

impl Asked {
    /// # Errors
    /// What is wrong with the body.
    pub(super) fn of(request: &Request, body: &[u8]) -> Result<Asked, String> {
        match parts::boundary(request) {
            Some(boundary) => Asked::of_form(boundary, body),
            None => {
                let fields = serde_json::from_slice(body);
                let fields = fields.map_err(|error| format!("The body is not JSON: {error}"))?;
                Ok(Asked { fields, sound_ms: 0 })
            }
        }
    }

    fn of_form(boundary: &str, body: &[u8]) -> Result<Asked, String> {
        let (mut fields, mut sound_ms) = (Map::new(), 0);
        for part in parts::of(boundary, body)? {
            if part.is_file {
                sound_ms = wave_ms(part.content).unwrap_or(0);
                continue;
            }
            let text = String::from_utf8_lossy(part.content);
            let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(&*text));
            fields.insert(part.name, value);
        }
        Ok(Asked { fields: fields.into(), sound_ms })
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.fields[name].as_str().unwrap_or_default()
    }
}

fn wave_ms(file: &[u8]) -> Option<u64> {
    let number = |at: usize| Some(u64::from(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?)));
    let data = file.starts_with(b"RIFF").then(|| memchr::memmem::find(file, b"data"))??;
    (number(data + 4)? * 1_000).checked_div(number(28)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_tells_its_fields_and_how_long_its_sound_is() {
        let wave = [
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec(),
            [16_000u32, 32_000].map(u32::to_le_bytes).concat(),
            b"\x02\0\x10\0data".to_vec(),
            48_000u32.to_le_bytes().to_vec(),
            vec![0; 48_000],
        ]
        .concat();
        let body = [
            b"--edge\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--edge\r\n\
              Content-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--edge\r\n\
              Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n",
            &*wave,
            b"\r\n--edge--\r\n",
        ]
        .concat();
        let kind = "multipart/form-data; boundary=edge".to_owned();
        let request = Request { headers: vec![("content-type".into(), kind)], ..Request::default() };
        let asked = Asked::of(&request, &body).unwrap();
        assert_eq!(asked.fields, serde_json::json!({"model": "whisper-1", "stream": true}));
        assert_eq!(asked.sound_ms, 1_500);
    }
}
