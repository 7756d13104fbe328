//! Which keys exist, and which of them a mistyped one is most like.
//!
//! Invariant: the keys are read off the default [`Settings`], so a field cannot be forgotten here.

use std::collections::BTreeMap;

use config::{Config, Value, ValueKind};

use super::{ConfigError, PermissionSettings, Secret, Settings, UserSettings};

/// What may stand at one place of the settings.
enum Known {
    /// A value.
    Leaf,
    /// These keys.
    Section(BTreeMap<String, Known>),
    /// Any key, and under each the same.
    Each(Box<Known>),
}

/// All keys that exist.
pub(super) struct Keys {
    root: Known,
}

/// The one section whose keys the operator makes up, and in each of its sections another.
const USERS: [&str; 2] = ["auth", "users"];
const PERMISSIONS: &str = "permissions";

/// Lists that are empty by default: the `config` crate leaves those out when it takes settings apart.
const EMPTY_LISTS: [&[&str]; 4] =
    [&["policies"], &["management", "origins"], &["management", "tls_listen"], &["tls", "sni"]];

/// Stands for a name that the operator makes up.
const ANY_NAME: &str = "NAME";

/// A key of the same section wins over a somewhat more similar one of another.
const SAME_SECTION_BONUS: f64 = 0.35;

/// Of equals in several sections, the one of this is meant most often: `listen` is `server.listen`.
const FIRST_SECTION: &str = "server";
const FIRST_SECTION_BONUS: f64 = 0.01;

impl Keys {
    /// The keys of [`Settings`].
    pub(super) fn of_settings() -> Self {
        let mut settings = Settings::default();
        // One of what operators name themselves, so that its keys are there.
        let permissions = BTreeMap::from([(ANY_NAME.to_owned(), PermissionSettings::default())]);
        let user = UserSettings {
            password: Secret::new(""),
            tags: vec![String::new()],
            permissions: Some(permissions),
        };
        settings.auth.users.insert(ANY_NAME.to_owned(), user);
        let defaults = Config::try_from(&settings)
            .and_then(|config| config.try_deserialize::<Value>())
            .expect("settings are made of texts, numbers, lists and tables, which all serialize");
        let mut root = known(&defaults, &mut Vec::new());
        for list in EMPTY_LISTS {
            root.add_leaf(list);
        }
        Self { root }
    }

    /// Refuses a key that does not exist, and a value where a section must be.
    pub(super) fn check(
        &self,
        path: &[&str],
        value: &Value,
        origin: &dyn Fn() -> String,
    ) -> Result<(), ConfigError> {
        let mut place = &self.root;
        for segment in path {
            place = match place.child(segment) {
                Some(child) => child,
                None => {
                    return Err(ConfigError::UnknownKey {
                        origin: origin(),
                        key: join(path),
                        nearest: self.nearest(path),
                    });
                }
            };
        }
        match (place, &value.kind) {
            (Known::Leaf, _) => Ok(()),
            (Known::Section(_) | Known::Each(_), ValueKind::Table(table)) => {
                // Sorted, so that of two mistakes the same one is told each time.
                let mut entries: Vec<_> = table.iter().collect();
                entries.sort_by_key(|(name, _)| name.as_str());
                for (name, value) in entries {
                    let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
                    self.check(&path, value, origin)?;
                }
                Ok(())
            }
            (Known::Section(_) | Known::Each(_), _) => Err(ConfigError::BadValue {
                origin: origin(),
                key: join(path),
                problem: format!("this is a section of settings, not a value; write [{}]", join(path)),
            }),
        }
    }

    /// The known key most like `path`: the likeness of the last words decides, then the right section.
    fn nearest(&self, path: &[&str]) -> String {
        let mut all = Vec::new();
        self.root.collect(&mut Vec::new(), &mut all);
        let (last, parent) = path.split_last().unwrap_or((&"", &[]));
        let section = self.as_known(parent);
        let score = |candidate: &Vec<String>| {
            let Some((word, candidate_section)) = candidate.split_last() else { return 0.0 };
            // The whole, too: TOML takes `"server.listen" = …` for one strange word.
            let whole = strsim::normalized_damerau_levenshtein(&path.join("."), &candidate.join("."));
            let likeness = strsim::normalized_damerau_levenshtein(last, word).max(whole);
            let first = if candidate_section == [FIRST_SECTION] { FIRST_SECTION_BONUS } else { 0.0 };
            likeness + first + if candidate_section == section { SAME_SECTION_BONUS } else { 0.0 }
        };
        let best = all.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        best.map(|path| path.join(".")).unwrap_or_default()
    }

    /// A path with the names that operators make up replaced by the word that stands for them.
    fn as_known(&self, path: &[&str]) -> Vec<String> {
        let mut place = Some(&self.root);
        let mut out = Vec::new();
        for segment in path {
            out.push(match place {
                Some(Known::Each(_)) => ANY_NAME.to_owned(),
                _ => (*segment).to_owned(),
            });
            place = place.and_then(|place| place.child(segment));
        }
        out
    }
}

impl Known {
    /// Adds a value at a path of sections that exist.
    fn add_leaf(&mut self, path: &[&str]) {
        let Known::Section(keys) = self else { return };
        match path {
            [] => {}
            [name] => drop(keys.insert((*name).to_owned(), Known::Leaf)),
            [section, rest @ ..] => {
                if let Some(section) = keys.get_mut(*section) {
                    section.add_leaf(rest);
                }
            }
        }
    }

    fn child(&self, name: &str) -> Option<&Known> {
        match self {
            Known::Leaf => None,
            Known::Section(children) => children.get(name),
            Known::Each(child) => Some(child),
        }
    }

    fn collect(&self, path: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
        let children: Vec<(&str, &Known)> = match self {
            Known::Leaf => Vec::new(),
            Known::Section(children) => children.iter().map(|(name, child)| (name.as_str(), child)).collect(),
            Known::Each(child) => vec![(ANY_NAME, child)],
        };
        for (name, child) in children {
            path.push(name.to_owned());
            all.push(path.clone());
            child.collect(path, all);
            path.pop();
        }
    }
}

fn known(value: &Value, path: &mut Vec<String>) -> Known {
    let ValueKind::Table(table) = &value.kind else {
        return Known::Leaf;
    };
    let mut children = BTreeMap::new();
    for (name, value) in table {
        path.push(name.clone());
        children.insert(name.clone(), known(value, path));
        path.pop();
    }
    let of_user = path.strip_prefix(&USERS.map(str::to_owned));
    match of_user.is_some_and(|rest| {
        rest.is_empty() || rest.get(1).is_some_and(|key| key == PERMISSIONS) && rest.len() == 2
    }) {
        true => Known::Each(Box::new(children.into_values().next().unwrap_or(Known::Leaf))),
        false => Known::Section(children),
    }
}

/// A path as it would be written in one line; a name with a dot of its own is quoted.
pub(super) fn join(path: &[&str]) -> String {
    let shown = path.iter().map(|name| match name.contains(['.', '"', ' ']) || name.is_empty() {
        true => format!("{name:?}"),
        false => (*name).to_owned(),
    });
    shown.collect::<Vec<_>>().join(".")
}
