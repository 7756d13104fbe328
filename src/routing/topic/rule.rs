//! The topic rule in its plainest form: one pattern against one key.
//!
//! The trie beside it is what routes; this is the reference it is tested and fuzzed against.

/// Whether a topic pattern matches a routing key. Words stand between dots; `*` is exactly one word, `#` is zero
/// or more, and empty words count as words. An empty key has no words at all (RabbitMQ's `split_topic_key`).
///
/// ```
/// use rialto::routing::topic_matches;
/// assert!(topic_matches("orders.*.#", "orders.eu"));
/// assert!(!topic_matches("orders.*.#", "orders"));
/// ```
pub fn topic_matches(pattern: &str, key: &str) -> bool {
    let words: Vec<&str> = words(key).collect();
    // ends[n]: the pattern so far can match the first n words.
    let mut ends = vec![false; words.len() + 1];
    ends[0] = true;
    for part in self::words(pattern) {
        let mut next = vec![false; words.len() + 1];
        for n in 0..=words.len() {
            next[n] = match part {
                "#" => ends[n] || (n > 0 && next[n - 1]),
                "*" => n > 0 && ends[n - 1],
                word => n > 0 && ends[n - 1] && words[n - 1] == word,
            };
        }
        ends = next;
    }
    ends[words.len()]
}

/// The words of a key or pattern.
pub(in crate::routing) fn words(key: &str) -> impl Iterator<Item = &str> {
    // `split` finds one empty word in an empty text; the rule finds none.
    key.split('.').filter(move |_| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_specification_tells() {
        // The first four are the examples of AMQP 0-9-1 section 3.1.3.3.
        let table = [
            ("*.stock.#", "usd.stock", true),
            ("*.stock.#", "eur.stock.db", true),
            ("*.stock.#", "stock.nasdaq", false),
            ("#", "", true),
            ("#", "a.b.c", true),
            ("*", "", false),
            ("*", "a.b", false),
            ("", "", true),
            ("", "a", false),
            ("a.#", "a", true),
            ("#.a", "a", true),
            ("#.a.#", "b.a.c", true),
            ("a.*.#.b", "a.b", false),
            ("a.*.#.b", "a.x.b", true),
            ("#.#", "a", true),
            ("*.*", ".", true),
            ("..", "..", true),
            ("a..b", "a.b", false),
            ("a.*.b", "a..b", true),
            ("ab#", "ab#", true),
            ("ab#", "abc", false),
        ];
        for (pattern, key, expected) in table {
            assert_eq!(topic_matches(pattern, key), expected, "{pattern:?} and {key:?}");
        }
    }
}
