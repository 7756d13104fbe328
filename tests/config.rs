//! Settings: what the file, the environment and flags can say, and what is told when they are wrong.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use rialto::config::{
    ConfigError, ListenAddress, LogFormat, LogLevel, OnDamage, Overrides, Settings, Size, Sources, SyncMode,
    load, parse_text,
};

const SAMPLE: &str = include_str!("../broker.toml");

/// The keys of a settings value, with their sections.
fn keys(value: &serde_json::Value, path: &str, out: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(entries) => {
            for (name, value) in entries {
                keys(value, &format!("{path}.{name}"), out);
            }
        }
        _ => {
            out.insert(path.trim_start_matches('.').to_owned());
        }
    }
}

fn keys_of_settings() -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    keys(&serde_json::to_value(Settings::default()).unwrap(), "", &mut out);
    out
}

/// The keys that a file sets, read without our code.
fn keys_of_sample() -> BTreeSet<String> {
    let source = config::File::from_str(SAMPLE, config::FileFormat::Toml);
    let file = config::Config::builder().add_source(source).build().unwrap();
    let mut out = BTreeSet::new();
    keys(&file.try_deserialize::<serde_json::Value>().unwrap(), "", &mut out);
    out
}

fn bad(text: &str) -> ConfigError {
    parse_text(text).expect_err("the text is wrong")
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn load_with(text: &str, variables: &[(&str, &str)], overrides: Overrides) -> Result<Settings, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.toml");
    std::fs::write(&file, text).unwrap();
    load(Sources { file: Some(file), environment: environment(variables), overrides })
        .map(|loaded| loaded.settings)
}

#[test]
fn the_sample_lists_every_setting_and_no_other() {
    assert_eq!(keys_of_sample(), keys_of_settings());
}

#[test]
fn the_sample_says_the_defaults() {
    assert_eq!(parse_text(SAMPLE).unwrap(), Settings::default());
}

#[test]
fn every_setting_of_the_sample_says_what_it_protects() {
    let mut comment = Vec::new();
    for line in SAMPLE.lines() {
        match line {
            line if line.starts_with('#') => comment.push(line),
            "" => comment.clear(),
            line if line.contains('=') => {
                assert!(comment.iter().any(|line| line.contains("Protects ")), "{line}");
                comment.clear();
            }
            // A section that the operator fills has its comment in front of its header.
            line => {
                if line != "[auth.users]" {
                    comment.clear();
                }
            }
        }
    }
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(parse_text("").unwrap(), Settings::default());
}

#[test]
fn sizes_and_durations_are_read_with_their_units() {
    let settings = parse_text(
        "[server]\nread_chunk = 65536\nhandshake_timeout = \"250 ms\"\nshutdown_grace = \"1m 30s\"\n\
         [memory]\nbudget = \"2 GiB\"\nqueue_budget = \"200 MB\"\n\
         [protocol]\nheartbeat = 0",
    )
    .unwrap();
    assert_eq!(settings.server.read_chunk, Size::kib(64));
    assert_eq!(settings.server.handshake_timeout, Duration::from_millis(250));
    assert_eq!(settings.server.shutdown_grace, Duration::from_secs(90));
    assert_eq!(settings.memory.budget, Size::gib(2));
    assert_eq!(settings.memory.queue_budget, Size::new(200_000_000));
    assert_eq!(settings.protocol.heartbeat, Duration::ZERO);
}

#[test]
fn the_journal_is_set_in_the_words_of_the_file() {
    let settings = parse_text(
        "[store]\nsync = \"interval\"\nsync_interval = \"1 s\"\nsegment_size = \"8 MiB\"\nfree_space_min = 0\n\
         on_damage = \"skip\"\ngarbage_ratio_max = 30\n[memory]\nqueue_bodies = \"1 MiB\"",
    )
    .unwrap();
    let store = &settings.store;
    assert_eq!((store.sync, store.sync_interval), (SyncMode::Interval, Duration::from_secs(1)));
    assert_eq!((store.segment_size, store.free_space_min), (Size::mib(8), Size::new(0)));
    assert_eq!((store.on_damage, store.garbage_ratio_max), (OnDamage::Skip, 30));
    assert_eq!(settings.memory.bodies_kept(), Size::mib(1));
}

