/* SPDX-License-Identifier: Apache-2.0 */
/* Stands between parts of the core (the linker's --wrap): the judge hears when the core keeps an
 * event for later, and when it then handles it; and of each message that it lets die. Cores that
 * are of no simulated world, as in other unit tests, notice nothing. */
#include "broker/desk/replay.h"
#include "amqp/method.h"
#include "base/bytes.h"
#include "broker/channels/channel.h"
#include "broker/channels/failure_notes.h"
#include "broker/connections/connection.h"
#include "broker/death/dead_letter.h"
#include "broker/death/retry.h"
#include "broker/durability/durability.h"
#include "broker/publishing/route.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/limits.h"
#include "broker/upkeep/waiting.h"
#include "queues/waiting.h"
#include "tests/sim/body.h"
#include "tests/sim/world.h"

/* NULL: the core is of none. */
static struct world *
world_of(const struct connection *connection)
{
    const struct net_port *net = &connection->core->ports.net;
    return net->post == world_on_action ? net->context : NULL;
}

/* Verdicts are the same on both sides. */
static_assert((int)RETRY_NACK == (int)HISTORY_NACKED, "");
static_assert((int)RETRY_REJECT == (int)HISTORY_GIVEN_BACK, "");
static_assert((int)RETRY_LOST == (int)HISTORY_BROKEN_OFF, "");
static_assert((int)RETRY_TIMEOUT == (int)HISTORY_TIMED_OUT, "");

/* Holding -------------------------------------------------------------------------------------- */

bool __real_connection_hold_method(struct connection *connection, uint16_t channel, // NOLINT
                                   struct bytes payload);
bool __wrap_connection_hold_method(struct connection *connection, uint16_t channel, // NOLINT
                                   struct bytes payload);

bool
__wrap_connection_hold_method(struct connection *connection, uint16_t channel, // NOLINT
                              struct bytes payload)
{
    struct world *world = world_of(connection);
    bool is_held = __real_connection_hold_method(connection, channel, payload);
    if (world != NULL && is_held) {
        world->keeping = SENT_UNTOUCHED;
    }
    return is_held;
}

bool __real_connection_hold_publish(struct connection *connection, // NOLINT
                                    const struct net_event *event, struct content_ref content);
bool __wrap_connection_hold_publish(struct connection *connection, // NOLINT
                                    const struct net_event *event, struct content_ref content);

bool
__wrap_connection_hold_publish(struct connection *connection, // NOLINT
                               const struct net_event *event, struct content_ref content)
{
    struct world *world = world_of(connection);
    if (world == NULL) {
        return __real_connection_hold_publish(connection, event, content);
    }
    const struct channel *channel = connection_find_channel(connection, event->channel);
    if (world->mutant == MUTANT_PASSING && channel != NULL && channel->has_held) {
        return false;
    }
    bool is_held = __real_connection_hold_publish(connection, event, content);
    if (is_held) {
        world->keeping = SENT_UNTOUCHED;
    }
    return is_held;
}

void __real_connection_hold_again(struct connection *connection, uint16_t channel, // NOLINT
                                  struct bytes payload);
void __wrap_connection_hold_again(struct connection *connection, uint16_t channel, // NOLINT
                                  struct bytes payload);

void
__wrap_connection_hold_again(struct connection *connection, uint16_t channel, // NOLINT
                             struct bytes payload)
{
    struct world *world = world_of(connection);
    if (world != NULL) {
        world->keeping = SENT_BEGUN;
    }
    __real_connection_hold_again(connection, channel, payload);
}

/* Handling what was held ----------------------------------------------------------------------- */

void __real_connection_run_method(struct connection *connection, uint16_t channel, // NOLINT
                                  struct bytes payload);
void __wrap_connection_run_method(struct connection *connection, uint16_t channel, // NOLINT
                                  struct bytes payload);

void
__wrap_connection_run_method(struct connection *connection, uint16_t channel, // NOLINT
                             struct bytes payload)
{
    struct world *world = world_of(connection);
    if (world == NULL) {
        __real_connection_run_method(connection, channel, payload);
        return;
    }
    struct method method;
    struct fault fault;
    bool is_settlement =
        method_decode(&method, payload, &fault) == STATUS_OK && sent_is_settlement(method.id);
    struct sent_turn turn = sent_begin_turn(world, connection->link, channel, is_settlement);
    const struct method_info *info = method_info(turn.sent.method);
    if (turn.sent.message != HISTORY_NONE || get_u16(payload.data) != info->class_id ||
        get_u16(payload.data + 2) != info->method_id) {
        sent_is_out_of_order(world, channel);
    }
    __real_connection_run_method(connection, channel, payload);
    sent_end_turn(world, &turn);
}

