//! Where settings come from: the file, then the environment, then flags, the later winning.
//!
//! Invariant: keys are checked source by source before values are merged, so an error names its source.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat, Map, Source, Value};

use super::keys::Keys;
use super::{ConfigError, ListenAddress, LogLevel, Settings, limits};

/// The file that is read when none is named and the working directory has it.
pub const FILE_NAME: &str = "broker.toml";

/// What a variable starts with: `RIALTO_SERVER__LISTEN` sets `server.listen`.
pub const ENVIRONMENT_PREFIX: &str = "RIALTO_";

/// Stands between section and key in the name of a variable.
const ENVIRONMENT_SEPARATOR: &str = "__";

/// What [`load`] reads.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file; none: `broker.toml` in the working directory, if it is there.
    pub file: Option<PathBuf>,
    /// Variables, those of others among them. Only `RIALTO_SECTION__KEY` counts: a name without the double
    /// underscore is not a setting (`RIALTO_URL`, and what Kubernetes makes of a service called `rialto`), and
    /// an empty one is as good as none. Names are read in lower case.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags.
    pub overrides: Overrides,
}

/// What flags say; they win over file and environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--listen`; none: as the file says.
    pub listen: Vec<ListenAddress>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--in-memory`.
    pub in_memory: bool,
    /// `--log-level`.
    pub log_level: Option<LogLevel>,
}

/// Checked settings, and the file they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
}

/// Reads all sources and checks what they say.
pub fn load(sources: Sources) -> Result<Loaded, ConfigError> {
    let file = match sources.file {
        Some(path) => Some(path),
        None => Some(PathBuf::from(FILE_NAME)).filter(|path| path.is_file()),
    };
    let mut layers = Vec::new();
    if let Some(path) = &file {
        layers.push(Layer::file(&path.display().to_string(), &read(path)?)?);
    }
    layers.push(Layer::environment(sources.environment)?);
    let mut settings = merge(&layers)?;
    sources.overrides.apply(&mut settings);
    check(&settings, &layers)?;
    Ok(Loaded { settings, file })
}

/// Settings from the text of a `broker.toml`, without environment and flags. Never panics, whatever the text.
///
/// ```
/// let settings = rialto::config::parse_text("[protocol]\nheartbeat = \"5 s\"").unwrap();
/// assert_eq!(settings.protocol.heartbeat.as_secs(), 5);
///
/// let error = rialto::config::parse_text("[protocol]\nhartbeat = \"5 s\"").unwrap_err();
/// assert!(error.to_string().contains("`protocol.heartbeat`"));
/// ```
pub fn parse_text(text: &str) -> Result<Settings, ConfigError> {
    let layers = [Layer::file(FILE_NAME, text)?];
    let settings = merge(&layers)?;
    check(&settings, &layers)?;
    Ok(settings)
}

impl Overrides {
    fn apply(self, settings: &mut Settings) {
        if !self.listen.is_empty() {
            settings.server.listen = self.listen;
        }
        if let Some(folder) = self.data_dir {
            settings.store.data_dir = folder;
        }
        if self.in_memory {
            settings.store.in_memory = true;
        }
        if let Some(level) = self.log_level {
            settings.log.level = level;
        }
    }
}

/// One source, read and with known keys only.
struct Layer {
    /// What it is called in errors, and for the environment the variable of each key.
    origin: Origin,
    values: Map<String, Value>,
}

enum Origin {
    File(String),
    Environment(Vec<(String, String)>),
}

impl Layer {
    fn file(name: &str, text: &str) -> Result<Self, ConfigError> {
        let values = File::from_str(text, FileFormat::Toml).collect().map_err(|error| {
            ConfigError::Syntax { origin: name.to_owned(), cause: error.to_string().trim_end().to_owned() }
        })?;
        let keys = Keys::of_settings();
        // As one table, so that the order of errors is that of the keys.
        keys.check(&[], &Value::from(values.clone()), &|| name.to_owned())?;
        Ok(Self { origin: Origin::File(name.to_owned()), values })
    }

