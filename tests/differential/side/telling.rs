//! What was heard, in words that are the same for every broker.

use super::super::operation::compact;
use super::*;

impl Side {
    /// Replaces what this broker has made up by names that are the same everywhere.
    pub(super) fn told(&self, line: String) -> String {
        let mut line = line;
        for (index, made) in self.made_queues.iter().enumerate() {
            line = line.replace(made, &format!("${index}"));
        }
        for (index, made) in self.made_tags.iter().enumerate() {
            line = line.replace(made, &format!("tag{index}"));
        }
        // Names that were made up for what was then refused.
        for prefix in ["amq.gen-", "amq.ctag-"] {
            while let Some(start) = line.find(prefix) {
                let rest = &line[start + prefix.len()..];
                let len = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
                    .unwrap_or(rest.len());
                line.replace_range(start..start + prefix.len() + len, "(made up)");
            }
        }
        if self.endpoint.vhost != "/" {
            line = line.replace(&format!("vhost '{}'", self.endpoint.vhost), "vhost '/'");
        }
        line
    }

    /// What the step has brought so far.
    pub(crate) fn observation(&self) -> Observation {
        let mut seen = Observation::new();
        let mut tags: BTreeMap<(usize, u16), BTreeSet<u64>> = BTreeMap::new();
        for heard in &self.heard {
            let (link, event) = match heard {
                Heard::Event(link, event) => (*link, event),
                Heard::Silent(link, channel) => {
                    seen.entry(format!("{link}.{channel}")).or_default().push("SILENCE".to_owned());
                    continue;
                }
            };
            let at = (link, event.channel);
            let content = || self.content(event);
            let (stream, line) = match &event.method {
                Method::AccessRequestOk(_) => continue,
                Method::BasicDeliver(deliver) => {
                    tags.entry(at).or_default().insert(deliver.delivery_tag);
                    let BasicDeliver { redelivered, exchange, routing_key, .. } = deliver;
                    let line =
                        format!("{exchange:?} {routing_key:?} redelivered={redelivered} {}", content());
                    (format!(" to {}", deliver.consumer_tag), line)
                }
                Method::BasicGetOk(got) => (String::new(), format!("{got:?} {}", content())),
                Method::BasicReturn(returned) => {
                    (" returns".to_owned(), format!("{returned:?} {}", content()))
                }
                Method::BasicAck(_) | Method::BasicNack(_) => continue,
                Method::BasicCancel(cancel) => {
                    (format!(" to {}", cancel.consumer_tag), "CANCELLED".to_owned())
                }
                method => match Closed::of(event) {
                    Some(closed) => (String::new(), closed.to_string()),
                    None => (String::new(), format!("{method:?}")),
                },
            };
            let stream = self.told(format!("{link}.{}{stream}", event.channel));
            seen.entry(stream).or_default().push(self.told(line));
        }
        for ((link, channel), tags) in tags {
            seen.insert(format!("{link}.{channel} tags"), vec![format!("{tags:?}")]);
        }
        for ((link, channel), confirmed) in &self.confirmed {
            seen.insert(format!("{link}.{channel} confirms"), vec![format!("{confirmed:?}")]);
        }
        for (queue, state) in &self.states {
            seen.insert(format!("queue {queue}"), vec![state.clone()]);
        }
        seen
    }

    fn content(&self, event: &Event) -> String {
        let Some(content) = &event.content else { return String::new() };
        let body = String::from_utf8_lossy(&content.body[..content.body.len().min(SHOWN)]).into_owned();
        let properties = content.decoded();
        let is_dead = properties.headers.as_ref().is_some_and(|headers| headers.get("x-death").is_some());
        let properties = match is_dead {
            true => dead_letter(&properties),
            // What nobody had to touch is the same to the bit.
            false => content.properties.escape_ascii().to_string(),
        };
        format!("{:?} ({} bytes) {properties}", body.trim_end(), content.body.len())
    }
}

/// A dead letter's properties: in any order, and without the time.
fn dead_letter(properties: &Properties) -> String {
    let mut properties = properties.clone();
    let headers = properties.headers.take().unwrap_or_default();
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| match value {
            FieldValue::Array(deaths) if name.as_str() == "x-death" => {
                let deaths: Vec<_> = deaths.iter().map(death).collect();
                format!("x-death=[{}]", deaths.join(" "))
            }
            value => format!("{name}={value:?}"),
        })
        .collect();
    lines.sort();
    format!("{} {}", compact(&properties), lines.join(", "))
}

fn death(death: &FieldValue) -> String {
    let FieldValue::Table(death) = death else { return format!("{death:?}") };
    let mut fields: Vec<_> = death
        .iter()
        .filter(|(name, _)| name.as_str() != "time")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    fields.sort();
    let has_time = matches!(death.get("time"), Some(FieldValue::Timestamp(_)));
    format!("{{{}{}}}", fields.join(" "), if has_time { "" } else { " WITHOUT TIME" })
}
