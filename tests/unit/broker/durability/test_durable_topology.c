/* SPDX-License-Identifier: Apache-2.0 */
/* What the log is told about vhosts, users, exchanges, queues and bindings, and the state that is
 * made from it again. The records here have gone through a real journal. */
#include "broker/durability/durable_topology.h"

#include "broker/watch/trace.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "broker/changes/audit.h"
#include "broker/changes/parameters.h"
#include "broker/connections/login.h"
#include "broker/durability/durability.h"
#include "broker/plan/apply.h"
#include "broker/topology/pause.h"
#include "broker/users/user_record.h"
#include "store/journal.h"
#include "store/record_fact.h"
#include "store/space.h"
#include "store/topology_fold.h"
#include "tests/unit/broker/core_harness.h"

/* The tight segment has no room for all that is told at once. */
enum { SLOT_SIZE = 4 << 20, TIGHT_CAPACITY = 4096 + 1024 };

static struct rig *rig;
static struct journal *journal;
static struct space *space;
static struct buffer told; /* the records of all batches, but EPOCH and NOTE */
static uint32_t batch_count;
static char why[512];

/* The log thread: every batch is written as soon as it is handed over. */
static void
take_batch(void *context, struct batch *batch)
{
    struct journal **of = context;
    struct bytes control = buffer_bytes(&batch->control);
    struct record record;
    uint32_t count = 0;
    while (record_next(&control, &record) == STATUS_OK) {
        if (record.type != RECORD_EPOCH && record.type != RECORD_NOTE) {
            buffer_put_bytes(&told, record.octets);
            count++;
        }
    }
    batch_count += count > 0;
    journal_batch_written(*of, batch);
}

static void
start_journal(uint64_t first_capacity)
{
    const struct journal_settings settings = {.epoch = 1,
                                              .segment_number = 1,
                                              .segment_base = SLOT_SIZE,
                                              .segment_capacity = first_capacity,
                                              .slot_size = SLOT_SIZE};
    struct journal_port port = {.submit = take_batch, .context = &journal};
    journal = journal_new(&settings, rig->pool, &port);
    space = space_new(&(struct space_settings){.slot_size = settings.slot_size});
    space_add_segment(space, settings.segment_number, settings.segment_number, 1,
                      settings.segment_base, settings.segment_capacity);
    rig->core->journal = journal;
    rig->core->space = space;
}

static void
stop_journal(void)
{
    if (rig->core != NULL) {
        rig->core->journal = NULL;
    }
    journal_free(&journal);
    space_free(&space);
}

static void
set_up(void)
{
    rig = rig_new_empty(NULL);
    buffer_init(&told);
    start_journal(SLOT_SIZE);
    batch_count = 0;
}

static void
tear_down(void)
{
    stop_journal();
    rig_free(&rig);
    buffer_fini(&told);
}

TestSuite(durable_topology, .init = set_up, .fini = tear_down);

/* Ends the tick, as far as the log is concerned. */
static void
seal(void)
{
    (void)journal_seal(journal, true);
}

/* Records as text, one a line: what is compared. */
static const char *
record_text(const struct record *record, char out[static 256])
{
    switch (record->type) {
    case RECORD_VHOST_SET:
        (void)snprintf(out, 256, "vhost %.*s %lld %lld flags %u", BYTES_FORMAT(record->vhost.name),
                       (long long)record->vhost.connections_max,
                       (long long)record->vhost.queues_max, record->vhost.flags);
        break;
    case RECORD_USER_SET:
        (void)snprintf(out, 256, "user %.*s flags %u", BYTES_FORMAT(record->user.name),
                       record->user.flags);
        break;
    case RECORD_EXCHANGE_SET:
        (void)snprintf(out, 256, "exchange %.*s %.*s flags %u", BYTES_FORMAT(record->exchange.name),
                       BYTES_FORMAT(record->exchange.type), record->exchange.flags);
        break;
    case RECORD_QUEUE_SET:
        (void)snprintf(out, 256, "queue %.*s flags %u", BYTES_FORMAT(record->queue.name),
                       record->queue.flags);
        break;
    case RECORD_BINDING_SET:
    case RECORD_BINDING_DELETE:
        (void)snprintf(out, 256, "%s %.*s flags %u",
                       record->type == RECORD_BINDING_SET ? "binding" : "unbind",
                       BYTES_FORMAT(record->binding.routing_key), record->binding.flags);
        break;
    case RECORD_POLICY_SET:
        (void)snprintf(out, 256, "policy %.*s flags %u", BYTES_FORMAT(record->policy.name),
                       record->policy.flags);
        break;
    case RECORD_POLICY_DELETE:
        (void)snprintf(out, 256, "delete policy");
        break;
    case RECORD_EXCHANGE_DELETE:
        (void)snprintf(out, 256, "delete exchange");
        break;
    case RECORD_QUEUE_DELETE:
        (void)snprintf(out, 256, "delete queue");
        break;
    case RECORD_GENERATION_SET:
        (void)snprintf(out, 256, "generation %u", (unsigned)record->generation.id);
        break;
    default:
        (void)snprintf(out, 256, "type %d", record->type);
    }
    return out;
}

/* What was told since the last call, joined by "; ". */
static const char *
told_text(void)
{
    static char text[4096];
    seal();
    struct bytes octets = buffer_bytes(&told);
    struct record record;
    size_t used = 0;
    text[0] = '\0';
    while (record_next(&octets, &record) == STATUS_OK) {
        char line[256];
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used > 0 ? "; " : "",
                                 record_text(&record, line));
    }
    buffer_clear(&told);
    return text;
}