void __real_connection_run_publish(struct connection *connection, // NOLINT
                                   const struct net_event *event, struct content_ref content);
void __wrap_connection_run_publish(struct connection *connection, // NOLINT
                                   const struct net_event *event, struct content_ref content);

void
__wrap_connection_run_publish(struct connection *connection, // NOLINT
                              const struct net_event *event, struct content_ref content)
{
    struct world *world = world_of(connection);
    if (world == NULL) {
        __real_connection_run_publish(connection, event, content);
        return;
    }
    struct sent_turn turn = sent_begin_turn(world, connection->link, event->channel, false);
    if (turn.sent.message != body_number(content_body(event->publish.place.content))) {
        sent_is_out_of_order(world, event->channel);
    }
    __real_connection_run_publish(connection, event, content);
    sent_end_turn(world, &turn);
}

/* Deaths --------------------------------------------------------------------------------------- */

/* What a core does when it goes concerns nobody. */
static struct world *
world_of_core(const struct core *core)
{
    struct world *world = core->ports.net.post == world_on_action ? core->ports.net.context : NULL;
    return world == NULL || world->is_ending ? NULL : world;
}

static struct world *
world_of_queue(const struct queue *queue)
{
    const struct vhost *vhost = queue->vhost;
    return vhost == NULL ? NULL : world_of_core(vhost->core);
}

void __real_core_let_die(struct core *core, struct queue *queue, // NOLINT
                         const struct queue_entry *entry, uint64_t position,
                         enum death_reason reason);
void __wrap_core_let_die(struct core *core, struct queue *queue, // NOLINT
                         const struct queue_entry *entry, uint64_t position,
                         enum death_reason reason);

void
__wrap_core_let_die(struct core *core, struct queue *queue, // NOLINT
                    const struct queue_entry *entry, uint64_t position, enum death_reason reason)
{
    struct world *world = world_of_core(core);
    if (world != NULL) {
        world_hear_death(world, queue, entry, position, reason);
    }
    __real_core_let_die(core, queue, entry, position, reason);
}

void __real_core_let_failed_die(struct core *core, struct queue *queue, // NOLINT
                                const struct queue_entry *entry, uint64_t position,
                                enum death_reason reason, struct failure *failure);
void __wrap_core_let_failed_die(struct core *core, struct queue *queue, // NOLINT
                                const struct queue_entry *entry, uint64_t position,
                                enum death_reason reason, struct failure *failure);

void
__wrap_core_let_failed_die(struct core *core, struct queue *queue, // NOLINT
                           const struct queue_entry *entry, uint64_t position,
                           enum death_reason reason, struct failure *failure)
{
    struct world *world = world_of_core(core);
    if (world != NULL) {
        world_hear_death(world, queue, entry, position, reason);
        world->settling_copy = HISTORY_NONE;
        world->settling_note = 0;
    }
    __real_core_let_failed_die(core, queue, entry, position, reason, failure);
}

void __real_queue_take_dying(struct queue *queue); // NOLINT
void __wrap_queue_take_dying(struct queue *queue); // NOLINT

void
__wrap_queue_take_dying(struct queue *queue) // NOLINT
{
    struct world *world = world_of_queue(queue);
    if (world != NULL) {
        world_hear_move(world, queue);
    }
    __real_queue_take_dying(queue);
}

bool __real_queue_take_waiting(struct queue *queue, const struct due_key *key, // NOLINT
                               struct due_row *row_out);
bool __wrap_queue_take_waiting(struct queue *queue, const struct due_key *key, // NOLINT
                               struct due_row *row_out);

bool
__wrap_queue_take_waiting(struct queue *queue, const struct due_key *key, // NOLINT
                          struct due_row *row_out)
{
    struct world *world = world_of_queue(queue);
    bool is_taken = __real_queue_take_waiting(queue, key, row_out);
    if (world != NULL && is_taken) {
        /* Nothing else takes a message out there but to let it in, or on. */
        bool is_cancelled = world->is_in_bulk && world->operation == OPERATION_NONE;
        world->operation = is_cancelled ? OPERATION_CANCEL : world->operation;
        world_hear_coming(world, queue, row_out);
        world->operation = is_cancelled ? OPERATION_NONE : world->operation;
    }
    return is_taken;
}

