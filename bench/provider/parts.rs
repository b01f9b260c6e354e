//! The parts of a form, `multipart/form-data`.

use crate::http::Request;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) is_file: bool,
    pub(super) content: &'a [u8],
}

/// What stands between the parts of a body; `None` if it is no form.
pub(super) fn boundary(request: &Request) -> Option<&str> {
    let (_, boundary) = request.header("content-type")?.split_once("boundary=")?;
    Some(boundary.split(';').next().unwrap_or_default().trim_matches('"'))
}

/// # Errors
/// What is wrong with the body.
pub(super) fn of<'a>(boundary: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, String> {
    let delimiter = format!("--{boundary}");
    let starts: Vec<usize> = memchr::memmem::find_iter(body, &delimiter).collect();
    let part = |edges: &[usize]| -> Result<Part<'a>, String> {
        let part = &body[edges[0] + delimiter.len()..edges[1]];
        let (head, content) = split(part).ok_or("A part of the form has no head.")?;
        let head = String::from_utf8_lossy(head);
        let name = head.split(';').find_map(|word| word.trim_start().strip_prefix("name=\""));
        let name = name.ok_or("A part of the form has no name.")?;
        let name = name.split('"').next().unwrap_or_default().to_owned();
        Ok(Part { name, is_file: head.contains("filename="), content })
    };
    starts.windows(2).map(part).collect()
}

/// The head and the content of what stands between two boundaries.
fn split(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let end_of_head = memchr::memmem::find(part, b"\r\n\r\n")?;
    let content = part[end_of_head + 4..].strip_suffix(b"\r\n")?;
    Some((&part[..end_of_head], content))
}