/* A shop of two vhosts, everything in it durable but what says otherwise. */
static const char shop[] =
    "bourse: 1\nvhost: shop\nlimits: {max-connections: 9, max-queues: 8}\n"
    "exchanges:\n"
    "  orders: {type: topic, unrouted: lost}\n"
    "  lost: {type: fanout, auto-delete: true}\n"
    "  gone: {type: direct, durable: false}\n"
    "  events: {type: headers, internal: true, from: [{exchange: orders, key: 'order.#'}]}\n"
    "queues:\n"
    "  billing: {from: [{exchange: orders, key: '#'}], ttl: 5s}\n"
    "  mail: {from: [{exchange: events, arguments: {x-match: any, a: 1}}, {exchange: gone}]}\n"
    "  brief: {durable: false, from: [{exchange: orders, key: b}]}\n"
    "users:\n"
    "  till: {auth: password, password-env: SECRET, publish: [orders], topics: {orders: "
    "['order.*']}, limits: {max-connections: 3}}\n"
    "  bi: {auth: password, password-hash: "
    "'$scrypt$ln=14,r=8,p=5$MDEyMzQ1Njc4OWFiY2RlZg$"
    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY', consume: [mail], role: operator}\n"
    "listeners: {amqp: {bind: '127.0.0.1:0'}}\n";

static const char *
get_variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "SECRET") == 0 ? "top-secret-canary" : NULL;
}

static void
apply_text(const char *text)
{
    struct config_environment environment = {.get_variable = get_variable};
    struct config *config =
        config_read_text("shop.yaml", bytes_of(text), CONFIG_FOR_SERVE, &environment);
    for (size_t i = 0; i < config->report.count; i++) {
        cr_assert(ne(int, config->report.items[i].severity, CONFIG_ERROR), "%s",
                  config->report.items[i].text);
    }
    cr_assert(eq(int, core_apply(rig->core, config, why, sizeof(why)), STATUS_OK), "%s", why);
    config_free(&config);
}

/* Another life: everything that was told, restored in the order of recovery into a new core. */
static struct rig *
restored_rig(struct bytes records)
{
    static const enum record_type order[] = {
        RECORD_VHOST_SET, RECORD_USER_SET,    RECORD_POLICY_SET,     RECORD_EXCHANGE_SET,
        RECORD_QUEUE_SET, RECORD_BINDING_SET, RECORD_GENERATION_SET, RECORD_FACT_SET};
    struct rig *other = rig_new_empty(NULL);
    struct topology_restore restore;
    topology_restore_init(&restore, other->core);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        struct bytes octets = records;
        struct record record;
        while (record_next(&octets, &record) == STATUS_OK) {
            if (record.type == order[i]) {
                cr_assert(eq(int, topology_restore_record(&restore, &record), STATUS_OK), "%.*s",
                          BYTES_FORMAT(buffer_bytes(&other->log_text)));
            }
        }
    }
    topology_restore_fini(&restore);
    core_complete_topology(other->core, 0);
    return other;
}

/* Everything durable that a core holds, as records in a fixed order. */
static void
put_vhost_records(struct vhost *vhost)
{
    uint32_t position = 0;
    vhost_remember(vhost);
    for (enum policy_kind kind = 0; kind < POLICY_KIND_COUNT; kind++) {
        const struct policy *policy;
        for (uint32_t at = 0; (policy = vhost_policy_at(vhost, kind, at)) != NULL; at++) {
            policy_remember(vhost, policy);
        }
    }
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        exchange_remember(entry->value);
    }
    position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->queues, &position)) != NULL;) {
        queue_remember(entry->value);
    }
    position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        struct exchange *exchange = entry->value;
        uint64_t walked = 0;
        for (struct binding *binding;
             (binding = binding_table_next(&exchange->bindings, &walked)) != NULL;) {
            binding_remember(binding);
        }
    }
}

/* Fills `told` with the whole state of `of`, which borrows the journal for it. */
static void
tell_everything(struct rig *of)
{
    buffer_clear(&told);
    of->core->journal = journal;
    of->core->space = space;
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&of->core->vhosts, &position)) != NULL;) {
        put_vhost_records(entry->value);
    }
    position = 0;
    for (struct map_entry *entry; (entry = map_next(&of->core->users, &position)) != NULL;) {
        struct user *user = entry->value;
        buffer_clear(&user->record);
        user_remember(of->core, user);
    }
    seal();
    if (of != rig) {
        of->core->journal = NULL;
    }
}

static struct bytes
copy_of_told(struct buffer *copy)
{
    buffer_init(copy);
    buffer_put_bytes(copy, buffer_bytes(&told));
    return buffer_bytes(copy);
}

/* What a restart gives is what was there: names, numbers, flags, arguments, limits, rights, octet
 * by octet. Objects of no durability are missing, and their bindings. */
Test(durable_topology, what_was_told_makes_the_same_state_again)
{
    buffer_clear(&told);
    apply_text(shop);
    seal();
    struct buffer history;
    struct rig *other = restored_rig(copy_of_told(&history));
    const struct vhost *vhost = core_find_vhost(other->core, bytes_of("shop"));
    cr_assert(ne(ptr, (void *)vhost, NULL));
    cr_expect(ne(ptr, vhost_find_queue(vhost, bytes_of("billing")), NULL));
    cr_expect(eq(ptr, vhost_find_queue(vhost, bytes_of("brief")), NULL));
    cr_expect(eq(ptr, vhost_find_exchange(vhost, bytes_of("gone")), NULL));
    cr_expect(eq(u32, map_count(&vhost->exchanges), 8 + 3));

    struct buffer before;
    struct buffer after;
    tell_everything(rig);
    struct bytes of_this = copy_of_told(&before);
    tell_everything(other);
    struct bytes of_other = copy_of_told(&after);
    cr_expect(lt(sz, 1000, of_this.size));
    cr_expect(bytes_equal(of_this, of_other));
    cr_expect(eq(u64, other->core->next_durable_id, rig->core->next_durable_id));
    buffer_fini(&history);
    buffer_fini(&before);
    buffer_fini(&after);
    rig_free(&other);
}

static const char ruled[] =
    "bourse: 1\nvhost: shop\n"
    "exchanges: {orders: {type: topic}, lost: {type: fanout}}\n"
    "queues: {billing: {ttl: 1h}, mail: {}}\n"
    "policies:\n"
    "  ages: {pattern: '^b', definition: {message-ttl: 5000, max-length: 9}}\n"
    "  lost: {pattern: '^orders$', apply-to: exchanges, priority: -7,\n"
    "         definition: {alternate-exchange: lost}}\n"
    "operator-policies:\n"
    "  ages: {pattern: '.*', apply-to: queues, definition: {max-length: 3}}\n"
    "users: {bi: {auth: cert}}\n"
    "listeners: {amqp: {bind: '127.0.0.1:0'}}\n";

