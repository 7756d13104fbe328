//! What can be wrong with the settings, and what to do about it.

use thiserror::Error;

/// Why no [`super::Settings`] came out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {origin}: {cause}")]
    Unreadable {
        /// The file.
        origin: String,
        /// Why, in the words of the system.
        cause: String,
    },
    /// The file is not TOML.
    #[error("{origin} is not valid TOML: {cause}")]
    Syntax {
        /// The file.
        origin: String,
        /// Where and why, in the words of the TOML parser.
        cause: String,
    },
    /// A key that is not a setting.
    #[error("unknown setting `{key}` in {origin}; the nearest known one is `{nearest}`")]
    UnknownKey {
        /// The file or the variable.
        origin: String,
        /// The key, with its section.
        key: String,
        /// The known key that is most like it.
        nearest: String,
    },
    /// A value that the setting cannot take.
    #[error("`{key}` in {origin}: {problem}")]
    BadValue {
        /// The file, the variable, or the defaults.
        origin: String,
        /// The setting.
        key: String,
        /// What is wrong, and what can be written instead.
        problem: String,
    },
}

impl ConfigError {
    /// What is wrong, in one clause.
    pub fn what(&self) -> String {
        match self {
            ConfigError::Unreadable { cause, .. } => format!("the settings cannot be read: {cause}"),
            ConfigError::Syntax { cause, .. } => format!("the settings are not valid TOML: {cause}"),
            ConfigError::UnknownKey { key, .. } => format!("unknown setting `{key}`"),
            ConfigError::BadValue { key, problem, .. } => format!("`{key}`: {problem}"),
        }
    }

    /// Where it is wrong: a file, a variable.
    pub fn origin(&self) -> &str {
        match self {
            ConfigError::Unreadable { origin, .. }
            | ConfigError::Syntax { origin, .. }
            | ConfigError::UnknownKey { origin, .. }
            | ConfigError::BadValue { origin, .. } => origin,
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            ConfigError::Unreadable { .. } => {
                "check the path and its permissions, or leave --config out to run with the defaults"
                    .to_owned()
            }
            ConfigError::Syntax { .. } => "mend that line; texts stand in double quotes".to_owned(),
            ConfigError::UnknownKey { nearest, .. } => {
                format!("did you mean `{nearest}`? The sample broker.toml lists every setting")
            }
            ConfigError::BadValue { key, .. } => {
                format!("change `{key}` there, or remove it to get the default")
            }
        }
    }
}
