//! Users, vhosts, permissions and limits.

use rabbitmq_http_client::commons::{PaginationParams, QueueType, UserLimitTarget, VirtualHostLimitTarget};
use rabbitmq_http_client::password_hashing::{base64_encoded_salted_password_hash_sha256, salt};
use rabbitmq_http_client::requests::{
    EnforcedLimitParams, Permissions, TopicPermissions, UserParams, VirtualHostParams,
};

use crate::suite::Suite;
use crate::{Done, Place, log_in};

pub fn run(suite: &mut Suite) {
    suite.scenario("vhosts", vhosts);
    suite.scenario("users", users);
    suite.scenario("permissions", permissions);
    suite.scenario("limits", limits);
}

fn vhosts(suite: &mut Suite) -> Done {
    let place = Place::new("vhosts")?;
    let (api, name) = (&place.api, &place.vhost);
    let described = VirtualHostParams::named(name)
        .with_description("of the suite")
        .with_tags(vec!["one", "two"])
        .with_default_queue_type(QueueType::Quorum);
    suite.read("update", api.update_vhost(&described));
    if let Some(vhost) = suite.read("get", api.get_vhost(name)) {
        suite.check("description", vhost.description.as_deref(), Some("of the suite"));
        suite.check("tags", vhost.tags.map(|tags| tags.0), Some(vec!["one".to_owned(), "two".to_owned()]));
        suite.check("default queue type", vhost.default_queue_type.as_deref(), Some("quorum"));
        let metadata = vhost.metadata.and_then(|metadata| metadata.description);
        suite.check("metadata", metadata.as_deref(), Some("of the suite"));
    }
    let listed = suite.read("list", api.list_vhosts()).unwrap_or_default();
    suite.check("it is listed", listed.iter().any(|vhost| vhost.name == *name), true);
    suite.count("a page of one", api.list_vhosts_paged(&PaginationParams::first_page(1)), 1);

    suite.read("protect", api.enable_vhost_deletion_protection(name));
    suite.refused("a protected one", api.delete_vhost(name, false), 412);
    let protected = suite.read("get", api.get_vhost(name)).and_then(|vhost| vhost.protected_from_deletion);
    suite.check("it says so", protected, Some(true));
    suite.read("protect no more", api.disable_vhost_deletion_protection(name));
    suite.read("delete", api.delete_vhost(name, false));
    suite.refused("delete again", api.delete_vhost(name, false), 404);
    suite.read("delete once more, whether it is there or not", api.delete_vhost(name, true));
    suite.refused("get", api.get_vhost(name), 404);
    Ok(())
}

fn users(suite: &mut Suite) -> Done {
    let api = log_in("guest", "guest")?;
    let names = ["one", "two", "three"].map(|stem| format!("conformance-{stem}-{}", std::process::id()));
    let [one, two, three] = names.each_ref().map(String::as_str);
    let hash = base64_encoded_salted_password_hash_sha256(&salt(), "secret");
    suite.read("create", api.create_user(&UserParams::monitoring(one, &hash)));
    suite.read("create without tags", api.create_user(&UserParams::without_tags(two, &hash)));
    suite.read("create an administrator", api.create_user(&UserParams::administrator(three, &hash)));

    if let Some(user) = suite.read("get", api.get_user(one)) {
        suite.check("tags", user.tags.0, ["monitoring"]);
        suite.check("hash", user.password_hash.as_ref().map(|hash| hash.as_str()), Some(hash.as_str()));
    }
    let listed = suite.read("list", api.list_users()).unwrap_or_default();
    suite.check(
        "all are listed",
        names.iter().all(|name| listed.iter().any(|user| user.name == *name)),
        true,
    );
    suite.count("a page of two", api.list_users_paged(&PaginationParams::first_page(2)), 2);
    let idle = suite.read("without permissions", api.list_users_without_permissions()).unwrap_or_default();
    suite.check("no permissions yet", idle.iter().any(|user| user.name == one), true);

    let logged_in = log_in(one, "secret")?;
    let me = suite.read("a login with the hashed password", logged_in.current_user());
    suite.check("who it is", me.map(|me| me.name).as_deref(), Some(one));
    suite.refused("what only administrators may", logged_in.list_users(), 401);
    suite.refused("a wrong password", log_in(one, "wrong")?.current_user(), 401);
    suite.refused("nobody's tag", log_in(two, "secret")?.overview(), 401);

    suite.read("delete", api.delete_user(one, false));
    suite.refused("delete again", api.delete_user(one, false), 404);
    suite.read("delete many", api.delete_users(vec![two, three]));
    suite.refused("get", api.get_user(three), 404);
    Ok(())
}