enum status __real_queue_end_retry(struct queue *queue, const struct due_key *key, // NOLINT
                                   struct queue_entry *entry_out);
enum status __wrap_queue_end_retry(struct queue *queue, const struct due_key *key, // NOLINT
                                   struct queue_entry *entry_out);

enum status
__wrap_queue_end_retry(struct queue *queue, const struct due_key *key, // NOLINT
                       struct queue_entry *entry_out)
{
    struct world *world = world_of_queue(queue);
    struct due_row row = {.key = *key};
    enum status status = __real_queue_end_retry(queue, key, entry_out);
    if (world != NULL && status == STATUS_OK) {
        row.entry = *entry_out;
        world_hear_coming(world, queue, &row);
    }
    return status;
}

/* In bulk ------------------------------------------------------------------------------------- */

enum status __real_core_end_wait(struct core *core, struct queue *queue, // NOLINT
                                 const struct due_key *key);
enum status __wrap_core_end_wait(struct core *core, struct queue *queue, // NOLINT
                                 const struct due_key *key);

enum status
__wrap_core_end_wait(struct core *core, struct queue *queue, // NOLINT
                     const struct due_key *key)
{
    struct world *world = world_of_core(core);
    if (world == NULL || !world->is_in_bulk) {
        return __real_core_end_wait(core, queue, key);
    }
    uint64_t first = server_log_first(&world->server);
    world->operation = OPERATION_RELEASE;
    enum status status = __real_core_end_wait(core, queue, key);
    world->operation = OPERATION_NONE;
    history_end_release(&world->history, server_span_from(&world->server, first).last);
    return status;
}

void __real_core_work_on_pending(struct core *core); // NOLINT
void __wrap_core_work_on_pending(struct core *core); // NOLINT

void
__wrap_core_work_on_pending(struct core *core) // NOLINT
{
    struct world *world = world_of_core(core);
    if (world == NULL) {
        __real_core_work_on_pending(core);
        return;
    }
    world->is_in_bulk = true;
    __real_core_work_on_pending(core);
    world->is_in_bulk = false;
}

void __real_pending_end_fetch(struct core *core, struct paging_job *job); // NOLINT
void __wrap_pending_end_fetch(struct core *core, struct paging_job *job); // NOLINT

void
__wrap_pending_end_fetch(struct core *core, struct paging_job *job) // NOLINT
{
    struct world *world = world_of_core(core);
    if (world == NULL) {
        __real_pending_end_fetch(core, job);
        return;
    }
    world->is_in_bulk = true;
    __real_pending_end_fetch(core, job);
    world->is_in_bulk = false;
}

/* Positions ------------------------------------------------------------------------------------ */

static void
hear_push(const struct queue *queue, const struct queue_entry *entry, enum status status)
{
    struct world *world = world_of_queue(queue);
    if (world != NULL && status == STATUS_OK) {
        world_hear_push(world, queue, entry, queue->next_position - 1);
    }
}

enum status __real_queue_push(struct queue *queue, const struct queue_entry *entry); // NOLINT
enum status __wrap_queue_push(struct queue *queue, const struct queue_entry *entry); // NOLINT

enum status
__wrap_queue_push(struct queue *queue, const struct queue_entry *entry) // NOLINT
{
    enum status status = __real_queue_push(queue, entry);
    hear_push(queue, entry, status);
    return status;
}

enum status __real_queue_push_until(struct queue *queue, struct queue_entry *entry, // NOLINT
                                    uint64_t due_ms);
enum status __wrap_queue_push_until(struct queue *queue, struct queue_entry *entry, // NOLINT
                                    uint64_t due_ms);

enum status
__wrap_queue_push_until(struct queue *queue, struct queue_entry *entry, // NOLINT
                        uint64_t due_ms)
{
    enum status status = __real_queue_push_until(queue, entry, due_ms);
    hear_push(queue, entry, status);
    return status;
}

void __real_queue_push_delayed(struct queue *queue, const struct queue_entry *entry, // NOLINT
                               uint8_t level, uint64_t due_ms, uint64_t expiration);