/* After a restart queues and exchanges are under the same policies before anybody can see them, and
 * the file has nothing to change. */
Test(durable_topology, policies_are_told_and_in_force_again)
{
    buffer_clear(&told);
    apply_text(ruled);
    seal();
    struct buffer history;
    struct rig *other = restored_rig(copy_of_told(&history));
    const struct vhost *vhost = core_find_vhost(other->core, bytes_of("shop"));
    const struct queue *billing = vhost_find_queue(vhost, bytes_of("billing"));
    const struct policy *ages = vhost_find_policy(vhost, POLICY_ORDINARY, bytes_of("ages"));
    cr_assert(ne(ptr, (void *)ages, NULL));
    cr_expect(ages->is.from_file);
    cr_expect(eq(ptr, (void *)queue_policy(billing, POLICY_ORDINARY), (void *)ages));
    cr_expect(eq(i64, billing->settings->message_ttl_ms, 5000));
    cr_expect(eq(i64, billing->settings->max_length, 3));
    const struct queue *mail = vhost_find_queue(vhost, bytes_of("mail"));
    cr_expect(eq(i64, mail->settings->message_ttl_ms, -1));
    cr_expect(eq(i64, mail->settings->max_length, 3));
    const struct exchange *orders = vhost_find_exchange(vhost, bytes_of("orders"));
    cr_expect(bytes_equal_text(orders->alternate, "lost"));
    cr_expect(eq(int, orders->policy->is.priority, -7));

    struct buffer before;
    struct buffer after;
    tell_everything(rig);
    struct bytes of_this = copy_of_told(&before);
    tell_everything(other);
    struct bytes of_other = copy_of_told(&after);
    cr_expect(bytes_equal(of_this, of_other));
    buffer_fini(&history);
    buffer_fini(&before);
    buffer_fini(&after);
    rig_free(&other);
}

/* A policy goes by its number through its changes, and is told only when it changes. */
Test(durable_topology, only_a_changed_policy_is_told)
{
    apply_text(ruled);
    seal();
    buffer_clear(&told);
    apply_text(ruled);
    cr_expect(eq(str, (char *)told_text(), ""));
    struct vhost *vhost = core_find_vhost(rig->core, bytes_of("shop"));
    uint64_t id = vhost_find_policy(vhost, POLICY_ORDINARY, bytes_of("ages"))->id;
    struct buffer definition;
    buffer_init(&definition);
    table_put_integer(&definition, "expires", 5);
    struct policy_properties properties = {
        .name = bytes_of("ages"),
        .pattern = bytes_of("x"),
        .definition = buffer_bytes(&definition),
    };
    cr_assert(eq(int, vhost_put_policy(vhost, &properties), STATUS_OK));
    struct policy *changed = vhost_find_policy(vhost, POLICY_ORDINARY, bytes_of("ages"));
    cr_expect(eq(u64, changed->id, id));
    cr_expect(eq(str, (char *)told_text(), "policy ages flags 0"));
    vhost_delete_policy(vhost, changed);
    cr_expect(eq(str, (char *)told_text(), "delete policy"));
    cr_expect(eq(ptr, vhost_find_policy(vhost, POLICY_ORDINARY, bytes_of("ages")), NULL));
    cr_expect(ne(ptr, vhost_find_policy(vhost, POLICY_OPERATOR, bytes_of("ages")), NULL));
    buffer_fini(&definition);
}

/* A clear-text password must not be on disk in any form, nor may the remembered user log in by an
 * older one: the file gives the password again at every start. */
Test(durable_topology, no_clear_text_password_is_told)
{
    apply_text(shop);
    seal();
    struct bytes all = buffer_bytes(&told);
    cr_expect(eq(ptr, memmem(all.data, all.size, "secret", 6), NULL));
    cr_expect(eq(ptr, memmem(all.data, all.size, "canary", 6), NULL));
    const struct user *till = core_find_user(rig->core, bytes_of("till"));
    cr_assert(till->has_secret);
    cr_expect(eq(ptr, memmem(all.data, all.size, till->secret_mac, 8), NULL));
    cr_expect(ne(ptr, memmem(all.data, all.size, "$scrypt$ln=14", 13), NULL), "a hash may");
    struct rig *other = restored_rig(all);
    till = core_find_user(other->core, bytes_of("till"));
    cr_expect(not(till->has_secret));
    cr_expect(eq(ptr, till->password_hash, NULL));
    rig_free(&other);
}

/* One batch: after a crash a file is in force as a whole or not at all. */
Test(durable_topology, a_file_is_told_in_one_batch)
{
    stop_journal();
    start_journal(TIGHT_CAPACITY);
    (void)rig_add_vhost(rig, "shop");
    seal();
    batch_count = 0;
    apply_text(shop);
    seal();
    cr_expect(eq(u32, batch_count, 1));
}

/* A vhost without all of its predeclared exchanges is none. */
Test(durable_topology, a_vhost_is_told_with_what_is_in_it)
{
    stop_journal();
    start_journal(TIGHT_CAPACITY - 512);
    (void)rig_add_vhost(rig, "/");
    seal();
    cr_expect(eq(u32, batch_count, 1));
}

/* A start with the same file writes nothing, so that starting and stopping fills no disk. */
Test(durable_topology, the_same_file_again_tells_nothing)
{
    apply_text(shop);
    seal();
    struct buffer history;
    struct rig *other = restored_rig(copy_of_told(&history));
    (void)told_text();
    apply_text(shop);
    cr_expect(eq(str, (char *)told_text(), ""), "in the same life");

    struct rig *first = rig;
    rig = other;
    rig->core->journal = journal;
    rig->core->space = space;
    apply_text(shop);
    cr_expect(eq(str, (char *)told_text(), ""), "in the next one");
    rig->core->journal = NULL;
    rig = first;
    rig_free(&other);
    buffer_fini(&history);
}

