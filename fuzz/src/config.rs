//! Configuration text: whatever stands in the file, there is a checked value or an error that says where.

use rialto::config::parse_text;

/// Any text is read without a panic, and an error has something to say about what, where and what to do.
pub fn config_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = parse_text(text) {
        assert!(!error.what().is_empty() && !error.advice().is_empty(), "{error:?}");
    }
}
