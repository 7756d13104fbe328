//! Lists as RabbitMQ gives them: all of it, or a page of it, filtered by name, sorted, with some columns only.
//!
//! Invariant: only the rows that are answered are rendered as a whole; to filter and to sort, a row is asked for one
//! field. However long a list is, a page of it costs little more than looking at it once.

use std::borrow::Cow;
use std::cmp::Ordering;

use axum::Extension;
use axum::response::{IntoResponse, Response};
use regex::RegexBuilder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::columns::Narrowed;
use super::{AdminState, ApiError};

/// Rows of a page whose size nobody chose.
const PAGE_SIZE: u32 = 100;

/// Bytes of a compiled pattern: no pattern that is longer to compile than to match.
const REGEX_BYTES: usize = 1 << 20;

/// Which part of a list is wanted, and how.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The number of a page, from 1. Without it the whole list is answered, as an array.
    #[param(value_type = Option<u32>, minimum = 1)]
    pub(super) page: Option<String>,
    /// Rows of a page: 100 if it is not said, and at most `management.page_max`.
    #[param(value_type = Option<u32>, minimum = 1)]
    pub(super) page_size: Option<String>,
    /// Only what has this in its name, upper or lower case.
    pub(super) name: Option<String>,
    /// `true`: the name is a regular expression.
    #[param(value_type = Option<bool>)]
    pub(super) use_regex: Option<String>,
    /// The field to sort by, like `messages` or `message_stats.publish_details.rate`.
    pub(super) sort: Option<String>,
    /// `true`: the largest first.
    #[param(value_type = Option<bool>)]
    pub(super) sort_reverse: Option<String>,
    /// Fields to answer, with commas between them. Without it: all.
    pub(super) columns: Option<String>,
    /// `true`: no figures, for lists of queues.
    #[param(value_type = Option<bool>)]
    pub(super) disable_stats: Option<String>,
    /// `true`: with `disable_stats`, the numbers of messages all the same.
    #[param(value_type = Option<bool>)]
    pub(super) enable_queue_totals: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    /// Rows of the whole list.
    pub(super) total_count: usize,
    /// Rows of this page.
    pub(super) item_count: usize,
    /// Rows that the name let through.
    pub(super) filtered_count: usize,
    /// Which page this is, from 1.
    pub(super) page: usize,
    /// Most rows of a page.
    pub(super) page_size: usize,
    /// How many pages there are.
    pub(super) page_count: usize,
    /// The rows.
    #[schema(value_type = Vec<Object>)]
    pub(super) items: Vec<Value>,
}

/// An entry of a list.
pub(super) trait Row {
    /// The name that the list can be filtered by.
    fn name(&self) -> Cow<'_, str>;

    /// One field, if it can be had without all others.
    fn field(&self, name: &str) -> Option<Value> {
        let _ = name;
        None
    }

    /// All of it.
    fn render(&self) -> Value;
}

impl Row for Value {
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.get("name").and_then(Value::as_str).unwrap_or_default())
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(at(self, name).cloned().unwrap_or(Value::Null))
    }

    fn render(&self) -> Value {
        self.clone()
    }
}

/// What a list is answered with: all rows in an array, or if `page` was asked for, an object with a page of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Listing {
    /// All rows.
    #[schema(value_type = Vec<Object>)]
    All(Vec<Value>),
    /// A page of them.
    Page(Page),
}

impl IntoResponse for Listing {
    fn into_response(self) -> Response {
        (Extension(Narrowed), axum::Json(self)).into_response()
    }
}

impl ListQuery {
    /// The part of the rows that is wanted. They keep their order unless another is asked for.
    ///
    /// # Errors
    /// 400: a parameter is not what it should be, or there is no such page.
    pub(super) fn select<R: Row>(&self, state: &AdminState, mut rows: Vec<R>) -> Result<Listing, ApiError> {
        let page = self.page(state.settings.management.page_max)?;
        let total_count = rows.len();
        self.filter(&mut rows)?;
        self.sort(&mut rows);
        let columns = self.columns();
        let render = |row: &R| columns.as_ref().map_or_else(|| row.render(), |columns| columns.of(row));
        let Some((page, page_size)) = page else {
            return Ok(Listing::All(rows.iter().map(render).collect()));
        };
        let filtered_count = rows.len();
        let page_count = filtered_count.div_ceil(page_size).max(1);
        if page > page_count {
            let reason =
                format!("page out of range, page: {page} page size: {page_size} length: {filtered_count}");
            return Err(ApiError::new(axum::http::StatusCode::BAD_REQUEST, "page_out_of_range", reason));
        }
        let items: Vec<_> = rows.iter().skip((page - 1) * page_size).take(page_size).map(render).collect();
        let item_count = items.len();
        Ok(Listing::Page(Page {
            total_count,
            item_count,
            filtered_count,
            page,
            page_size,
            page_count,
            items,
        }))
    }

    fn page(&self, max: u32) -> Result<Option<(usize, usize)>, ApiError> {
        let Some(page) = &self.page else { return Ok(None) };
        let size = self.page_size.as_deref();
        let read = |text: &str| text.parse::<u32>().ok().filter(|&number| number > 0);
        let size = match size {
            None | Some("") => Some(PAGE_SIZE.min(max)),
            Some(size) => read(size).filter(|&size| size <= max),
        };
        match (read(page), size) {
            (Some(page), Some(size)) => Ok(Some((page as usize, size as usize))),
            _ => {
                let given = self.page_size.as_deref().unwrap_or_default();
                let reason = format!(
                    "Invalid pagination parameters: page number {page}, page size {given}; \
                     pages count from 1, and have at most {max} rows"
                );
                Err(ApiError::bad_request(reason))
            }
        }
    }