/* What the file changes in place, what has left it, and a user that has. */
Test(durable_topology, only_what_a_new_file_changes_is_told)
{
    apply_text("bourse: 1\nexchanges: {e: {}, f: {}}\nqueues: {q: {from: [{exchange: e}]}, p: {}}\n"
               "users: {a: {auth: cert}, b: {auth: cert}}\n"
               "listeners: {amqp: {bind: '127.0.0.1:0'}}\n");
    (void)told_text();
    apply_text("bourse: 1\nexchanges: {e: {}}\nqueues: {q: {ttl: 1s}}\n"
               "limits: {max-queues: 5}\nusers: {a: {auth: cert, consume: [q]}}\n"
               "listeners: {amqp: {bind: '127.0.0.1:0'}}\n");
    cr_expect(eq(str, (char *)told_text(),
                 "vhost / -1 5 flags 1; queue q flags 1; user a flags 1; binding  flags 0; "
                 "exchange f direct flags 0; queue p flags 0; user b flags 33; generation 2"));
}

static struct queue *
declare_queue(const char *name, bool durable, uint64_t owner_link)
{
    struct vhost *vhost = rig_vhost(rig);
    struct queue_properties properties = {
        .name = bytes_of(name), .durable = durable, .owner_link = owner_link};
    struct queue *queue;
    struct fault fault;
    cr_assert(eq(int, vhost_declare_queue(vhost, &properties, &queue, &fault), STATUS_OK));
    return queue;
}

static struct exchange *
declare_exchange(const char *name, bool durable, bool auto_delete)
{
    struct exchange_properties properties = {.name = bytes_of(name),
                                             .type = &exchange_type_direct,
                                             .durable = durable,
                                             .auto_delete = auto_delete};
    struct exchange *exchange;
    struct fault fault;
    cr_assert(
        eq(int, vhost_declare_exchange(rig_vhost(rig), &properties, &exchange, &fault), STATUS_OK));
    return exchange;
}

static void
bind(struct exchange *source, struct route_target *target, const char *key)
{
    struct fault fault;
    cr_assert(eq(
        int, vhost_bind(rig_vhost(rig), source, target, bytes_of(key), bytes_of(""), NULL, &fault),
        STATUS_OK));
}

static void
unbind(struct exchange *source, struct route_target *target, const char *key)
{
    struct fault fault;
    cr_assert(eq(int,
                 vhost_unbind(rig_vhost(rig), source, target, bytes_of(key), bytes_of(""), &fault),
                 STATUS_OK));
}

/* What an operator has switched on is on after a restart. */
Test(durable_topology, a_vhost_is_traced_after_a_restart_as_before)
{
    struct vhost *vhost = rig_add_vhost(rig, "/");
    seal();
    buffer_clear(&told);
    vhost_set_tracing(vhost, true);
    seal();
    struct buffer history;
    struct rig *other = restored_rig(copy_of_told(&history));
    cr_expect(core_find_vhost(other->core, bytes_of("/"))->is_traced);
    cr_expect(eq(u32, other->core->traced_vhost_count, 1));
    buffer_fini(&history);
    rig_free(&other);
}

/* Durable changes are told when they are made, each once; the rest not at all. */
Test(durable_topology, every_change_of_what_is_durable_is_told)
{
    (void)rig_add_vhost(rig, "/");
    (void)told_text();
    struct queue *queue = declare_queue("q", true, 0);
    cr_expect(eq(str, (char *)told_text(), "queue q flags 0"));
    (void)declare_queue("q", true, 0);
    struct queue *brief = declare_queue("brief", false, 0);
    cr_expect(eq(str, (char *)told_text(), ""), "neither again nor what is transient");
    struct exchange *exchange = declare_exchange("x", true, true);
    struct exchange *passing = declare_exchange("passing", false, false);
    cr_expect(eq(str, (char *)told_text(), "exchange x direct flags 2"));
    bind(exchange, &queue->target, "k");
    bind(exchange, &queue->target, "k");
    bind(exchange, &brief->target, "brief");
    bind(passing, &queue->target, "passing");
    cr_expect(eq(str, (char *)told_text(), "binding k flags 0"));
    unbind(passing, &queue->target, "passing");
    unbind(exchange, &brief->target, "brief");
    unbind(exchange, &queue->target, "nothing");
    cr_expect(eq(str, (char *)told_text(), ""));
    unbind(exchange, &queue->target, "k");
    cr_expect(eq(str, (char *)told_text(), "unbind k flags 0; delete exchange"),
              "it was auto-delete, and that was its last");
    (void)vhost_delete_queue(rig_vhost(rig), brief);
    vhost_delete_exchange(rig_vhost(rig), passing);
    cr_expect(eq(str, (char *)told_text(), ""));
    (void)vhost_delete_queue(rig_vhost(rig), queue);
    cr_expect(eq(str, (char *)told_text(), "delete queue"));
}

/* Deleting says nothing of bindings: they go with their ends. */
Test(durable_topology, what_goes_takes_its_bindings_without_a_word)
{
    (void)rig_add_vhost(rig, "/");
    struct queue *queue = declare_queue("q", true, 0);
    struct exchange *first = declare_exchange("first", true, false);
    struct exchange *second = declare_exchange("second", true, true);
    bind(first, &second->target, "");
    bind(second, &queue->target, "");
    (void)told_text();
    (void)vhost_delete_queue(rig_vhost(rig), queue);
    cr_expect(eq(str, (char *)told_text(), "delete queue; delete exchange"));
    cr_expect(eq(u32, first->bindings.count, 0));
}

/* Ending the process is no change of state. */
Test(durable_topology, the_end_of_the_core_is_not_told)
{
    apply_text(shop);
    (void)told_text();
    core_free(&rig->core);
    cr_expect(eq(str, (char *)told_text(), ""));
}

