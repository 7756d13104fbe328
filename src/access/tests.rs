//! Logins and permissions as they work together.

use super::*;

fn origin(address: &str) -> Origin {
    Origin::plain(address.parse().unwrap(), Protocol::Amqp)
}

fn here() -> Origin {
    origin("127.0.0.1:1000")
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + millis)
}

fn vhost(name: &str) -> VhostName {
    VhostName::new(name).unwrap()
}

/// Hashing costs next to nothing: the tests are not built to be fast.
fn options() -> AccessOptions {
    let cost = HashCost { memory_kib: 8, passes: 1, scram_rounds: 2 };
    AccessOptions { cost, ..AccessOptions::default() }
}

fn with_guest() -> Arc<Access> {
    let access = Access::new(options());
    access.put_guest(&[vhost("/")]);
    access
}

fn log_in(access: &Arc<Access>, mechanism: &str, response: &[u8], from: &Origin) -> Step {
    access.begin(mechanism, from, at(0)).unwrap().respond(response).run_in_place()
}

fn name(step: Step) -> String {
    match step {
        Step::Done(principal) => principal.name().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn refusal(step: Step) -> Refusal {
    match step {
        Step::Refused(LoginError::Refused { reason, .. }, _) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn guest_logs_in_from_this_machine_only() {
    let access = with_guest();
    for from in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert_eq!(name(log_in(&access, "PLAIN", b"\0guest\0guest", &origin(from))), "guest");
    }
    let step = log_in(&access, "PLAIN", b"\0guest\0guest", &origin("10.0.0.1:1"));
    assert_eq!(refusal(step), Refusal::NotLoopback);
    let access = Access::new(AccessOptions { guest_loopback_only: false, ..options() });
    access.put_guest(&[]);
    assert_eq!(name(log_in(&access, "PLAIN", b"\0guest\0guest", &origin("10.0.0.1:1"))), "guest");
}

#[test]
fn wrong_and_malformed_logins_are_refused() {
    let access = with_guest();
    assert_eq!(refusal(log_in(&access, "PLAIN", b"\0guest\0wrong", &here())), Refusal::WrongPassword);
    assert_eq!(refusal(log_in(&access, "PLAIN", b"\0nobody\0guest", &here())), Refusal::UnknownUser);
    let malformed = log_in(&access, "PLAIN", b"guest", &here());
    assert!(matches!(malformed, Step::Refused(LoginError::Malformed { mechanism: "PLAIN", .. }, None)));
    let error = access.begin("CRAM-MD5", &here(), at(0)).unwrap_err();
    let text = "SASL mechanism 'CRAM-MD5' is not supported; use one of PLAIN AMQPLAIN SCRAM-SHA-256";
    assert_eq!(error.to_string(), text);
    assert!(access.begin("EXTERNAL", &here(), at(0)).is_err());
    assert_eq!(access.attempts(Protocol::Amqp), (0, 5));
}

fn user(name: &str, password: &str, access: &Access) -> User {
    User::new(name, access.hash_password(password).unwrap(), Tags::default())
}

#[test]
fn all_kinds_of_passwords_log_in_by_plain_and_amqplain() {
    let access = with_guest();
    access.put_user(user("new", "p", &access));
    for (name, hashing) in
        [("sha256", RabbitHashing::Sha256), ("sha512", RabbitHashing::Sha512), ("md5", RabbitHashing::Md5)]
    {
        access.put_user(User::new(name, Credentials::new_rabbitmq("p", hashing), Tags::default()));
    }
    access.put_file_user(User::new("file", Credentials::plain("p"), Tags::default()), None);
    for known in ["new", "sha256", "sha512", "md5", "file"] {
        let plain = format!("\0{known}\0p");
        let wrong = format!("\0{known}\0q");
        let table = rialto_protocol::types::FieldTable::new().with("LOGIN", known).with("PASSWORD", "p");
        for _ in 0..2 {
            assert_eq!(name(log_in(&access, "PLAIN", plain.as_bytes(), &here())), known);
            assert_eq!(name(log_in(&access, "AMQPLAIN", &table.encoded()[4..], &here())), known);
            assert_eq!(refusal(log_in(&access, "PLAIN", wrong.as_bytes(), &here())), Refusal::WrongPassword);
        }
    }
    access.put_user(User::new("none", Credentials::none(), Tags::default()));
    assert_eq!(refusal(log_in(&access, "PLAIN", b"\0none\0", &here())), Refusal::NoPassword);
}

#[test]
fn a_password_that_was_right_costs_nothing_again_until_the_user_changes() {
    let access = with_guest();
    access.put_user(user("u", "p", &access));
    let try_it = |password: &str| access.check_password("u", password, &here(), at(0));
    let Step::Verify(verification) = try_it("p") else { panic!("the first time it takes long") };
    assert!(matches!(verification.run(), Step::Done(_)));
    assert!(matches!(try_it("p"), Step::Done(_)));
    assert!(matches!(try_it("q"), Step::Verify(_)), "another one is not remembered");
    access.put_user(user("u", "q", &access));
    let Step::Verify(verification) = try_it("p") else { panic!("it is forgotten") };
    assert!(matches!(verification.run(), Step::Refused(..)));
}

/// What a client of SCRAM-SHA-256 does.
fn scram(access: &Arc<Access>, user: &str, password: &str) -> Step {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use sha2::Digest;
    let bare = format!("n={user},r=abc");
    let step = log_in(access, "SCRAM-SHA-256", format!("n,,{bare}").as_bytes(), &here());
    let Step::Challenge(login, first) = step else { return step };
    let first = String::from_utf8(first).unwrap();
    let [nonce, salt, rounds] = first.split(',').collect::<Vec<_>>().try_into().unwrap();
    let (salt, rounds) = (BASE64.decode(&salt[2..]).unwrap(), rounds[2..].parse().unwrap());
    let salted = pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(password.as_bytes(), &salt, rounds);
    let client_key = password::mac(&salted, &[b"Client Key"]);
    let without_proof = format!("c=biws,{nonce}");
    let signed = format!("{bare},{first},{without_proof}");
    let signature = password::mac(&sha2::Sha256::digest(client_key), &[signed.as_bytes()]);
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let step = login.respond(format!("{without_proof},p={}", BASE64.encode(proof)).as_bytes());
    let Step::Challenge(login, last) = step else { return step };
    let server = password::mac(&password::mac(&salted, &[b"Server Key"]), &[signed.as_bytes()]);
    assert_eq!(String::from_utf8(last).unwrap(), format!("v={}", BASE64.encode(server)));
    login.respond(b"")
}

#[test]
fn scram_logs_in_whoever_knows_the_password_and_tells_nobody_else_who_there_is() {
    let access = with_guest();
    access.put_user(user("new", "p", &access));
    access.put_file_user(User::new("file", Credentials::plain("p"), Tags::default()), None);
    for known in ["new", "file", "file"] {
        assert_eq!(name(scram(&access, known, "p")), known);
        assert_eq!(refusal(scram(&access, known, "q")), Refusal::WrongPassword);
    }
    assert_eq!(refusal(scram(&access, "nobody", "p")), Refusal::UnknownUser);
    assert_eq!(refusal(scram(&access, "guest", "guest")), Refusal::UnknownUser, "an imported hash is no key");
    let challenge = || match log_in(&access, "SCRAM-SHA-256", b"n,,n=nobody,r=x", &here()) {
        Step::Challenge(_, first) => {
            String::from_utf8(first).unwrap().split_once(",s=").unwrap().1.to_owned()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(challenge(), challenge(), "nobody's salt is the same each time");
    let Step::Challenge(login, empty) = log_in(&access, "SCRAM-SHA-256", b"", &here()) else { panic!() };
    assert!(empty.is_empty());
    assert!(matches!(login.respond(b"nonsense"), Step::Refused(LoginError::Malformed { .. }, None)));
}

#[test]
fn a_certificate_logs_in_the_user_of_its_name() {
    let access = with_guest();
    access.put_user(User::new("cn", Credentials::none(), Tags::default()));
    let with = |name: &str| Origin { certificate_name: Some(name.to_owned()), is_tls: true, ..here() };
    assert!(
        access.mechanisms(&with("cn")).contains(&"EXTERNAL")
            && !access.mechanisms(&here()).contains(&"EXTERNAL")
    );
    assert_eq!(name(log_in(&access, "EXTERNAL", b"", &with("cn"))), "cn");
    assert_eq!(refusal(log_in(&access, "EXTERNAL", b"cn", &with("other"))), Refusal::UnknownUser);
}

#[test]
fn failed_logins_wait_longer_each_time_and_are_not_heard_meanwhile() {
    let access = with_guest();
    let try_at =
        |password: &str, millis| access.check_password("guest", password, &here(), at(millis)).run_in_place();
    for _ in 0..access.options().throttle.free_failures {
        assert!(matches!(try_at("wrong", 0), Step::Refused(_, None)));
    }
    assert!(matches!(try_at("wrong", 0), Step::Refused(_, Some(delay)) if delay.as_millis() == 250));
    assert_eq!(refusal(try_at("guest", 100)), Refusal::Throttled, "not even with the right password");
    assert!(matches!(
        access.check_password("guest", "guest", &origin("127.0.0.2:1"), at(100)),
        Step::Done(_)
    ));
    assert!(matches!(try_at("guest", 250), Step::Done(_)));
    assert!(matches!(try_at("wrong", 251), Step::Refused(_, None)), "all is forgotten");
}

#[test]
fn a_wrong_login_takes_as_long_whoever_it_names() {
    let access = with_guest();
    access.put_user(User::new("file", Credentials::plain("p"), Tags::default()));
    access.put_user(User::new("slow", Credentials::new("p", &options().cost).unwrap(), Tags::default()));
    access.put_user(User::new("certificate", Credentials::none(), Tags::default()));
    for user in ["guest", "file", "slow", "certificate", "nobody"] {
        let step = access.check_password(user, "wrong", &here(), at(0));
        assert!(matches!(step, Step::Verify(_)), "{user}: {step:?}");
    }
    assert!(matches!(access.check_password("guest", "guest", &here(), at(0)), Step::Done(_)));
    assert!(matches!(access.check_password("file", "p", &here(), at(0)), Step::Done(_)));
}

#[test]
fn whoever_is_deleted_or_changed_while_the_password_is_checked_is_not_let_in() {
    let access = Access::new(options());
    let user = |password: &str| {
        User::new("u", Credentials::new(password, &options().cost).unwrap(), Tags::default())
    };
    let began = || {
        access.put_user(user("p"));
        match access.check_password("u", "p", &here(), at(0)) {
            Step::Verify(verification) => verification,
            other => panic!("{other:?}"),
        }
    };
    let verification = began();
    access.remove_user("u");
    assert_eq!(refusal(verification.run()), Refusal::Changed);
    let verification = began();
    access.remove_user("u");
    access.put_user(user("another"));
    assert_eq!(refusal(verification.run()), Refusal::Changed);
    let verification = began();
    let known = access.user("u").unwrap();
    access.put_user(User::clone(&known).with_tags(Tags::administrator()));
    let Step::Done(principal) = verification.run() else { panic!("the password is the same") };
    assert!(principal.is_current());
    access.remove_user("u");
    assert!(!principal.is_current());
}

#[test]
fn too_many_logins_at_once_are_refused() {
    let access = Access::new(AccessOptions { pending_logins_max: 1, ..options() });
    let first = access.check_password("u", "p", &here(), at(0));
    assert!(matches!(first, Step::Verify(_)));
    assert_eq!(refusal(access.check_password("v", "p", &here(), at(0))), Refusal::Busy);
    drop(first);
    assert!(matches!(access.check_password("v", "p", &here(), at(0)), Step::Verify(_)));
}

fn pass(access: &Arc<Access>) -> VhostPass {
    match access.check_password("u", "p", &here(), at(0)).run_in_place() {
        Step::Done(principal) => principal.enter("v").unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A user `u` in the vhost `v`, where names that begin with `c`, `w` and `r` may be configured, written and read.
fn with_rights() -> Arc<Access> {
    let access = Access::new(options());
    access.put_user(User::new("u", Credentials::plain("p"), Tags::default()));
    access.put_permission(Permission::new("u", vhost("v"), "^c", "^.?w", "^.?.?r").unwrap());
    access
}

/// One table of what each operation needs: an operation, and the refusal if something is missing.
#[test]
fn each_operation_needs_what_rabbitmq_says() {
    use Operation::*;
    use Resource::{Exchange, Queue};
    let access = with_rights();
    let pass = pass(&access);
    let bind = |source, destination| Bind { source, destination, routing_key: "k", is_topic: false };
    let unbind = |source, destination| Unbind { source, destination, routing_key: "k", is_topic: false };
    let publish = |exchange| Publish { exchange, routing_key: "k", is_topic: false };
    let exchange = |exchange, alternate| DeclareExchange { exchange, alternate };
    let queue = |queue, dead_letter_exchange| DeclareQueue { queue, dead_letter_exchange };
    for (operation, refused) in [
        (exchange("c", None), None),
        (exchange("wr", None), Some("exchange 'wr'")),
        (exchange("cwr", Some("w")), None),
        (exchange("c", Some("w")), Some("exchange 'c'")),
        (exchange("cwr", Some("c")), Some("exchange 'c'")),
        (exchange("cwr", Some("")), Some("exchange 'amq.default'")),
        (DeleteExchange { exchange: "c" }, None),
        (DeleteExchange { exchange: "w" }, Some("exchange 'w'")),
        (queue("c", None), None),
        (queue("w", None), Some("queue 'w'")),
        (queue("cwr", Some("w")), None),
        (queue("c", Some("w")), Some("queue 'c'")),
        (queue("cwr", Some("r")), Some("exchange 'r'")),
        (DeleteQueue { queue: "c" }, None),
        (DeleteQueue { queue: "r" }, Some("queue 'r'")),
        (PurgeQueue { queue: "r" }, None),
        (PurgeQueue { queue: "w" }, Some("queue 'w'")),
        (bind("r", Queue("w")), None),
        (bind("r", Queue("r")), Some("queue 'r'")),
        (bind("w", Queue("w")), Some("exchange 'w'")),
        (bind("r", Exchange("w")), None),
        (bind("r", Exchange("r")), Some("exchange 'r'")),
        (unbind("r", Queue("w")), None),
        (unbind("w", Queue("w")), Some("exchange 'w'")),
        (unbind("r", Exchange("c")), Some("exchange 'c'")),
        (publish("w"), None),
        (publish("c"), Some("exchange 'c'")),
        (publish(""), Some("exchange 'amq.default'")),
        (Consume { queue: "r" }, None),
        (Consume { queue: "w" }, Some("queue 'w'")),
        (Get { queue: "r" }, None),
        (Get { queue: "c" }, Some("queue 'c'")),
        (PauseQueue { queue: "c" }, Some("queue 'c'")),
    ] {
        let expected = refused.map(|what| format!("access to {what} in vhost 'v' refused for user 'u'"));
        let denied = pass.check(&operation).err();
        assert_eq!(denied.as_ref().map(Denied::to_string), expected, "{operation:?}");
        assert!(denied.is_none_or(|denied| denied.reply_code() == rialto_protocol::ReplyCode::AccessRefused));
    }
}

#[test]
fn topic_permissions_restrict_keys_of_their_exchange_only() {
    let access = with_rights();
    let topic = TopicPermission::new(
        "u",
        vhost("v"),
        crate::model::ExchangeName::new("wr").unwrap(),
        "^{vhost}\\.",
        "^{username}$",
    );
    assert!(access.put_topic_permission(topic.unwrap()));
    let pass = pass(&access);
    let publish =
        |exchange, routing_key, is_topic| pass.check(&Operation::Publish { exchange, routing_key, is_topic });
    assert_eq!(publish("wr", "v.1", true), Ok(()));
    let text = "access to topic 'w.1' in exchange topic 'wr' in vhost 'v' refused for user 'u'";
    assert_eq!(publish("wr", "w.1", true).unwrap_err().to_string(), text);
    assert_eq!(publish("wr", "w.1", false), Ok(()), "only keys of topic exchanges are asked for");
    assert_eq!(publish("w", "w.1", true), Ok(()), "an exchange without one is not restricted");
    let bind = |routing_key| {
        let destination = Resource::Queue("w");
        pass.check(&Operation::Bind { source: "wr", destination, routing_key, is_topic: true })
    };
    assert!(bind("u").is_ok() && bind("v.1").is_err());
}

#[test]
fn a_pass_follows_every_change() {
    let access = with_rights();
    let pass = pass(&access);
    let before = pass.generation();
    let get = Operation::Get { queue: "r" };
    assert!(pass.check(&get).is_ok());
    access.put_permission(Permission::new("u", vhost("v"), "", "", "").unwrap());
    assert!(pass.generation() > before && pass.check(&get).is_err());
    access.put_permission(Permission::full("u", vhost("v")));
    assert!(pass.check(&get).is_ok());
    access.remove_user("u");
    assert!(pass.check(&get).is_err());
    assert!(access.permissions().is_empty(), "permissions go with their user");
}

#[test]
fn who_has_no_permission_does_not_enter() {
    let access = with_rights();
    let Step::Done(principal) = access.check_password("u", "p", &here(), at(0)) else { panic!() };
    let denied = principal.enter("/").unwrap_err();
    assert_eq!(denied.to_string(), "access to vhost '/' refused for user 'u'");
    assert_eq!(denied.reply_code(), rialto_protocol::ReplyCode::NotAllowed);
}

#[test]
fn a_user_of_the_file_may_do_everything_unless_the_file_says_more() {
    let access = Access::new(options());
    let plain = |name: &str| User::new(name, Credentials::plain("p"), Tags::administrator());
    access.put_file_user(plain("all"), None);
    access.put_file_user(
        plain("some"),
        Some(vec![Permission::new("some", vhost("v"), "", "^x$", "").unwrap()]),
    );
    assert!(access.permission("all", &vhost("anything")).is_some());
    assert!(
        access.permission("some", &vhost("v")).is_some() && access.permission("some", &vhost("w")).is_none()
    );
    assert!(access.put_permission(Permission::full("some", vhost("v"))));
    assert_eq!(access.permission("some", &vhost("v")).unwrap().configure.as_str(), "", "the file counts");
}

#[test]
fn nothing_shows_a_password() {
    let access = with_guest();
    access.put_user(user("u", "wonder", &access));
    let verification = access.check_password("u", "wonder", &here(), at(0));
    let user = access.user("u").unwrap();
    let shown = format!("{verification:?} {user:?} {access:?} {:?}", Credentials::plain("wonder"));
    assert!(!shown.contains("wonder") && !shown.contains("$argon2id"), "{shown}");
    assert!(matches!(verification.run_in_place(), Step::Done(_)));
    let _ = format!("{:?}", access.user("u"));
}