void __wrap_queue_push_delayed(struct queue *queue, const struct queue_entry *entry, // NOLINT
                               uint8_t level, uint64_t due_ms, uint64_t expiration);

void
__wrap_queue_push_delayed(struct queue *queue, const struct queue_entry *entry, // NOLINT
                          uint8_t level, uint64_t due_ms, uint64_t expiration)
{
    struct world *world = world_of_queue(queue);
    uint64_t number = queue->waiting->next_number - queue->waiting->reserved_count;
    __real_queue_push_delayed(queue, entry, level, due_ms, expiration);
    if (world != NULL) {
        world_hear_push(world, queue, entry,
                        QUEUE_POSITION_DELAYED | number << DELAYED_NUMBER_SHIFT | level);
    }
}

static void
hear_taken(const struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    struct world *world = world_of_queue(queue);
    if (world != NULL) {
        world->taken =
            (struct history_identity){.position = position, .lsn = queue_entry_lsn(entry)};
    }
}

bool __real_queue_pop(struct queue *queue, struct queue_entry *entry_out, // NOLINT
                      uint64_t *position_out);
bool __wrap_queue_pop(struct queue *queue, struct queue_entry *entry_out, // NOLINT
                      uint64_t *position_out);

bool
__wrap_queue_pop(struct queue *queue, struct queue_entry *entry_out, // NOLINT
                 uint64_t *position_out)
{
    bool is_taken = __real_queue_pop(queue, entry_out, position_out);
    if (is_taken) {
        hear_taken(queue, entry_out, *position_out);
    }
    return is_taken;
}

enum status __real_queue_lend(struct queue *queue, struct queue_entry *entry_out, // NOLINT
                              uint64_t *position_out);
enum status __wrap_queue_lend(struct queue *queue, struct queue_entry *entry_out, // NOLINT
                              uint64_t *position_out);

enum status
__wrap_queue_lend(struct queue *queue, struct queue_entry *entry_out, // NOLINT
                  uint64_t *position_out)
{
    enum status status = __real_queue_lend(queue, entry_out, position_out);
    if (status == STATUS_OK) {
        hear_taken(queue, entry_out, *position_out);
    }
    return status;
}

/* Failures ------------------------------------------------------------------------------------- */

void __real_channel_return_counted(struct channel *channel, struct unacked *item, // NOLINT
                                   enum retry_verdict verdict);
void __wrap_channel_return_counted(struct channel *channel, struct unacked *item, // NOLINT
                                   enum retry_verdict verdict);

void
__wrap_channel_return_counted(struct channel *channel, struct unacked *item, // NOLINT
                              enum retry_verdict verdict)
{
    struct world *world = world_of_core(channel->connection->core);
    struct actor_held *held = world == NULL ? NULL
                                            : world_begin_return(world, channel->connection->link,
                                                                 channel->number, item->tag);
    uint64_t first = held == NULL ? 0 : server_log_first(&world->server);
    __real_channel_return_counted(channel, item, verdict);
    if (held != NULL) {
        world_end_return(world, held, item, (uint8_t)verdict, first);
    }
}

void __real_channel_settle_return(struct channel *channel, struct unacked *item, // NOLINT
                                  enum retry_verdict verdict);
void __wrap_channel_settle_return(struct channel *channel, struct unacked *item, // NOLINT
                                  enum retry_verdict verdict);

void
__wrap_channel_settle_return(struct channel *channel, struct unacked *item, // NOLINT
                             enum retry_verdict verdict)
{
    struct world *world = world_of_core(channel->connection->core);
    uint64_t tag = item->tag;
    bool is_late = world != NULL && verdict == RETRY_TIMEOUT &&
                   world_begin_timeout(world, channel->connection->link, channel->number, tag);
    __real_channel_settle_return(channel, item, verdict);
    if (is_late) {
        world_end_timeout(world, channel->connection->link, channel->number, tag);
    }
}

void __real_core_go_on_settling(struct core *core); // NOLINT
void __wrap_core_go_on_settling(struct core *core); // NOLINT

void
__wrap_core_go_on_settling(struct core *core) // NOLINT
{
    struct world *world = world_of_core(core);
    uint64_t first = world == NULL ? 0 : server_log_first(&world->server);
    __real_core_go_on_settling(core);
    for (uint32_t i = 0; world != NULL && i < ACTORS_MAX; i++) {
        actor_go_on_settling(world, &world->actors[i], server_span_from(&world->server, first));
    }
}