/* Rows of messages name queues by number, as the log does. */
Test(durable_topology, a_durable_queue_is_found_by_its_number_while_it_lives)
{
    (void)rig_add_vhost(rig, "/");
    struct queue *queue = declare_queue("q", true, 0);
    struct queue *brief = declare_queue("brief", false, 0);
    uint64_t id = queue->target.id;
    cr_expect(eq(ptr, (void *)core_find_queue_by_id(rig->core, id), (void *)queue));
    cr_expect(eq(ptr, (void *)core_find_queue_by_id(rig->core, brief->target.id), NULL));
    cr_expect(lt(u64, id, UINT64_C(1) << 63));
    cr_expect(ge(u64, brief->target.id, UINT64_C(1) << 63));
    (void)vhost_delete_queue(rig_vhost(rig), queue);
    cr_expect(eq(ptr, (void *)core_find_queue_by_id(rig->core, id), NULL));
}

/* A number is never given twice, in no life of the directory. */
Test(durable_topology, numbers_go_on_where_the_last_life_stopped)
{
    core_complete_topology(rig->core, 500);
    (void)rig_add_vhost(rig, "/");
    cr_expect(ge(u64, declare_queue("q", true, 0)->target.id, 500));
}

/* A version of us may know one more predeclared exchange than the one that made the vhost. */
Test(durable_topology, predeclared_exchanges_that_are_missing_are_made_and_told)
{
    struct vhost *vhost = core_restore_vhost(rig->core, 1, bytes_of("/"));
    core_complete_topology(rig->core, 2);
    cr_expect(eq(u32, map_count(&vhost->exchanges), 8));
    cr_expect(ne(ptr, strstr(told_text(), "exchange amq.topic topic flags 8; "), NULL));
}

/* Rights in a vhost that was deleted are dropped; they must not come back with a new one of that
 * name. */
Test(durable_topology, rights_go_with_their_vhost)
{
    apply_text(shop);
    seal();
    struct buffer users;
    buffer_init(&users);
    record_put_vhost(&users, 900, -1, -1, 0, bytes_of("shop"));
    struct bytes octets = buffer_bytes(&told);
    struct record record;
    while (record_next(&octets, &record) == STATUS_OK) {
        if (record.type == RECORD_USER_SET) {
            buffer_put_bytes(&users, record.octets);
        }
    }
    struct rig *other = restored_rig(buffer_bytes(&users));
    struct user *till = core_find_user(other->core, bytes_of("till"));
    cr_assert(ne(ptr, till, NULL));
    cr_expect(not(access_may_enter(till, bytes_of("shop"))));
    rig_free(&other);
    buffer_fini(&users);
}

/* Generations --------------------------------------------------------------------------------- */

static const char before[] = "bourse: 1\nvhost: shop\n"
                             "exchanges: {orders: {type: topic}}\n"
                             "queues:\n"
                             "  billing: {from: [{exchange: orders, key: a}], ttl: 5s,\n"
                             "    alert: {ready-above: 3}}\n"
                             "  old: {from: [{exchange: orders, key: b}]}\n"
                             "listeners: {amqp: {bind: '127.0.0.1:0'}}\n"
                             "protect: [billing, orders]\n";

static const char after[] = "bourse: 1\nvhost: shop\n"
                            "exchanges: {orders: {type: topic}}\n"
                            "queues:\n"
                            "  billing: {from: [{exchange: orders, key: c}], ttl: 6s}\n"
                            "  new: {from: [{exchange: orders, key: d}], priorities: 3}\n"
                            "listeners: {amqp: {bind: '127.0.0.1:0'}}\n";

static void
apply_plan(const char *text)
{
    struct config_environment environment = {.get_variable = get_variable};
    struct config *config =
        config_read_text("shop.yaml", bytes_of(text), CONFIG_FOR_SERVE, &environment);
    const struct apply_options options = {
        .cause = GENERATION_APPLY, .maker = bytes_of("oncall"), .plan = {.prune = true}};
    struct apply_result result;
    cr_assert(
        eq(int, core_apply_as(rig->core, config, &options, &result, why, sizeof(why)), STATUS_OK),
        "%s", why);
    plan_free(&result.plan);
    config_free(&config);
}

/* After a crash there is the old or the new topology: what a plan makes, changes and deletes, and
 * the generation that it becomes, are one batch, wherever a segment ends. */
Test(durable_topology, what_a_plan_does_is_one_batch)
{
    apply_plan(before);
    seal();
    stop_journal();
    start_journal(TIGHT_CAPACITY);
    buffer_clear(&told);
    batch_count = 0;
    apply_plan(after);
    const char *text = told_text();
    cr_expect(eq(u32, batch_count, 1), "%s", text);
    static const char *const parts[] = {"unbind a",  "delete queue",      "queue billing flags 1",
                                        "queue new", "binding d flags 1", "generation 2"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        cr_expect(ne(ptr, strstr(text, parts[i]), NULL), "%s in %s", parts[i], text);
    }
}

/* Which file is in force, what it protects, when queues want attention, and who made what. */
Test(durable_topology, generations_come_back)
{
    buffer_clear(&told);
    apply_plan(before);
    seal();
    struct buffer history;
    struct rig *other = restored_rig(copy_of_told(&history));
    const struct generation *found = core_current_generation(other->core, bytes_of("shop"));
    const struct generation *here = core_current_generation(rig->core, bytes_of("shop"));
    cr_assert(ne(ptr, (void *)found, NULL));
    cr_expect(eq(u64, found->id, 1));
    cr_expect(eq(u64, found->digest, here->digest));
    cr_expect(eq(i64, found->wall_ms, here->wall_ms));
    cr_expect(eq(int, (int)found->cause, GENERATION_APPLY));
    cr_expect(bytes_equal_text(found->maker, "oncall"));
    cr_assert(eq(sz, found->source_count, 1));
    cr_expect(eq(str, (char *)found->sources[0].name, "shop.yaml"));
    cr_expect(bytes_equal_text(found->sources[0].text, before));
    const struct config_alert *alert =
        core_find_alert(other->core, bytes_of("shop"), bytes_of("billing"));
    cr_assert(ne(ptr, (void *)alert, NULL));
    cr_expect(eq(i64, alert->ready_above, 3));
    cr_expect(not(alert->has_oldest));
    const struct vhost *vhost = core_find_vhost(other->core, bytes_of("shop"));
    cr_expect(vhost_find_queue(vhost, bytes_of("billing"))->is_protected);
    cr_expect(not(vhost_find_queue(vhost, bytes_of("old"))->is_protected));
    cr_expect(vhost_find_exchange(vhost, bytes_of("orders"))->is_protected);
    cr_expect(eq(i64, vhost_find_queue(vhost, bytes_of("old"))->made.wall_s,
                 rig->core->now.wall_ms / 1000));
    buffer_fini(&history);
    rig_free(&other);
}

