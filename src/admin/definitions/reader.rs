//! Reads the fields of one JSON object, and remembers which: what was never asked for is reported as unknown.
//!
//! Invariant: a field that is wrong is reported once, with its place, and reading goes on with the next. Where RabbitMQ's
//! own tools write numbers, yes or no as texts, those are taken too.

use serde_json::{Map, Value};

use super::findings::Findings;

/// See the module.
pub(in crate::admin) struct Reader<'a> {
    at: String,
    object: &'a Map<String, Value>,
    asked: Vec<&'static str>,
    findings: &'a mut Findings,
}

impl<'a> Reader<'a> {
    /// Reads this object, which stands at this place.
    pub(in crate::admin) fn new(
        at: String,
        object: &'a Map<String, Value>,
        findings: &'a mut Findings,
    ) -> Self {
        Reader { at, object, asked: Vec::new(), findings }
    }

    /// Where a field of it stands.
    pub(in crate::admin) fn place(&self, key: &str) -> String {
        match self.at.as_str() {
            "" => key.to_owned(),
            at => format!("{at}.{key}"),
        }
    }

    /// Reports that a field is wrong.
    pub(in crate::admin) fn fault(&mut self, key: &str, problem: impl Into<String>) {
        let at = if key.is_empty() { self.at.clone() } else { self.place(key) };
        self.findings.fault(&at, problem);
    }

    /// Reports something that is taken otherwise than it stands there.
    pub(in crate::admin) fn notice(&mut self, key: &str, what: impl Into<String>) {
        let at = if key.is_empty() { self.at.clone() } else { self.place(key) };
        self.findings.notice(&at, what);
    }

    /// A field as it is. `null` counts as absent.
    pub(in crate::admin) fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.push(key);
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Fields that are known, and say nothing that is needed.
    pub(in crate::admin) fn pass_over(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    pub(in crate::admin) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        value.as_str().or_else(|| self.expected(key, "a text", value))
    }

    pub(in crate::admin) fn needed_text(&mut self, key: &'static str) -> Option<&'a str> {
        self.needed(key)?;
        self.text(key)
    }

    pub(in crate::admin) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        flag.or_else(|| self.expected(key, "true or false", value))
    }

    pub(in crate::admin) fn number(&mut self, key: &'static str) -> Option<i64> {
        let value = self.value(key)?;
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_i64(),
        };
        number.or_else(|| self.expected(key, "a whole number", value))
    }

    /// An object. An empty list counts as one: some Erlang and PHP tools write that.
    pub(in crate::admin) fn object(&mut self, key: &'static str) -> Option<&'a Map<String, Value>> {
        let value = self.value(key)?;
        match value {
            Value::Object(object) => Some(object),
            Value::Array(list) if list.is_empty() => None,
            other => self.expected(key, "an object", other),
        }
    }

    pub(in crate::admin) fn list(&mut self, key: &'static str) -> Option<&'a [Value]> {
        let value = self.value(key)?;
        match value {
            Value::Array(list) => Some(list),
            // The empty list of tools that know objects only.
            Value::Object(object) if object.is_empty() => None,
            other => self.expected(key, "a list", other),
        }
    }

    /// Texts: a list of them, or one text with commas between them.
    pub(in crate::admin) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let value = self.value(key)?;
        match value {
            Value::String(text) => {
                let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                Some(texts.map(str::to_owned).collect())
            }
            Value::Array(list) => {
                let mut texts = Vec::with_capacity(list.len());
                for (index, item) in list.iter().enumerate() {
                    match item {
                        Value::String(text) => texts.push(text.clone()),
                        other => {
                            let problem = format!("must be a text, and is {}", kind(other));
                            self.fault(&format!("{key}[{index}]"), problem);
                        }
                    }
                }
                Some(texts)
            }
            other => self.expected(key, "a list of texts, or one text with commas", other),
        }
    }

    /// Reports a field that is not there.
    pub(in crate::admin) fn needed(&mut self, key: &'static str) -> Option<&'a Value> {
        let value = self.value(key);
        if value.is_none() {
            self.fault(key, "is missing");
        }
        value
    }

    /// A field that must be there, and may be `null`.
    pub(in crate::admin) fn needed_or_null(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.push(key);
        let value = self.object.get(key);
        if value.is_none() {
            self.fault(key, "is missing");
        }
        value
    }

    /// Reads an object that stands at a place of its own. An empty list counts as one: RabbitMQ exports limits so that
    /// were taken away.
    pub(in crate::admin) fn inside_value<T>(
        &mut self,
        at: &str,
        value: &Value,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> Option<T> {
        let nothing = Map::new();
        let object = match value {
            Value::Object(object) => object,
            Value::Array(list) if list.is_empty() => &nothing,
            other => {
                self.findings.fault(at, format!("must be an object, and is {}", kind(other)));
                return None;
            }
        };
        let mut inside = Reader::new(at.to_owned(), object, self.findings);
        let value = read(&mut inside);
        inside.finish();
        Some(value)
    }

    /// Reads an object inside this one, if there is one.
    pub(in crate::admin) fn inside<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> Option<T> {
        let object = self.object(key)?;
        let mut inside = Reader::new(self.place(key), object, self.findings);
        let value = read(&mut inside);
        inside.finish();
        Some(value)
    }

    /// Reports, of a place elsewhere, something that is taken otherwise than it stands there.
    pub(in crate::admin) fn notice_at(&mut self, at: &str, what: impl Into<String>) {
        self.findings.notice(at, what);
    }

    /// Reports what nobody has asked for.
    pub(in crate::admin) fn finish(self) {
        for key in self.object.keys().filter(|key| !self.asked.contains(&key.as_str())) {
            let notice = format!("'{key}' is not known here and was left out");
            self.findings.notice(&self.at, notice);
        }
    }

    fn expected<T>(&mut self, key: &str, wanted: &str, found: &Value) -> Option<T> {
        self.fault(key, format!("must be {wanted}, and is {}", kind(found)));
        None
    }
}

/// What a value is, for people.
pub(in crate::admin) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_that_is_wrong_is_told_and_what_nobody_asks_for_too() {
        let json = json!({"a": 1, "b": "true", "c": [1, "x"], "d": null, "e": "7", "f": {}, "g": 1});
        let mut findings = Findings::default();
        let mut reader = Reader::new("x[0]".to_owned(), json.as_object().unwrap(), &mut findings);
        assert_eq!(reader.text("a"), None);
        assert_eq!(reader.flag("b"), Some(true));
        assert_eq!(reader.texts("c"), Some(vec!["x".to_owned()]));
        assert_eq!(reader.needed_text("d"), None);
        assert_eq!(reader.number("e"), Some(7));
        assert_eq!(reader.list("f"), None);
        reader.finish();
        assert_eq!(
            findings.text(),
            "x[0].a: must be a text, and is a number\nx[0].c[0]: must be a text, and is a number\n\
             x[0].d: is missing"
        );
        assert_eq!(findings.notices()[0].notice, "'g' is not known here and was left out");
    }
}
