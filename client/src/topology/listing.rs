//! What exists in a vhost, page by page.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rialto_protocol::native::{ListOf, PAGE_ROWS_MAX, Request, Response};
use rialto_protocol::types::FieldTable;

use crate::client::Handle;
use crate::connection::unexpected;
use crate::error::Result;

/// What can be listed.
pub type ListKind = ListOf;

/// The rows of a list, fetched a page at a time: what came or went meanwhile may or may not show, everything
/// else shows once.
///
/// ```no_run
/// # async fn example(client: rialto_client::Client) -> rialto_client::Result<()> {
/// use rialto_client::ListKind;
/// let mut queues = client.list(ListKind::Queues);
/// while let Some(queue) = queues.next().await? {
///     println!("{queue}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct Listing {
    handle: Arc<Handle>,
    what: ListKind,
    page_size: u32,
    rows: VecDeque<FieldTable>,
    /// Where the next page starts; none after the last.
    after: Option<Bytes>,
}

impl Listing {
    pub(crate) fn new(handle: Arc<Handle>, what: ListKind) -> Self {
        Listing { handle, what, page_size: 200, rows: VecDeque::new(), after: Some(Bytes::new()) }
    }

    /// Rows that are fetched at a time, from 1 to 1000. Default 200.
    pub fn page_size(mut self, rows: u32) -> Self {
        self.page_size = rows.clamp(1, PAGE_ROWS_MAX);
        self
    }

    /// The next row; `None` after the last. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn next(&mut self) -> Result<Option<FieldTable>> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            let Some(after) = self.after.clone() else { return Ok(None) };
            let request = Request::List { what: self.what, after, limit: self.page_size };
            match self.handle.shared.request(request).await? {
                Response::Page { rows, next } => {
                    self.rows = rows.into();
                    self.after = Some(next).filter(|next| !next.is_empty());
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// All rows that are left.
    ///
    /// # Errors
    /// As [`Listing::next`].
    pub async fn all(mut self) -> Result<Vec<FieldTable>> {
        let mut all = Vec::new();
        while let Some(row) = self.next().await? {
            all.push(row);
        }
        Ok(all)
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("what", &self.what).finish_non_exhaustive()
    }
}