/* Facts -------------------------------------------------------------------------------------- */

static enum status
take_kept(void *context, const struct record *record)
{
    buffer_put_bytes(context, record->octets);
    return STATUS_OK;
}

/* What is left of what was told when a recovery has folded it; the caller frees the buffer. */
static struct bytes
fold_told(struct buffer *out)
{
    struct topology_fold fold;
    struct bytes left = buffer_bytes(&told);
    struct record record;
    buffer_init(out);
    topology_fold_init(&fold);
    while (record_next(&left, &record) == STATUS_OK) {
        cr_assert(eq(int, topology_fold_apply(&fold, &record), STATUS_OK));
    }
    topology_fold_finish(&fold);
    cr_assert(eq(int, topology_fold_walk(&fold, take_kept, out), STATUS_OK));
    topology_fold_fini(&fold);
    return buffer_bytes(out);
}

static struct queue *
first_queue(void)
{
    const struct vhost *vhost = core_find_vhost(rig->core, bytes_of("shop"));
    uint32_t position = 0;
    return map_next(&vhost->queues, &position)->value;
}

static void
put_parameter(const char *name, const char *value)
{
    struct change change = {.core = rig->core};
    enum change_outcome outcome = change_put_parameter(&change, bytes_of(name), bytes_of(value));
    cr_expect(outcome == CHANGE_MADE || outcome == CHANGE_DONE);
}

Test(durable_topology, parameters_come_back_as_they_were_last)
{
    struct change change = {.core = rig->core};
    struct buffer kept;
    put_parameter("cluster_name", "\"before\"");
    put_parameter("other", "{\"a\":[1,null]}");
    put_parameter("gone", "1");
    put_parameter("cluster_name", "\"after\"");
    cr_expect(eq(int, (int)change_delete_parameter(&change, bytes_of("gone")), CHANGE_DONE));
    seal();
    struct rig *other = restored_rig(fold_told(&kept));
    cr_expect(eq(u32, map_count(&other->core->parameters), 2));
    cr_expect(bytes_equal_text(core_cluster_name(other->core), "\"after\""));
    cr_expect(bytes_equal_text(core_parameter(other->core, bytes_of("other")), "{\"a\":[1,null]}"));
    buffer_fini(&kept);
    rig_free(&other);
}

/* More than are kept, so that the oldest are written over. */
Test(durable_topology, the_audit_comes_back_and_goes_on)
{
    enum { EXTRA = 3 };
    struct buffer kept;
    uint64_t token;
    apply_text(shop);
    struct queue *queue = first_queue();
    for (int i = 0; i < AUDIT_KEPT + EXTRA; i++) {
        cr_assert(eq(int,
                     core_pause_queue(rig->core, queue, i % 2 == 0, bytes_of("oncall"),
                                      bytes_of("why"), &token),
                     STATUS_OK));
    }
    seal();
    struct rig *other = restored_rig(fold_told(&kept));
    const struct audit_entry *oldest = audit_next(other->core, 0);
    cr_assert(ne(ptr, (void *)oldest, NULL));
    cr_expect(eq(u64, oldest->number, EXTRA + 1));
    const struct audit_entry *last = audit_next(other->core, AUDIT_KEPT + EXTRA - 1);
    cr_assert(ne(ptr, (void *)last, NULL));
    cr_expect(eq(int, (int)last->action, AUDIT_PAUSE));
    cr_expect(eq(i64, last->wall_ms, rig->core->now.wall_ms));
    cr_expect(bytes_equal_text(last->user, "oncall"));
    cr_expect(bytes_equal_text(last->note, "why"));
    cr_expect(bytes_equal(last->queue, queue_name(queue)));
    cr_expect(eq(ptr, (void *)audit_next(other->core, AUDIT_KEPT + EXTRA), NULL));
    buffer_fini(&kept);
    rig_free(&other);
}

/* Hostile records ---------------------------------------------------------------------------- */

/* One vhost, exchange and queue, then the record in question. */
static enum status
restore_after_some(const struct buffer *hostile, char reason[static 256])
{
    struct buffer octets;
    buffer_init(&octets);
    record_put_vhost(&octets, 1, -1, -1, 0, bytes_of("/"));
    record_put_vhost(&octets, 2, -1, -1, 0, bytes_of("other"));
    record_put_exchange(&octets, 3, 1, 0, bytes_of("x"), bytes_of("headers"), bytes_of(""));
    record_put_queue(&octets, 4, 1, 0, bytes_of("q"), bytes_of(""));
    record_put_queue(&octets, 5, 2, 0, bytes_of("q"), bytes_of(""));
    record_put_exchange(&octets, 6, 2, 0, bytes_of("x"), bytes_of("topic"), bytes_of(""));
    buffer_put_bytes(&octets, buffer_bytes(hostile));
    struct rig *other = rig_new_empty(NULL);
    struct topology_restore restore;
    topology_restore_init(&restore, other->core);
    struct bytes left = buffer_bytes(&octets);
    struct record record;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && record_next(&left, &record) == STATUS_OK) {
        status = topology_restore_record(&restore, &record);
    }
    (void)snprintf(reason, 256, "%.*s", BYTES_FORMAT(buffer_bytes(&other->log_text)));
    topology_restore_fini(&restore);
    rig_free(&other);
    buffer_fini(&octets);
    return status;
}

static struct bytes
long_name(void)
{
    static uint8_t octets[256];
    memset(octets, 'n', sizeof(octets));
    return bytes_make(octets, sizeof(octets));
}