#[test]
fn bodies_leave_memory_before_their_publishers_are_held_back() {
    let settings = parse_text("[memory]\nqueue_budget = \"8 MiB\"").unwrap();
    assert_eq!(settings.memory.bodies_kept(), Size::mib(4));
    assert_eq!(Settings::default().memory.bodies_kept(), Size::mib(16));
}

#[test]
fn an_unknown_key_names_file_key_and_nearest_known_key() {
    for (text, key, nearest) in [
        ("[server]\nlisen = []", "server.lisen", "server.listen"),
        ("[sever]\nlisten = []", "sever", "server"),
        ("[memory]\nbugdet = 1", "memory.bugdet", "memory.budget"),
        // The right key in the wrong section.
        ("[server]\nheartbeat = \"1 s\"", "server.heartbeat", "protocol.heartbeat"),
        ("listen = [\"127.0.0.1:1\"]", "listen", "server.listen"),
        ("[auth.users.bob]\npasword = \"x\"", "auth.users.bob.pasword", "auth.users.NAME.password"),
        ("[auth.users.\"a.b\"]\nage = 3", "auth.users.\"a.b\".age", "auth.users.NAME.tags"),
        (
            "[auth.users.a]\npermissions = { v = { wirte = \"\" } }",
            "auth.users.a.permissions.v.wirte",
            "auth.users.NAME.permissions.NAME.write",
        ),
        ("\"server.listen\" = 1", "\"server.listen\"", "server.listen"),
        // The `config` crate would take this for an index and make the list that long.
        ("\"server.listen[9999999999]\" = 1", "\"server.listen[9999999999]\"", "server"),
    ] {
        let error = bad(text);
        let expected = ConfigError::UnknownKey {
            origin: "broker.toml".to_owned(),
            key: key.to_owned(),
            nearest: nearest.to_owned(),
        };
        assert_eq!(error, expected, "{text}");
        assert!(error.advice().contains(nearest));
    }
}

