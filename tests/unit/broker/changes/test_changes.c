/* SPDX-License-Identifier: Apache-2.0 */
/* What operators change in a running broker: users and their rights, virtual hosts, policies. */
#include "broker/changes/change.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "amqp/reply.h"
#include "broker/topology/vhost_life.h"
#include "broker/topology/vhost_record.h"
#include "broker/users/abilities.h"
#include "broker/users/new_password.h"
#include "broker/users/user_changes.h"
#include "tests/unit/broker/core_harness.h"

static struct rig *rig;
static struct change change;

static void
set_up(void)
{
    rig = rig_new(NULL);
    change = (struct change){.core = rig->core, .by = bytes_of("boss")};
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(changes, .init = set_up, .fini = tear_down);

/* Users -------------------------------------------------------------------------------------- */

static const char SHA256_HASH[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static enum change_outcome
put_user(const char *name, const char *tags, const char *hash)
{
    const struct user_wish wish = {.name = bytes_of(name), .tags = tags, .password_hash = hash};
    return change_put_user(&change, &wish);
}

static enum change_outcome
put_grant(const char *name, const char *vhost, const char *read)
{
    const struct user_grant grant = {
        .vhost = bytes_of(vhost),
        .rights = {[ACCESS_CONFIGURE] = ".*", [ACCESS_WRITE] = ".*", [ACCESS_READ] = read},
    };
    return change_put_grant(&change, bytes_of(name), &grant);
}

static bool
may_read(const char *name, const char *queue)
{
    return access_allows(rig->core, core_find_user(rig->core, bytes_of(name)), bytes_of("/"),
                         ACCESS_READ, ACCESS_QUEUE, bytes_of(queue));
}

Test(changes, a_new_user_has_tags_and_no_rights)
{
    cr_assert(eq(int, put_user("eve", "management,x", SHA256_HASH), CHANGE_MADE));
    const struct user *user = core_find_user(rig->core, bytes_of("eve"));
    cr_expect(eq(str, (char *)user_tags(user), "management,x"));
    cr_expect(eq(int, user->auth, AUTH_PASSWORD));
    cr_expect(not(access_may_enter(user, bytes_of("/"))));
    cr_expect(eq(int, put_user("eve", "", ""), CHANGE_DONE));
    cr_expect(eq(int, user->auth, AUTH_CERTIFICATE), "without a password there is no login by one");
    cr_expect(rig_logged(rig, "user.created by=\"boss\" user=\"eve\""));
}

Test(changes, a_hash_that_nobody_can_check_is_refused)
{
    cr_expect(eq(int, put_user("eve", "", "nonsense"), CHANGE_REFUSED));
    cr_expect(eq(ptr, core_find_user(rig->core, bytes_of("eve")), NULL));
    cr_expect(eq(int, put_user("", "", ""), CHANGE_REFUSED));
}

/* Definitions that went out without such a password must not lock anybody out when they come back.
 */
Test(changes, a_password_of_the_file_outlives_definitions_that_do_not_have_it)
{
    struct config_user config = rig_user("eve", NULL);
    config.password = "pw";
    rig_put_user(rig, &config);
    struct user_wish wish = {
        .name = bytes_of("eve"), .tags = "x", .password_hash = "", .keeps_file_password = true};
    cr_assert(eq(int, change_put_user(&change, &wish), CHANGE_DONE));
    cr_expect(core_find_user(rig->core, wish.name)->has_secret);
    wish.keeps_file_password = false;
    cr_assert(eq(int, change_put_user(&change, &wish), CHANGE_DONE));
    cr_expect(not(core_find_user(rig->core, wish.name)->has_secret));
}

Test(changes, other_tags_leave_the_password_and_the_rights_alone)
{
    rig_add_user(rig, "eve", "pw");
    cr_assert(eq(int, change_tag_user(&change, bytes_of("eve"), "monitoring"), CHANGE_DONE));
    cr_expect(eq(str, core_find_user(rig->core, bytes_of("eve"))->tags, "monitoring"));
    (void)rig_connect(rig, "eve", "pw");
    cr_expect(eq(int, change_tag_user(&change, bytes_of("nobody"), ""), CHANGE_NOT_FOUND));
}

/* T17: who is deleted is out at once; the struct lives as long as a connection speaks for it. */
Test(changes, a_deleted_user_is_closed_and_gone)
{
    rig_add_user(rig, "eve", "pw");
    uint64_t link = rig_connect(rig, "eve", "pw");
    cr_assert(eq(int, change_delete_user(&change, bytes_of("eve")), CHANGE_DONE));
    rig_expect_close(rig, link, REPLY_CONNECTION_FORCED, "user 'eve' was deleted");
    cr_expect(eq(ptr, core_find_user(rig->core, bytes_of("eve")), NULL));
    cr_assert(eq(int, put_user("eve", "", ""), CHANGE_MADE), "its name is free");
    rig_hang_up(rig, link);
    cr_expect(eq(int, change_delete_user(&change, bytes_of("eve")), CHANGE_DONE));
    cr_expect(eq(int, change_delete_user(&change, bytes_of("eve")), CHANGE_NOT_FOUND));
}

Test(changes, a_protected_user_stays)
{
    cr_assert(eq(int, put_user("eve", "administrator,protected", ""), CHANGE_MADE));
    cr_expect(eq(int, change_delete_user(&change, bytes_of("eve")), CHANGE_REFUSED));
    cr_assert(eq(int, put_user("eve", "unprotected,protected", ""), CHANGE_DONE));
    cr_expect(eq(int, change_delete_user(&change, bytes_of("eve")), CHANGE_REFUSED));
    cr_assert(eq(int, put_user("eve", "administrator, protected", ""), CHANGE_DONE));
    cr_expect(eq(int, change_delete_user(&change, bytes_of("eve")), CHANGE_REFUSED));
    cr_assert(eq(int, put_user("eve", "overprotected", ""), CHANGE_DONE));
    cr_expect(eq(int, change_delete_user(&change, bytes_of("eve")), CHANGE_DONE));
}

/* A user whom a file no longer names must not find its old rights again. */
Test(changes, a_user_who_has_left_the_file_is_made_anew)
{
    rig_add_user(rig, "eve", "pw");
    core_disable_user(rig->core, core_find_user(rig->core, bytes_of("eve")));
    cr_expect(not(core_has_user(rig->core, bytes_of("eve"))));
    cr_assert(eq(int, put_user("eve", "", SHA256_HASH), CHANGE_MADE));
    const struct user *user = core_find_user(rig->core, bytes_of("eve"));
    cr_expect(not(access_may_enter(user, bytes_of("/"))));
    cr_expect(not(user->from_file));
}

/* Rights ------------------------------------------------------------------------------------- */

Test(changes, rights_hold_from_the_next_question_on)
{
    cr_assert(eq(int, put_user("eve", "", ""), CHANGE_MADE));
    cr_assert(eq(int, put_grant("eve", "/", "^a"), CHANGE_MADE));
    cr_expect(may_read("eve", "abc"));
    cr_expect(not(may_read("eve", "xyz")));
    cr_assert(eq(int, put_grant("eve", "/", "^x"), CHANGE_DONE));
    cr_expect(not(may_read("eve", "abc")));
    cr_expect(eq(int, put_grant("eve", "/", "(["), CHANGE_REFUSED));
    cr_expect(may_read("eve", "xyz"), "what is refused changes nothing");
    cr_expect(eq(int, put_grant("eve", "none", ""), CHANGE_NOT_FOUND));
    cr_expect(eq(int, put_grant("adam", "/", ""), CHANGE_NOT_FOUND));
    cr_expect(eq(int, change_delete_grant(&change, bytes_of("eve"), bytes_of("/")), CHANGE_DONE));
    cr_expect(not(may_read("eve", "xyz")));
    cr_expect(
        eq(int, change_delete_grant(&change, bytes_of("eve"), bytes_of("/")), CHANGE_NOT_FOUND));
}

static enum change_outcome
put_topic(const char *exchange, const char *write)
{
    const struct config_topic_right right = {
        .exchange = bytes_of(exchange), .write = write, .read = ".*"};
    return change_put_topic_right(&change, bytes_of("eve"), bytes_of("/"), &right);
}

static size_t
topic_count(void)
{
    struct user_grant grant;
    const struct user *user = core_find_user(rig->core, bytes_of("eve"));
    return user_find_grant(user, bytes_of("/"), &grant) ? grant.topic_count : 0;
}

Test(changes, topic_rights_are_one_for_each_exchange_and_outlive_other_rights)
{
    struct bytes eve = bytes_of("eve");
    struct bytes vhost = bytes_of("/");
    cr_assert(eq(int, put_user("eve", "", ""), CHANGE_MADE));
    cr_expect(eq(int, put_topic("t1", "^a"), CHANGE_REFUSED), "there is nothing to narrow");
    cr_assert(eq(int, put_grant("eve", "/", ".*"), CHANGE_MADE));
    cr_expect(eq(int, put_topic("t1", "^a"), CHANGE_MADE));
    cr_expect(eq(int, put_topic("t1", "^b"), CHANGE_DONE));
    cr_expect(eq(int, put_topic("t2", "{username}"), CHANGE_MADE));
    cr_expect(eq(int, put_topic("t2", "(["), CHANGE_REFUSED));
    cr_expect(eq(int, put_grant("eve", "/", "^a"), CHANGE_DONE));
    cr_expect(eq(sz, topic_count(), 2));
    cr_expect(
        eq(int, change_delete_topic_rights(&change, eve, vhost, bytes_of("t1")), CHANGE_DONE));
    cr_expect(
        eq(int, change_delete_topic_rights(&change, eve, vhost, bytes_of("t1")), CHANGE_NOT_FOUND));
    cr_expect(
        eq(int, change_delete_topic_rights(&change, eve, vhost, bytes_make(NULL, 0)), CHANGE_DONE));
    cr_expect(eq(sz, topic_count(), 0));
}

Test(changes, limits_of_a_user_have_names)
{
    struct bytes eve = bytes_of("eve");
    cr_assert(eq(int, put_user("eve", "", ""), CHANGE_MADE));
    cr_expect(eq(int, change_limit_user(&change, eve, bytes_of("max-channels"), 3), CHANGE_DONE));
    cr_expect(eq(i64, core_find_user(rig->core, eve)->channels_max, 3));
    cr_expect(eq(int, change_limit_user(&change, eve, bytes_of("max-fun"), 3), CHANGE_REFUSED));
}

/* Virtual hosts ------------------------------------------------------------------------------ */

static enum change_outcome
put_vhost(const char *name)
{
    const struct vhost_wish wish = {.name = bytes_of(name), .description = "d", .tags = "a,b"};
    return change_put_vhost(&change, &wish);
}

static void
fill_vhost(const char *name, unsigned count)
{
    struct vhost *vhost = core_find_vhost(rig->core, bytes_of(name));
    for (unsigned i = 0; i < count; i++) {
        char queue_name[32];
        struct fault fault;
        (void)snprintf(queue_name, sizeof(queue_name), "q%u", i);
        const struct queue_properties properties = {.name = bytes_of(queue_name)};
        cr_assert(eq(int, vhost_declare_queue(vhost, &properties, NULL, &fault), STATUS_OK));
    }
}

/* More than one tick deletes: another vhost of that name begins empty at once. */
Test(changes, a_deleted_vhost_is_gone_at_once_and_emptied_tick_by_tick)
{
    enum { QUEUES = 3 * CORE_GONE_PER_TICK };
    cr_assert(eq(int, put_vhost("v"), CHANGE_MADE));
    cr_expect(eq(int, put_vhost("v"), CHANGE_DONE));
    fill_vhost("v", QUEUES);
    struct vhost *gone = core_find_vhost(rig->core, bytes_of("v"));
    cr_assert(eq(int, change_delete_vhost(&change, bytes_of("v")), CHANGE_DONE));
    cr_expect(eq(ptr, core_find_vhost(rig->core, bytes_of("v")), NULL));
    cr_expect(eq(int, change_delete_vhost(&change, bytes_of("v")), CHANGE_NOT_FOUND));
    cr_assert(eq(int, put_vhost("v"), CHANGE_MADE));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0), "the rest follows at once");
    rig_turn(rig);
    cr_expect(eq(u32, map_count(&gone->queues), QUEUES - CORE_GONE_PER_TICK));
    for (int i = 0; i < 4; i++) {
        rig_turn(rig);
    }
    cr_expect(eq(u32, map_count(&gone->queues), 0));
    cr_expect(eq(u32, map_count(&gone->exchanges), 1), "the default exchange stays");
    cr_expect(ne(u64, core_wait_ms(rig->core), 0));
    cr_expect(eq(u32, map_count(&core_find_vhost(rig->core, bytes_of("v"))->queues), 0));
}