static void
put_hostile(struct buffer *out, int row, struct bytes bad_ttl, struct bytes bad_match)
{
    static const uint8_t no_table[] = {200, 'x'};
    struct bytes broken = bytes_make(no_table, sizeof(no_table));
    struct bytes none = bytes_of("");
    struct bytes name = bytes_of("n");
    switch (row) {
    case 0:
        record_put_vhost(out, 0, -1, -1, 0, name);
        break;
    case 1:
        record_put_vhost(out, UINT64_C(1) << 63, -1, -1, 0, name);
        break;
    case 2:
        record_put_vhost(out, 1, -1, -1, 0, name);
        break;
    case 3:
        record_put_vhost(out, 9, -1, -1, 0, bytes_of("/"));
        break;
    case 4:
        record_put_vhost(out, 9, -2, -1, 0, name);
        break;
    case 5:
        record_put_exchange(out, 9, 77, 0, name, bytes_of("direct"), none);
        break;
    case 6:
        record_put_exchange(out, 9, 1, 0, name, bytes_of("nosuch"), none);
        break;
    case 7:
        record_put_exchange(out, 9, 1, 0, name, bytes_of("direct"), broken);
        break;
    case 8:
        record_put_exchange(out, 9, 1, 0, none, bytes_of("direct"), none);
        break;
    case 9:
        record_put_exchange(out, 9, 1, 0, bytes_of("x"), bytes_of("direct"), none);
        break;
    case 10:
        record_put_queue(out, 9, 77, 0, name, none);
        break;
    case 11:
        record_put_queue(out, 9, 1, 0, none, none);
        break;
    case 12:
        record_put_queue(out, 9, 1, 0, name, broken);
        break;
    case 13:
        record_put_queue(out, 9, 1, 0, name, bad_ttl);
        break;
    case 14:
        record_put_queue(out, 4, 1, 0, name, none);
        break;
    case 15:
        record_put_queue(out, 9, 1, 0, long_name(), none);
        break;
    case 16:
        record_put_binding(out, RECORD_BINDING_SET, 77, 4, 0, none, none);
        break;
    case 17:
        record_put_binding(out, RECORD_BINDING_SET, 3, 77, 0, none, none);
        break;
    case 18:
        record_put_binding(out, RECORD_BINDING_SET, 3, 5, 0, none, none);
        break;
    case 19:
        record_put_binding(out, RECORD_BINDING_SET, 3, 4, RECORD_TO_EXCHANGE, none, none);
        break;
    case 20:
        record_put_binding(out, RECORD_BINDING_SET, 3, 4, 0, long_name(), none);
        break;
    case 21:
        record_put_binding(out, RECORD_BINDING_SET, 3, 4, 0, none, broken);
        break;
    case 22:
        record_put_binding(out, RECORD_BINDING_SET, 3, 4, 0, none, bad_match);
        break;
    case 23:
        record_put_binding(out, RECORD_BINDING_SET, 3, 6, RECORD_TO_EXCHANGE, none, none);
        break;
    case 24:
        record_put_delete(out, RECORD_QUEUE_DELETE, 4);
        break;
    case 25:
        record_put_policy(out, &(struct record_policy){
                                   .id = 9, .vhost = 77, .name = name, .definition = bad_ttl});
        break;
    case 26:
        record_put_policy(
            out, &(struct record_policy){.id = 9, .vhost = 1, .target = 6, .definition = bad_ttl});
        break;
    case 27:
        record_put_policy(out, &(struct record_policy){.id = 9, .vhost = 1, .definition = broken});
        break;
    case 28: /* an argument is no key of a policy */
        record_put_policy(out, &(struct record_policy){.id = 9, .vhost = 1, .definition = bad_ttl});
        break;
    case 29:
        record_put_policy(out, &(struct record_policy){.id = 9, .vhost = 1, .name = long_name()});
        break;
    case 30:
        record_put_fact(out, RECORD_FACT_PARAMETER, 9, bytes_of("?"));
        break;
    case 31:
        record_put_fact(out, RECORD_FACT_AUDIT, 9, bytes_of("?"));
        break;
    case 32:
        record_put_fact(out, 77, 9, name);
        break;
    default:
        record_put_user(out, 9, 0, name, bytes_of("?"));
        break;
    }
}

/* The disk is hostile: what no broker would have written is refused with a reason, and no record
 * makes it crash. */
Test(durable_topology, records_that_make_no_sense_are_refused)
{
    enum { ROWS = 34 };
    struct buffer bad_ttl;
    struct buffer bad_match;
    buffer_init(&bad_ttl);
    buffer_init(&bad_match);
    table_put_text(&bad_ttl, "x-message-ttl", bytes_of("soon"));
    table_put_text(&bad_match, "x-match", bytes_of("some"));
    for (int row = 0; row < ROWS; row++) {
        struct buffer hostile;
        char reason[256];
        buffer_init(&hostile);
        put_hostile(&hostile, row, buffer_bytes(&bad_ttl), buffer_bytes(&bad_match));
        cr_expect(eq(int, restore_after_some(&hostile, reason), STATUS_CORRUPT), "row %d", row);
        cr_expect(ne(ptr, strstr(reason, "event=recovery.bad_record"), NULL), "row %d: %s", row,
                  reason);
        buffer_fini(&hostile);
    }
    buffer_fini(&bad_ttl);
    buffer_fini(&bad_match);
}

/* The rest of a user has lengths within lengths: cut anywhere, or with any octet changed, it is
 * refused or means something, and is never read beyond its end. */
Test(durable_topology, a_damaged_user_never_harms)
{
    apply_text(shop);
    seal();
    struct bytes octets = buffer_bytes(&told);
    struct record user = {0};
    struct record record;
    while (record_next(&octets, &record) == STATUS_OK) {
        if (record.type == RECORD_USER_SET && bytes_equal_text(record.user.name, "till")) {
            user = record;
        }
    }
    cr_assert(lt(sz, 60, user.user.rest.size));
    for (size_t at = 0; at < user.user.rest.size; at++) {
        for (int kind = 0; kind < 3; kind++) {
            char reason[256];
            size_t size = kind == 0 ? at : user.user.rest.size;
            uint8_t *rest = xalloc(size + 1);
            memcpy(rest, user.user.rest.data, size);
            rest[at] = kind == 0 ? 0 : kind == 1 ? rest[at] ^ 0x80 : 0xff;
            struct buffer hostile;
            buffer_init(&hostile);
            record_put_user(&hostile, 9, 0, user.user.name, bytes_make(rest, size));
            enum status status = restore_after_some(&hostile, reason);
            cr_expect(status == STATUS_OK || status == STATUS_CORRUPT, "at %zu", at);
            buffer_fini(&hostile);
            free(rest);
        }
    }
}