struct failure *__real_channel_end_rejected(struct channel *channel, // NOLINT
                                            const struct unacked *item, enum row_verdict verdict);
struct failure *__wrap_channel_end_rejected(struct channel *channel, // NOLINT
                                            const struct unacked *item, enum row_verdict verdict);

struct failure *
__wrap_channel_end_rejected(struct channel *channel, const struct unacked *item, // NOLINT
                            enum row_verdict verdict)
{
    struct world *world = world_of_core(channel->connection->core);
    if (world != NULL) {
        world_begin_rejection(world, channel->connection->link, channel->number, item->tag);
    }
    return __real_channel_end_rejected(channel, item, verdict);
}

enum status __real_core_wait(struct core *core, struct queue *queue, // NOLINT
                             const struct queue_entry *entry, uint64_t position, uint64_t due_ms);
enum status __wrap_core_wait(struct core *core, struct queue *queue, // NOLINT
                             const struct queue_entry *entry, uint64_t position, uint64_t due_ms);

enum status
__wrap_core_wait(struct core *core, struct queue *queue, // NOLINT
                 const struct queue_entry *entry, uint64_t position, uint64_t due_ms)
{
    struct world *world = world_of_core(core);
    if (world != NULL && world->settling_copy != HISTORY_NONE) {
        world->returning_due_ms = core->base_ms + due_ms;
    } else if (world != NULL && !world->is_starting && due_ms != PARKED_MS) {
        world_hear_hold_end(world, queue, entry, core->base_ms + due_ms);
    }
    return __real_core_wait(core, queue, entry, position, due_ms);
}

enum status __real_core_park(struct core *core, struct queue *queue, // NOLINT
                             const struct dying_message *message);
enum status __wrap_core_park(struct core *core, struct queue *queue, // NOLINT
                             const struct dying_message *message);

enum status
__wrap_core_park(struct core *core, struct queue *queue, // NOLINT
                 const struct dying_message *message)
{
    struct world *world = world_of_core(core);
    enum status status = __real_core_park(core, queue, message);
    if (world != NULL) {
        world->is_parking = status == STATUS_OK;
    }
    return status;
}

enum status __real_core_log_publish(struct core *core, struct content_ref content, // NOLINT
                                    uint64_t *lsn_out);
enum status __wrap_core_log_publish(struct core *core, struct content_ref content, // NOLINT
                                    uint64_t *lsn_out);

enum status
__wrap_core_log_publish(struct core *core, struct content_ref content, // NOLINT
                        uint64_t *lsn_out)
{
    struct world *world = world_of_core(core);
    enum status status = __real_core_log_publish(core, content, lsn_out);
    if (world != NULL && status == STATUS_OK && *lsn_out != 0) {
        const struct content *logged = chunk_pool_content(core->pool, content);
        bool is_letter = (logged->flags & (CONTENT_HAS_DEATHS | CONTENT_IS_REPLAYED)) != 0;
        struct history_logged row = {
            .lsn = *lsn_out,
            .message = body_number(content_body(logged)),
            .letter_queue = is_letter ? core->log_targets[0] & ~RECORD_QUEUE_HANDED_OUT : 0,
        };
        history_hear_logged(&world->history, row);
    }
    return status;
}

void __real_channel_close(struct channel *channel, const struct fault *fault, // NOLINT
                          uint16_t class_id, uint16_t method_id);
void __wrap_channel_close(struct channel *channel, const struct fault *fault, // NOLINT
                          uint16_t class_id, uint16_t method_id);

void
__wrap_channel_close(struct channel *channel, const struct fault *fault, // NOLINT
                     uint16_t class_id, uint16_t method_id)
{
    static const char discarded[] = "transaction discarded: memory is short";
    struct world *world = world_of_core(channel->connection->core);
    if (world != NULL && !channel->is_closing &&
        strncmp(fault->text, discarded, sizeof(discarded) - 1) == 0) {
        world_hear_discard(world, channel->connection->link, channel->number);
    }
    __real_channel_close(channel, fault, class_id, method_id);
}

/* The desk ------------------------------------------------------------------------------------- */

enum replay_result __real_replay_message(struct replay *replay,
                                         const struct desk_row *row, // NOLINT
                                         const struct desk_facts *facts);