Test(changes, a_deleted_vhost_takes_its_connections_and_rights_along)
{
    cr_assert(eq(int, put_vhost("v"), CHANGE_MADE));
    rig_add_user(rig, "eve", "pw");
    cr_assert(eq(int, put_grant("eve", "v", ".*"), CHANGE_MADE));
    uint64_t link = rig_open(rig);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_START);
    rig_start_plain(rig, link, "eve", "pw");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE);
    rig_tune_ok(rig, link, 2047, 131072, 0);
    rig_open_vhost(rig, link, "v");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_OPEN_OK);
    cr_assert(eq(int, change_delete_vhost(&change, bytes_of("v")), CHANGE_DONE));
    rig_expect_close(rig, link, REPLY_CONNECTION_FORCED, "vhost 'v' was deleted");
    rig_hang_up(rig, link);
    cr_assert(eq(int, put_vhost("v"), CHANGE_MADE));
    cr_expect(not(access_may_enter(core_find_user(rig->core, bytes_of("eve")), bytes_of("v"))));
}

Test(changes, a_protected_vhost_stays_until_it_is_not)
{
    struct bytes v = bytes_of("v");
    cr_assert(eq(int, put_vhost("v"), CHANGE_MADE));
    cr_expect(eq(int, change_protect_vhost(&change, v, true), CHANGE_DONE));
    cr_expect(eq(int, change_delete_vhost(&change, v), CHANGE_REFUSED));
    cr_expect(eq(int, change_protect_vhost(&change, v, false), CHANGE_DONE));
    cr_expect(eq(int, change_delete_vhost(&change, v), CHANGE_DONE));
    cr_expect(eq(int, change_protect_vhost(&change, v, false), CHANGE_NOT_FOUND));
}