/* Texts of a user end with NUL in memory, so one with a NUL in it would be read as another: a right
 * "a\0b" is none that was given. A limit below -1 means nothing. */
Test(durable_topology, a_user_whose_texts_or_limits_cannot_be_is_refused)
{
    static const struct user nobody = {.connections_max = -1, .channels_max = -1};
    static const char *const what[] = {"nothing is wrong", "a NUL in the hash", "a limit of -2"};
    for (int row = 0; row < 3; row++) {
        struct user user = nobody;
        char hash[] = "$scrypt$";
        char reason[256];
        struct buffer rest;
        struct buffer hostile;
        buffer_init(&rest);
        buffer_init(&hostile);
        user.password_hash = hash;
        user.channels_max = row == 2 ? -2 : -1;
        map_init(&user.rights, 0);
        user_record_encode(&rest, rig->core, &user);
        if (row == 1) {
            rest.data[rest.end - 3] = 0;
        }
        record_put_user(&hostile, 9, 0, bytes_of("u"), buffer_bytes(&rest));
        cr_expect(
            eq(int, restore_after_some(&hostile, reason), row == 0 ? STATUS_OK : STATUS_CORRUPT),
            "%s", what[row]);
        map_fini(&user.rights);
        buffer_fini(&rest);
        buffer_fini(&hostile);
    }
}

/* A user without tags is written as every version has, one with tags in a layout of its own. */
Test(durable_topology, tags_of_a_user_are_told_and_read_again)
{
    static const char *const rows[] = {NULL, "", "administrator", "monitoring,of the night"};
    struct map vhosts;
    map_init(&vhosts, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct user user = {.role = ROLE_MONITOR, .tags = (char *)rows[i], .connections_max = -1};
        struct user read = {.role = ROLE_NONE};
        struct buffer rest;
        buffer_init(&rest);
        map_init(&user.rights, 1);
        user_record_encode(&rest, rig->core, &user);
        cr_expect(eq(u8, buffer_bytes(&rest).data[0], rows[i] == NULL ? 1 : 2));
        cr_assert(
            eq(int, user_record_decode(&read, rig->core, &vhosts, buffer_bytes(&rest)), STATUS_OK));
        cr_expect(eq(int, read.role, ROLE_MONITOR));
        cr_expect(eq(int, read.tags == NULL, rows[i] == NULL));
        if (rows[i] != NULL) {
            cr_expect(eq(str, read.tags, (char *)rows[i]));
        }
        free(read.tags);
        buffer_fini(&rest);
        map_fini(&user.rights);
    }
    map_fini(&vhosts);
}

/* Any octet of any record changed: it is refused by whoever decodes it, or by whoever makes sense
 * of it, or it says something else that makes sense. Never a crash. */
Test(durable_topology, damaged_records_never_harm)
{
    apply_text(shop);
    seal();
    struct buffer copy;
    struct bytes whole = copy_of_told(&copy);
    uint32_t refused = 0;
    for (size_t at = 0; at < whole.size; at++) {
        struct rig *other = rig_new_empty(NULL);
        struct topology_restore restore;
        uint8_t *octets = copy.data + copy.start;
        uint8_t kept = octets[at];
        octets[at] ^= (uint8_t)(1U << at % 8);
        topology_restore_init(&restore, other->core);
        struct bytes left = whole;
        struct record record;
        enum status status = STATUS_OK;
        while (status == STATUS_OK && record_next(&left, &record) == STATUS_OK) {
            status = topology_restore_record(&restore, &record);
        }
        cr_expect(status == STATUS_OK || status == STATUS_CORRUPT, "at %zu", at);
        refused += status == STATUS_CORRUPT;
        topology_restore_fini(&restore);
        rig_free(&other);
        octets[at] = kept;
    }
    cr_expect(lt(u32, 100, refused));
    buffer_fini(&copy);
}

/* PCRE2 may judge otherwise than when the right was given: then it denies, and the start goes on.
 */
Test(durable_topology, a_right_that_no_longer_compiles_denies)
{
    (void)rig_add_vhost(rig, "/");
    struct user *user = core_restore_user(rig->core, 7, bytes_of("u"));
    struct user_grant grant = {.vhost = bytes_of("/"), .rights = {".*", "(", ".*"}};
    user_restore_grant(user, rig->core, &grant);
    cr_expect(
        access_allows(rig->core, user, bytes_of("/"), ACCESS_READ, ACCESS_QUEUE, bytes_of("q")));
    cr_expect(not(
        access_allows(rig->core, user, bytes_of("/"), ACCESS_WRITE, ACCESS_QUEUE, bytes_of("q"))));
}

/* What does not fit a segment can be remembered nowhere, so it is refused before it is made. */
Test(durable_topology, a_declaration_that_fits_no_segment_is_refused)
{
    (void)rig_add_vhost(rig, "/");
    struct buffer arguments;
    buffer_init(&arguments);
    void *large = calloc(1, SLOT_SIZE);
    table_put_text(&arguments, "large", bytes_make(large, SLOT_SIZE));
    struct queue_properties properties = {
        .name = bytes_of("q"), .durable = true, .arguments = buffer_bytes(&arguments)};
    struct fault fault;
    cr_expect(
        eq(int, vhost_declare_queue(rig_vhost(rig), &properties, NULL, &fault), STATUS_FAULT));
    cr_expect(eq(u32, fault.reply_code, 506));
    cr_expect(eq(ptr, vhost_find_queue(rig_vhost(rig), bytes_of("q")), NULL));
    free(large);
    buffer_fini(&arguments);
}