#[test]
fn a_bad_value_names_the_key_and_what_can_be_written() {
    for (text, key, hint) in [
        ("[memory]\nbudget = \"1 parsec\"", "memory.budget", "128 MiB"),
        ("[memory]\nbudget = -5", "memory.budget", "below zero"),
        ("[memory]\nbudget = 1.5", "memory.budget", "a size"),
        ("[memory]\nbudget = \"99999999999999999999 EiB\"", "memory.budget", "out of range"),
        ("[protocol]\nheartbeat = 30", "protocol.heartbeat", "\"30 s\"?"),
        ("[protocol]\nheartbeat = \"30\"", "protocol.heartbeat", "10 s"),
        ("[protocol]\nheartbeat = \"1 ms\"", "protocol.heartbeat", "or 0 for none"),
        ("[protocol]\nheartbeat = \"99999999999999999999999 years\"", "protocol.heartbeat", "10 s"),
        ("[protocol]\nchannel_max = 2047.6", "protocol.channel_max", "whole number"),
        ("[protocol]\nchannel_max = 65536", "protocol.channel_max", "65535"),
        ("[protocol]\nchannel_max = 0", "protocol.channel_max", "from 1 to 65535"),
        ("[protocol]\nchannel_max = true", "protocol.channel_max", "whole number"),
        ("[server]\nlisten = []", "server.listen", "at least one"),
        ("[server]\nlisten = [\"127.0.0.1:1\", \"here\"]", "server.listen[1]", "host:port"),
        ("[server]\nlisten = [5672]", "server.listen[0]", "address"),
        ("[server]\nlisten = 5672", "server.listen", "a list"),
        ("server = 5", "server", "[server]"),
        ("[store]\nsync = \"sometimes\"", "store.sync", "always, interval, never"),
        ("[store]\nsync = true", "store.sync", "a way to sync"),
        ("[store]\nsync_interval = 200", "store.sync_interval", "\"200 s\"?"),
        ("[store]\nsync_interval = \"0 s\"", "store.sync_interval", "from 1ms to 1h"),
        ("[store]\nsegment_size = \"4 GiB\"", "store.segment_size", "from 1 MiB to 1 GiB"),
        ("[store]\non_damage = \"repair\"", "store.on_damage", "refuse, skip"),
        ("[store]\ngarbage_ratio_max = 95", "store.garbage_ratio_max", "from 10 to 90"),
        ("[store]\ngarbage_ratio_max = \"50%\"", "store.garbage_ratio_max", "whole number"),
        ("[log]\nlevel = \"loud\"", "log.level", "off, error, warn, info, debug, trace"),
        ("[log]\nformat = \"xml\"", "log.format", "text, json"),
        ("[auth]\nguest_loopback_only = 1", "auth.guest_loopback_only", "true or false"),
        ("[auth.users.bob]\npassword = 1.10", "auth.users.bob.password", "in quotes"),
        ("[auth.users]\nbob = \"secret\"", "auth.users.bob", "[auth.users.bob]"),
        ("[auth.users.bob]", "auth.users.bob.password", "missing"),
        (
            "[auth.users.a]\npassword = \"p\"\npermissions = { v = { read = \"\" } }",
            "auth.users",
            "no vhost \"v\"",
        ),
        (
            "[auth.users.a]\npassword = \"p\"\npermissions = { \"/\" = { read = \"(\" } }",
            "auth.users",
            "'(' is not a valid",
        ),
        ("[auth]\nhash_memory = \"1 GiB\"", "auth.hash_memory", "256 MiB"),
        ("[vhosts]\nnames = [\"/\", \"/\"]", "vhosts.names", "twice"),
        ("[vhosts]\nnames = []", "vhosts.names", "at least one"),
        ("[memory]\nqueue_budget = \"2 GiB\"", "memory.queue_budget", "memory.budget"),
        ("[protocol]\nmessage_size_max = \"32 MiB\"", "protocol.frame_max", "33280 KiB"),
    ] {
        match bad(text) {
            ConfigError::BadValue { key: found, problem, .. } => {
                assert_eq!(found, key, "{text}");
                assert!(problem.contains(hint), "{text}: {problem}");
            }
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn a_value_from_the_file_is_blamed_on_the_file() {
    assert_eq!(bad("[protocol]\nheartbeat = 30").origin(), "broker.toml");
    assert_eq!(bad("[auth.users.bob]").origin(), "broker.toml");
    assert_eq!(bad("[protocol]\nchannel_max = 0").origin(), "broker.toml");
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let error = bad("[server]\nlisten = [");
    assert!(matches!(error, ConfigError::Syntax { .. }), "{error}");
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    for text in ["[".repeat(100_000), format!("a = {}", "[".repeat(100_000)), "a.".repeat(10_000)] {
        assert!(parse_text(&text).is_err());
    }
}

#[test]
fn users_of_the_file_are_administrators_who_may_do_everything_unless_it_says_more() {
    let settings = parse_text(
        "[auth.users]\nalice = { password = \"wonder\" }\n\
         bob = { password = \"b\", tags = [], permissions = { \"/\" = { write = \"^x$\" } } }",
    )
    .unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| &settings.auth.users[name]);
    assert_eq!((alice.password.reveal(), &*alice.tags), ("wonder", &["administrator".to_owned()][..]));
    assert_eq!((&alice.permissions, bob.tags.len()), (&None, 0));
    let rights = &bob.permissions.as_ref().unwrap()["/"];
    assert_eq!((&*rights.configure, &*rights.write, &*rights.read), ("", "^x$", ""));
}

#[test]
fn passwords_are_not_shown() {
    let settings = parse_text("[auth.users]\nalice = { password = \"wonder\" }").unwrap();
    assert!(!format!("{settings:?}").contains("wonder"));
    assert!(!serde_json::to_string(&settings).unwrap().contains("wonder"));
}

#[test]
fn the_environment_wins_over_the_file() {
    let settings = load_with(
        "[server]\nlisten = [\"127.0.0.1:1\"]\nconnections_max = 7\n[log]\nlevel = \"warn\"",
        &[
            ("RIALTO_SERVER__LISTEN", "127.0.0.1:2, [::1]:3"),
            ("RIALTO_MEMORY__BUDGET", "256 MiB"),
            ("RIALTO_PROTOCOL__CHANNEL_MAX", "100"),
            ("RIALTO_AUTH__GUEST_LOOPBACK_ONLY", "false"),
            ("RIALTO_AUTH__USERS__ALICE__PASSWORD", "007"),
            ("RIALTO_LOG__FORMAT", "json"),
            ("RIALTO_STORE__SYNC", "never"),
        ],
        Overrides::default(),
    )
    .unwrap();
    assert_eq!(settings.server.listen, [ListenAddress::new("127.0.0.1", 2), ListenAddress::new("::1", 3)]);
    assert_eq!(settings.server.connections_max, 7);
    assert_eq!(settings.memory.budget, Size::mib(256));
    assert_eq!(settings.protocol.channel_max, 100);
    assert!(!settings.auth.guest_loopback_only);
    assert_eq!(settings.auth.users["alice"].password.reveal(), "007");
    assert_eq!((settings.log.level, settings.log.format), (LogLevel::Warn, LogFormat::Json));
    assert_eq!(settings.store.sync, SyncMode::Never);
}

#[test]
fn variables_that_are_not_settings_are_left_alone() {
    let variables = [
        ("RIALTO_URL", "rialto://localhost"),
        ("RIALTO_SERVICE_HOST", "10.0.0.1"),
        ("RIALTO_PORT_5672_TCP", "tcp://10.0.0.1:5672"),
        ("OTHER_SERVER__LISTEN", "nowhere"),
        // Deployments pass on variables that nobody filled in.
        ("RIALTO_LOG__LEVEL", ""),
    ];
    assert_eq!(load_with("", &variables, Overrides::default()).unwrap(), Settings::default());
}

#[test]
fn a_mistyped_variable_is_named_with_the_nearest_key() {
    let error = load_with("", &[("RIALTO_SERVER__LISEN", "x")], Overrides::default()).unwrap_err();
    let expected = ConfigError::UnknownKey {
        origin: "the variable RIALTO_SERVER__LISEN".to_owned(),
        key: "server.lisen".to_owned(),
        nearest: "server.listen".to_owned(),
    };
    assert_eq!(error, expected);
    let error = load_with("", &[("RIALTO_SERVER__LISTEN__0", "x")], Overrides::default()).unwrap_err();
    assert!(matches!(error, ConfigError::UnknownKey { .. }), "{error}");
    let error = load_with("", &[("RIALTO___", "x")], Overrides::default()).unwrap_err();
    assert!(matches!(error, ConfigError::UnknownKey { .. }), "{error}");
}

#[test]
fn a_bad_value_in_a_variable_is_blamed_on_the_variable() {
    let error = load_with("", &[("RIALTO_MEMORY__BUDGET", "much")], Overrides::default()).unwrap_err();
    assert_eq!(error.origin(), "the variable RIALTO_MEMORY__BUDGET");
    let error = load_with("", &[("RIALTO_PROTOCOL__CHANNEL_MAX", "0")], Overrides::default()).unwrap_err();
    assert_eq!(error.origin(), "the variable RIALTO_PROTOCOL__CHANNEL_MAX");
}

#[test]
fn flags_win_over_the_environment() {
    let overrides = Overrides {
        listen: vec![ListenAddress::new("127.0.0.1", 9)],
        data_dir: Some(PathBuf::from("elsewhere")),
        in_memory: true,
        log_level: Some(LogLevel::Trace),
    };
    let settings =
        load_with("", &[("RIALTO_SERVER__LISTEN", "127.0.0.1:2"), ("RIALTO_LOG__LEVEL", "off")], overrides)
            .unwrap();
    assert_eq!(settings.server.listen, [ListenAddress::new("127.0.0.1", 9)]);
    assert_eq!(settings.store.data_dir, PathBuf::from("elsewhere"));
    assert!(settings.store.in_memory);
    assert_eq!(settings.log.level, LogLevel::Trace);
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    let file = Some(PathBuf::from("/nowhere/broker.toml"));
    let error = load(Sources { file, ..Sources::default() }).unwrap_err();
    assert_eq!(error.origin(), "/nowhere/broker.toml");
    assert!(error.advice().contains("--config"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(\\[?[a-z_.\"]{0,12}\\]?( = )?[-0-9a-z\"'\\[\\]{},. ]{0,12}\n){0,8}") {
        let _ = parse_text(&text);
    }

    #[test]
    fn no_value_makes_a_setting_panic(
        key in proptest::sample::select(keys_of_settings().into_iter().collect::<Vec<_>>()),
        value in "(\"[0-9a-zA-Z .:µé-]{0,10}\"|-?[0-9]{1,20}|\\[\"[0-9.:]{0,8}\"\\]|true|1\\.5)",
    ) {
        if let Err(error) = parse_text(&format!("{key} = {value}\n")) {
            proptest::prop_assert!(!error.origin().is_empty());
            if let ConfigError::BadValue { key: found, .. } = &error {
                proptest::prop_assert!(!found.is_empty());
            }
        }
    }
}

#[test]
fn policies_are_sections_of_their_own() {
    let settings = parse_text(
        r#"
        [[policies]]
        name = "short"
        pattern = "^t\\."
        apply_to = "queues"
        priority = 3
        definition = { max-length = 10, overflow = "reject-publish" }
        [[policies]]
        name = "other"
        pattern = ".*"
        definition = { alternate-exchange = "lost" }
        "#,
    )
    .unwrap();
    let policy = settings.policies[0].policy().unwrap();
    assert_eq!((policy.name(), policy.pattern(), policy.priority()), ("short", "^t\\.", 3));
    assert_eq!(policy.definition().to_string(), "{max-length: 10, overflow: reject-publish}");
    assert_eq!((&*settings.policies[1].vhost, &*settings.policies[1].apply_to), ("/", "all"));
}

#[test]
fn a_wrong_policy_is_named_with_what_is_wrong() {
    let policy = |rest: &str| format!("[[policies]]\nname = \"p\"\n{rest}");
    let definition = "definition = { max-length = 1 }";
    for (text, problem) in [
        (policy(&format!("pattern = \"(\"\n{definition}")), "is not a valid regular expression"),
        (policy(&format!("pattern = \"a\"\napply_to = \"queue\"\n{definition}")), "write one of all, queues"),
        (policy("pattern = \"a\"\ndefinition = { max-lenght = 1 }"), "'max-lenght' is not a recognised"),
        (policy(&format!("pattern = \"a\"\nvhost = \"/no\"\n{definition}")), "there is no vhost \"/no\""),
        (
            policy(&format!(
                "pattern = \"a\"\n{definition}\n{}",
                policy("pattern = \"b\"\ndefinition = { expires = 1 }")
            )),
            "twice",
        ),
        (policy(&format!("patern = \"a\"\n{definition}")), "patern"),
        (
            format!(
                "[topology]\npolicies_per_vhost_max = 1\n{}\n[[policies]]\nname = \"q\"\npattern = \"b\"\n{definition}",
                policy(&format!("pattern = \"a\"\n{definition}"))
            ),
            "topology.policies_per_vhost_max = 1",
        ),
    ] {
        let error = bad(&text).to_string();
        assert!(error.contains(problem) && error.contains("policies"), "{error}");
    }
}