    fn filter<R: Row>(&self, rows: &mut Vec<R>) -> Result<(), ApiError> {
        let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) else { return Ok(()) };
        let pattern = match is_yes(self.use_regex.as_deref()) {
            true => name.to_owned(),
            false => regex::escape(name),
        };
        let pattern = RegexBuilder::new(&pattern).case_insensitive(true).size_limit(REGEX_BYTES).build();
        let pattern = pattern
            .map_err(|error| ApiError::bad_request(format!("name is no regular expression: {error}")))?;
        rows.retain(|row| pattern.is_match(&row.name()));
        Ok(())
    }

    fn sort<R: Row>(&self, rows: &mut Vec<R>) {
        let Some(by) = self.sort.as_deref().filter(|by| !by.is_empty()) else {
            if is_yes(self.sort_reverse.as_deref()) {
                rows.reverse();
            }
            return;
        };
        let key =
            |row: &R| row.field(by).unwrap_or_else(|| at(&row.render(), by).cloned().unwrap_or(Value::Null));
        let mut keyed: Vec<_> = rows.drain(..).map(|row| (key(&row), row)).collect();
        match is_yes(self.sort_reverse.as_deref()) {
            true => keyed.sort_by(|(a, _), (b, _)| compare(b, a)),
            false => keyed.sort_by(|(a, _), (b, _)| compare(a, b)),
        }
        rows.extend(keyed.into_iter().map(|(_, row)| row));
    }

    fn columns(&self) -> Option<Columns<'_>> {
        let columns = self.columns.as_deref().filter(|columns| !columns.is_empty())?;
        Some(Columns(columns.split(',').map(str::trim).filter(|column| !column.is_empty()).collect()))
    }
}

/// The fields that are wanted of each row.
struct Columns<'a>(Vec<&'a str>);

impl Columns<'_> {
    fn of(&self, row: &impl Row) -> Value {
        let mut out = Map::new();
        let mut whole = None;
        for column in &self.0 {
            let value = match row.field(column) {
                Some(value) => Some(value),
                None => at(whole.get_or_insert_with(|| row.render()), column).cloned(),
            };
            if let Some(value) = value.filter(|value| !value.is_null()) {
                put(&mut out, column, value);
            }
        }
        Value::Object(out)
    }
}

/// A yes among parameters.
pub(super) fn is_yes(text: Option<&str>) -> bool {
    matches!(text, Some("true" | "1" | "yes"))
}

/// What stands at a path with dots.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

/// Puts a value at a path with dots.
fn put(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(object.insert(path.to_owned(), value)),
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// An order of all values: those of one kind by what they say, kinds after one another.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default())
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => kind(a).cmp(&kind(b)),
    }
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Number(_) => 1,
        Value::Bool(_) => 2,
        Value::Object(_) => 3,
        Value::Array(_) => 4,
        Value::String(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::broker::Broker;
    use crate::config::Settings;

    fn state() -> AdminState {
        AdminState::new(Broker::in_memory().build(), Arc::new(Settings::default()), Vec::new())
    }

    fn select(query: &str, count: usize) -> Result<Value, ApiError> {
        let uri = format!("/x?{query}").parse().expect("a path");
        let query = axum::extract::Query::<ListQuery>::try_from_uri(&uri).expect("texts");
        let rows: Vec<_> =
            (0..count).map(|n| json!({"name": format!("Q{n}"), "n": n, "at": {"n": n % 3}})).collect();
        Ok(match query.select(&state(), rows)? {
            Listing::All(rows) => Value::Array(rows),
            Listing::Page(page) => serde_json::to_value(page).expect("JSON"),
        })
    }

    #[test]
    fn without_a_page_all_rows_come_as_an_array() {
        assert_eq!(select("", 3).unwrap().as_array().map(Vec::len), Some(3));
        assert_eq!(select("columns=name", 1).unwrap(), json!([{"name": "Q0"}]));
        assert_eq!(select("columns=at.n,nothing", 1).unwrap(), json!([{"at": {"n": 0}}]));
    }

    #[test]
    fn a_page_says_how_many_there_are() {
        let page = select("page=2&page_size=2&columns=n", 5).unwrap();
        assert_eq!(
            page,
            json!({"total_count": 5, "item_count": 2, "filtered_count": 5, "page": 2, "page_size": 2,
                   "page_count": 3, "items": [{"n": 2}, {"n": 3}]})
        );
        assert_eq!(select("page=1", 0).unwrap()["page_count"], 1);
        assert_eq!(select("page=1&name=q1", 12).unwrap()["filtered_count"], 3);
        assert_eq!(select("page=1&name=%5EQ1%24&use_regex=true", 12).unwrap()["filtered_count"], 1);
    }

    #[test]
    fn rows_are_sorted_by_a_field_inside_others() {
        let sorted = select("sort=at.n&sort_reverse=true&columns=n", 6).unwrap();
        let numbers: Vec<_> =
            sorted.as_array().unwrap().iter().map(|row| row["n"].as_i64().unwrap()).collect();
        assert_eq!(numbers, [2, 5, 1, 4, 0, 3]);
    }

    #[test]
    fn pages_that_cannot_be_are_refused() {
        for query in ["page=0", "page=x", "page=-1", "page=1&page_size=501", "page=1&page_size=0", "page=9"] {
            assert_eq!(select(query, 5).unwrap_err().status(), 400, "{query}");
        }
        for pattern in ["(", "(a{1000}){1000}", "%5B"] {
            let query = format!("name={pattern}&use_regex=true");
            assert_eq!(select(&query, 5).unwrap_err().status(), 400, "{query}");
        }
    }
}