enum replay_result __wrap_replay_message(struct replay *replay,
                                         const struct desk_row *row, // NOLINT
                                         const struct desk_facts *facts);

enum replay_result
__wrap_replay_message(struct replay *replay, const struct desk_row *row, // NOLINT
                      const struct desk_facts *facts)
{
    struct world *world = world_of_core(replay->core);
    if (world == NULL) {
        return __real_replay_message(replay, row, facts);
    }
    struct world_sending sending = world_begin_sending(world, replay->queue, row);
    enum replay_result result = __real_replay_message(replay, row, facts);
    world->is_sending = false;
    if (result == REPLAY_DONE && !replay->is_dry) {
        world_end_sending(world, &sending, queue_of_target(replay->core->routes.targets[0]));
    }
    return result;
}

enum status __real_desk_drop_message(struct core *core, struct queue *queue, // NOLINT
                                     const struct desk_row *row);
enum status __wrap_desk_drop_message(struct core *core, struct queue *queue, // NOLINT
                                     const struct desk_row *row);

enum status
__wrap_desk_drop_message(struct core *core, struct queue *queue, // NOLINT
                         const struct desk_row *row)
{
    struct world *world = world_of_core(core);
    if (world == NULL) {
        return __real_desk_drop_message(core, queue, row);
    }
    struct world_sending sending = world_begin_sending(world, queue, row);
    enum status status = __real_desk_drop_message(core, queue, row);
    world->is_sending = false;
    if (status == STATUS_OK) {
        world_end_sending(world, &sending, NULL);
    }
    return status;
}

/* By itself ----------------------------------------------------------------------------------- */

void __real_core_route(struct core *core, struct vhost *vhost, struct exchange *exchange, // NOLINT
                       const struct route_message *message);
void __wrap_core_route(struct core *core, struct vhost *vhost, struct exchange *exchange, // NOLINT
                       const struct route_message *message);

void
__wrap_core_route(struct core *core, struct vhost *vhost, struct exchange *exchange, // NOLINT
                  const struct route_message *message)
{
    struct world *world = world_of_core(core);
    __real_core_route(core, vhost, exchange, message);
    if (world != NULL && world->publishing != HISTORY_NONE) {
        world_hear_route(world, exchange);
    }
}

bool __real_core_refuses(struct core *core, struct queue *queue, uint32_t body_size); // NOLINT
bool __wrap_core_refuses(struct core *core, struct queue *queue, uint32_t body_size); // NOLINT

bool
__wrap_core_refuses(struct core *core, struct queue *queue, uint32_t body_size) // NOLINT
{
    struct world *world = world_of_core(core);
    bool refuses = __real_core_refuses(core, queue, body_size);
    if (world != NULL && world->is_committing) {
        world_hear_asked(world, queue, body_size, !refuses);
    }
    return refuses;
}

uint64_t __real_vhost_delete_queue(struct vhost *vhost, struct queue *queue); // NOLINT
uint64_t __wrap_vhost_delete_queue(struct vhost *vhost, struct queue *queue); // NOLINT

uint64_t
__wrap_vhost_delete_queue(struct vhost *vhost, struct queue *queue) // NOLINT
{
    struct world *world = world_of_core(vhost->core);
    if (world == NULL || world->deleting_queue != HISTORY_NONE) {
        return __real_vhost_delete_queue(vhost, queue);
    }
    uint32_t handle = world_find_handle(world, queue);
    bool has_consumers = queue->consumer_count > 0;
    world_see_deaths(world);
    uint64_t first = server_log_first(&world->server);
    uint64_t count = __real_vhost_delete_queue(vhost, queue);
    if (handle != HISTORY_NONE) {
        world_hear_expiry(world, handle, has_consumers, first);
    }
    return count;
}

/* Mutants -------------------------------------------------------------------------------------- */

uint32_t __real_connection_replay_held(struct connection *connection); // NOLINT
uint32_t __wrap_connection_replay_held(struct connection *connection); // NOLINT

uint32_t
__wrap_connection_replay_held(struct connection *connection) // NOLINT
{
    const struct world *world = world_of(connection);
    if (world != NULL && world->mutant == MUTANT_LAST_FIRST && !list_is_empty(&connection->held)) {
        struct list_link *first = list_pop(&connection->held);
        list_append(&connection->held, first);
    }
    return __real_connection_replay_held(connection);
}
