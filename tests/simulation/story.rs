//! What happens in a world, in words: written down while somebody asks for it, and else not even put together.

use std::cell::RefCell;

thread_local! {
    /// While they are asked for.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// What is told while this is done.
pub(crate) fn of(act: impl FnOnce()) -> String {
    LINES.with(|story| story.replace(Some(Vec::new())));
    act();
    LINES.with(|story| story.take()).unwrap_or_default().join("\n")
}

/// A line of the story begins.
pub(crate) fn begin_line(line: impl FnOnce() -> String) {
    LINES.with(|story| {
        if let Some(lines) = story.borrow_mut().as_mut() {
            lines.push(line());
        }
    });
}

/// So much more happens in it.
pub(crate) fn tell(what: impl FnOnce() -> String) {
    LINES.with(|story| {
        if let Some(line) = story.borrow_mut().as_mut().and_then(|lines| lines.last_mut()) {
            line.push_str("; ");
            line.push_str(&what());
        }
    });
}