    fn environment(variables: Vec<(OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut texts = Map::new();
        let mut names = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| is_setting(name)) else { continue };
            let key = key_of_variable(name);
            let value = value.into_string().map_err(|_| ConfigError::BadValue {
                origin: format!("the variable {name}"),
                key: key.clone(),
                problem: "the value is not valid UTF-8".to_owned(),
            })?;
            names.push((key, name.to_owned()));
            texts.insert(name.to_owned(), value);
        }
        names.sort();
        let source = Environment::with_prefix(ENVIRONMENT_PREFIX.trim_end_matches('_'))
            .prefix_separator("_")
            .separator(ENVIRONMENT_SEPARATOR)
            .ignore_empty(true)
            .source(Some(texts));
        let values = source.collect().map_err(|error| ConfigError::Unreadable {
            origin: "the environment".to_owned(),
            cause: error.to_string(),
        })?;
        let keys = Keys::of_settings();
        for (key, name) in &names {
            let Some(value) = values.get(key) else { continue };
            let path: Vec<&str> = key.split('.').collect();
            keys.check(&path, value, &|| format!("the variable {name}"))?;
        }
        Ok(Self { origin: Origin::Environment(names), values })
    }

    /// The name of this source, if it sets the key.
    fn origin_of(&self, key: &str) -> Option<String> {
        match &self.origin {
            Origin::File(name) => {
                let mut segments = key.split('.');
                let mut value = self.values.get(segments.next()?)?;
                for segment in segments {
                    value = match &value.kind {
                        config::ValueKind::Table(table) => table.get(segment)?,
                        _ => return None,
                    };
                }
                Some(name.clone())
            }
            Origin::Environment(names) => {
                let below = format!("{key}.");
                let (_, name) = names.iter().find(|(name, _)| name == key || name.starts_with(&below))?;
                Some(format!("the variable {name}"))
            }
        }
    }
}

/// Lets the `config` crate merge what was read already.
#[derive(Clone, Debug)]
struct Collected(Map<String, Value>);

impl Source for Collected {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

fn is_setting(variable: &str) -> bool {
    let rest = variable.strip_prefix(ENVIRONMENT_PREFIX);
    rest.is_some_and(|rest| rest.contains(ENVIRONMENT_SEPARATOR))
}

fn key_of_variable(name: &str) -> String {
    let rest = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(name);
    rest.to_lowercase().replace(ENVIRONMENT_SEPARATOR, ".")
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        origin: path.display().to_string(),
        cause: error.to_string(),
    })
}

fn merge(layers: &[Layer]) -> Result<Settings, ConfigError> {
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(Collected(layer.values.clone()));
    }
    let merged = builder.build().and_then(Config::try_deserialize::<Settings>);
    merged.map_err(|error| bad_value(error, layers))
}

fn check(settings: &Settings, layers: &[Layer]) -> Result<(), ConfigError> {
    limits::check(settings).map_err(|error| ConfigError::BadValue {
        origin: origin_of(error.key, layers),
        key: error.key.to_owned(),
        problem: error.problem,
    })
}

/// Puts an error of the `config` crate into our terms.
fn bad_value(error: config::ConfigError, layers: &[Layer]) -> ConfigError {
    let (key, problem) = match error {
        config::ConfigError::Type { unexpected, expected, key, .. } => {
            (key, format!("found {unexpected}, but it must be {expected}"))
        }
        config::ConfigError::At { error, key, .. } => (key, error.to_string()),
        config::ConfigError::NotFound(key) => (Some(key), "it is missing".to_owned()),
        other => (None, other.to_string()),
    };
    let key = key.unwrap_or_default();
    // Of `server.listen[1]` the sources know `server.listen`.
    let setting = key.split('[').next().unwrap_or_default();
    ConfigError::BadValue { origin: origin_of(setting, layers), key, problem }
}

/// The source that decides a key: the last that sets it, or sets what it is missing from.
fn origin_of(key: &str, layers: &[Layer]) -> String {
    let parent = key.rsplit_once('.').map(|(parent, _)| parent);
    let find = |key: &str| layers.iter().rev().find_map(|layer| layer.origin_of(key));
    find(key).or_else(|| parent.and_then(find)).unwrap_or_else(|| "the defaults".to_owned())
}