fn permissions(suite: &mut Suite) -> Done {
    let place = Place::new("permissions")?;
    let (api, vhost) = (&place.api, place.vhost.as_str());
    let user = format!("conformance-permitted-{}", std::process::id());
    let user = user.as_str();
    let hash = base64_encoded_salted_password_hash_sha256(&salt(), "secret");
    api.create_user(&UserParams::management(user, &hash))?;

    let some = Permissions { user, vhost, configure: "^mine", read: ".*", write: "^$" };
    suite.read("declare", api.declare_permissions(&some));
    if let Some(found) = suite.read("get", api.get_permissions(vhost, user)) {
        suite.check("expressions", [found.configure, found.read, found.write], ["^mine", ".*", "^$"]);
    }
    suite.read("list", api.list_permissions());
    suite.count("guest and this one", api.list_permissions_in(vhost), 2);
    suite.count("of a user", api.list_permissions_of(user), 1);
    suite.read("clear", api.clear_permissions(vhost, user, false));
    suite.refused("clear again", api.clear_permissions(vhost, user, false), 404);
    suite.read("clear, whether there or not", api.clear_permissions(vhost, user, true));
    suite.read("grant", api.grant_full_permissions(user, vhost));

    let topic = TopicPermissions { user, vhost, exchange: "amq.topic", read: "^a", write: "^b" };
    suite.read("declare for topics", api.declare_topic_permissions(&topic));
    if let Some(found) = suite.read("get for topics", api.get_topic_permissions_of(vhost, user)) {
        suite.check("for topics", [found.exchange, found.read, found.write], ["amq.topic", "^a", "^b"]);
    }
    suite.read("list for topics", api.list_topic_permissions());
    suite.count("for topics of a vhost", api.list_topic_permissions_in(vhost), 1);
    suite.count("for topics of a user", api.list_topic_permissions_of(user), 1);
    suite.read("clear for topics", api.clear_topic_permissions(vhost, user, false));
    suite.count("none for topics", api.list_topic_permissions_in(vhost), 0);
    suite.read("delete the user", api.delete_user(user, false));
    Ok(())
}

fn limits(suite: &mut Suite) -> Done {
    let place = Place::new("limits")?;
    let (api, vhost) = (&place.api, place.vhost.as_str());
    let queues = EnforcedLimitParams::new(VirtualHostLimitTarget::MaxQueues, 2);
    suite.read("of a vhost", api.set_vhost_limit(vhost, queues));
    let connections = EnforcedLimitParams::new(VirtualHostLimitTarget::MaxConnections, 7);
    suite.read("another", api.set_vhost_limit(vhost, connections));
    suite.read("all vhosts", api.list_all_vhost_limits());
    let found = suite.read("this vhost", api.list_vhost_limits(vhost)).unwrap_or_default();
    let max_queues = found.first().and_then(|row| row.limits.get("max-queues")).cloned();
    suite.check("max-queues", max_queues, Some(2.into()));
    for (name, is_taken) in [("one", true), ("two", true), ("three", false)] {
        suite.check(name, api.declare_classic_queue(vhost, name).is_ok(), is_taken);
    }
    suite.read("clear", api.clear_vhost_limit(vhost, VirtualHostLimitTarget::MaxQueues));
    suite.read("a third", api.declare_classic_queue(vhost, "three"));

    let user = format!("conformance-limited-{}", std::process::id());
    let hash = base64_encoded_salted_password_hash_sha256(&salt(), "secret");
    api.create_user(&UserParams::management(&user, &hash))?;
    let channels = EnforcedLimitParams::new(UserLimitTarget::MaxChannels, 5);
    suite.read("of a user", api.set_user_limit(&user, channels));
    suite.read("all users", api.list_all_user_limits());
    let found = suite.read("this user", api.list_user_limits(&user)).unwrap_or_default();
    let max_channels = found.first().and_then(|row| row.limits.get("max-channels")).cloned();
    suite.check("max-channels", max_channels, Some(5.into()));
    suite.read("clear", api.clear_user_limit(&user, UserLimitTarget::MaxChannels));
    suite.read("delete the user", api.delete_user(&user, false));
    Ok(())
}