Test(changes, what_is_said_about_a_vhost_comes_back_from_its_record)
{
    struct buffer rest;
    buffer_init(&rest);
    cr_assert(eq(int, put_vhost("v"), CHANGE_MADE));
    (void)change_protect_vhost(&change, bytes_of("v"), true);
    vhost_rest_encode(&rest, core_find_vhost(rig->core, bytes_of("v")));
    cr_assert(eq(int, put_vhost("w"), CHANGE_MADE));
    struct vhost *copy = vhost_new(rig->core, bytes_of("copy"));
    cr_assert(eq(int, vhost_rest_decode(copy, buffer_bytes(&rest)), STATUS_OK));
    cr_expect(copy->is_protected);
    cr_expect(eq(str, copy->description, "d"));
    cr_expect(eq(str, copy->tags, "a,b"));
    cr_expect(eq(ptr, copy->default_queue_type, NULL));
    vhost_free(&copy);
    for (size_t size = 1; size < buffer_size(&rest); size++) {
        copy = vhost_new(rig->core, bytes_of("copy"));
        cr_expect(eq(int, vhost_rest_decode(copy, bytes_make(rest.data, size)), STATUS_CORRUPT));
        vhost_free(&copy);
    }
    buffer_fini(&rest);
}

/* Policies ----------------------------------------------------------------------------------- */

Test(changes, a_policy_that_makes_no_sense_is_refused)
{
    struct policy_properties properties = {.target = POLICY_FOR_QUEUES,
                                           .name = bytes_of("p"),
                                           .pattern = bytes_of("(["),
                                           .definition = bytes_of("")};
    cr_expect(eq(int, change_put_policy(&change, bytes_of("/"), &properties), CHANGE_REFUSED));
    cr_expect(ne(sz, strlen(change.why), 0));
    cr_expect(eq(int, change_put_policy(&change, bytes_of("none"), &properties), CHANGE_NOT_FOUND));
    cr_expect(eq(int, change_delete_policy(&change, bytes_of("/"), POLICY_ORDINARY, bytes_of("p")),
                 CHANGE_NOT_FOUND));
}

/* New passwords ------------------------------------------------------------------------------ */

static uint64_t asked_id;
static enum status port_status;

static enum status
hash_never(void *context, uint64_t id, struct bytes password)
{
    (void)context;
    (void)password;
    asked_id = id;
    return port_status;
}

/* Who asked may be gone when the hash comes. */
Test(changes, a_hash_goes_to_who_still_waits_for_it)
{
    struct new_password first = {.id = 0};
    struct new_password second = {.id = 0};
    rig->core->ports.password.hash = hash_never;
    port_status = STATUS_FULL;
    cr_expect(not(new_password_begin(&first, rig->core, bytes_of("x"))));
    port_status = STATUS_OK;
    cr_assert(new_password_begin(&first, rig->core, bytes_of("x")));
    uint64_t first_id = asked_id;
    cr_assert(new_password_begin(&second, rig->core, bytes_of("y")));
    new_password_forget(&first);
    core_password_hashed(rig->core, first_id, "h1");
    core_password_hashed(rig->core, asked_id, "h2");
    cr_expect(not(first.is_done));
    cr_expect(second.is_done);
    cr_expect(eq(str, second.hash, "h2"));
}

/* The audit ---------------------------------------------------------------------------------- */

static const struct audit_entry *
last_entry(void)
{
    const struct audit_entry *last = NULL;
    const struct audit_entry *entry = NULL;
    while ((entry = audit_next(rig->core, last == NULL ? 0 : last->number)) != NULL) {
        last = entry;
    }
    return last;
}

/* Who had the rights changed is asked weeks later, when the log has been thrown away. */
Test(changes, each_is_an_entry_of_the_audit_with_who_did_it)
{
    cr_assert(eq(int, put_user("eve", "management", SHA256_HASH), CHANGE_MADE));
    const struct audit_entry *entry = last_entry();
    cr_assert(ne(ptr, (void *)entry, NULL));
    cr_expect(eq(str, (char *)audit_action_name(entry->action), "user.created"));
    cr_expect(bytes_equal_text(entry->user, "boss"));
    cr_expect(bytes_equal_text(entry->vhost, ""));
    cr_expect(bytes_equal_text(entry->target, "user=\"eve\" tags=\"management\""));
    cr_expect(bytes_equal_text(entry->outcome, "done"));
    cr_expect(eq(u64, entry->done_count, 1));
    cr_assert(eq(int, put_grant("eve", "/", ".*"), CHANGE_MADE));
    entry = last_entry();
    cr_expect(eq(str, (char *)audit_action_name(entry->action), "rights.granted"));
    cr_expect(bytes_equal_text(entry->vhost, "/"));
}

Test(changes, tags_forge_no_fields_of_the_audit)
{
    static const char tags[] = "a\" by=\"nobody";
    static const char target[] = "user=\"eve\" tags=\"a\\\" by=\\\"nobody\"";
    cr_assert(eq(int, put_user("eve", tags, SHA256_HASH), CHANGE_MADE));
    cr_expect(bytes_equal_text(last_entry()->target, target));
    cr_assert(eq(int, change_tag_user(&change, bytes_of("eve"), tags), CHANGE_DONE));
    cr_expect(bytes_equal_text(last_entry()->target, target));
}

Test(changes, what_changes_nothing_is_no_entry_of_the_audit)
{
    cr_assert(eq(int, put_grant("nobody", "/", ".*"), CHANGE_NOT_FOUND));
    cr_assert(eq(int, put_user("eve", "", "nonsense"), CHANGE_REFUSED));
    cr_expect(eq(ptr, (void *)last_entry(), NULL));
}

/* An import of a thousand users would leave nothing else in it. */
Test(changes, parts_of_something_are_no_entries_of_the_audit)
{
    change.is_part = true;
    cr_assert(eq(int, put_user("eve", "", ""), CHANGE_MADE));
    cr_expect(rig_logged(rig, "user.created by=\"boss\""));
    cr_expect(eq(ptr, (void *)last_entry(), NULL));
}

/* Topic rights are replaced with the whole grant, its vhost's name included. */
Test(changes, changed_topic_rights_are_told_with_their_vhost)
{
    const struct config_topic_right right = {
        .exchange = bytes_of("amq.topic"), .write = "^a", .read = "^b"};
    cr_assert(eq(int, put_user("eve", "", ""), CHANGE_MADE));
    cr_assert(eq(int, put_grant("eve", "/", ".*"), CHANGE_MADE));
    cr_assert(eq(int, change_put_topic_right(&change, bytes_of("eve"), bytes_of("/"), &right),
                 CHANGE_MADE));
    cr_expect(eq(int, (int)last_entry()->action, AUDIT_TOPICS_CHANGED));
    cr_expect(bytes_equal_text(last_entry()->vhost, "/"));
}
