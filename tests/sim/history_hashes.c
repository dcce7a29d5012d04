/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges that give a message to one of the queues that are bound. Which one is the broker's
 * choice; but where names and keys decide it must be the same again, as far as the same is bound.
 */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/history_parts.h"

/* So many draws, and none was of the one half: that is no chance. */
enum { DRAWS_MIN = 60 };

static const struct history_exchange *
exchange_of(const struct history *history, const struct history_message *message)
{
    if (message->exchange == HISTORY_DEFAULT_EXCHANGE) {
        return NULL;
    }
    uint32_t exchange = history->exchange_by_name[message->exchange];
    return exchange == HISTORY_NONE ? NULL : &history->exchanges[exchange];
}

static bool
picks_one(enum history_kind kind)
{
    return kind == HISTORY_CONSISTENT_HASH || kind == HISTORY_MODULUS_HASH ||
           kind == HISTORY_RANDOM;
}

bool
history_is_picked(const struct history *history, uint32_t number)
{
    const struct history_exchange *exchange = exchange_of(history, &history->messages[number]);
    return exchange != NULL && picks_one(exchange->kind);
}

/* Of each queue that is bound; the key of a binding is one less than its weight. Returns the
 * number of queues. */
static uint32_t
weigh(const struct history *history, const struct history_exchange *exchange,
      uint32_t weights[static HISTORY_NAMES])
{
    uint32_t count = 0;
    memset(weights, 0, HISTORY_NAMES * sizeof(*weights));
    for (uint32_t i = 0; i < history->binding_count; i++) {
        const struct history_binding *binding = &history->bindings[i];
        if (binding->presence == HISTORY_PRESENT &&
            &history->exchanges[binding->exchange] == exchange) {
            uint32_t name = history->queues[binding->queue].name;
            count += weights[name] == 0;
            weights[name] += exchange->kind == HISTORY_CONSISTENT_HASH ? binding->key + 1 : 1;
        }
    }
    return count;
}

/* A queue that gets more than before takes from all, and from one that gets less others take. */
static bool
may_move_consistently(const struct history_pick *pick, uint32_t queue_name, const uint32_t *weights)
{
    return weights[pick->queue_name] < pick->weights[pick->queue_name] ||
           weights[queue_name] > pick->weights[queue_name];
}

static void
check_pick(struct history *history, const struct history_exchange *exchange, uint32_t key,
           uint32_t queue_name, const uint32_t *weights)
{
    struct history_pick *pick = &history->picks[exchange->kind][key];
    bool is_modulus = exchange->kind == HISTORY_MODULUS_HASH;
    bool may_move = is_modulus ? memcmp(pick->weights, weights, sizeof(pick->weights)) != 0
                               : may_move_consistently(pick, queue_name, weights);
    if (is_modulus && history->counts_gone) {
        pick->is_known = false;
        return;
    }
    if (pick->is_known && pick->queue_name != queue_name && !may_move) {
        history_wrong(history, HISTORY_ORDER,
                      "key k%" PRIu32 " of exchange x%" PRIu32 " goes to queue q%" PRIu32
                      ", and went to q%" PRIu32,
                      key, exchange->name, queue_name, pick->queue_name);
    }
    pick->is_known = true;
    pick->queue_name = queue_name;
    memcpy(pick->weights, weights, sizeof(pick->weights));
}

static void
note_random(struct history *history, uint32_t queue_name, const uint32_t *weights,
            uint32_t bound_count)
{
    uint32_t lowest = 0;
    while (weights[lowest] == 0) {
        lowest++;
    }
    if (bound_count == 2) {
        history->random_picks.count++;
        history->random_picks.low_count += queue_name == lowest;
    }
}

static void
take_pick(struct history *history, struct history_message *message,
          const struct history_exchange *exchange, uint32_t handle)
{
    uint32_t weights[HISTORY_NAMES];
    uint32_t bound_count = weigh(history, exchange, weights);
    uint32_t name = history->queues[handle].name;
    if (weights[name] == 0) {
        history_wrong(history, HISTORY_ORDER,
                      "exchange x%" PRIu32 " chooses queue q%" PRIu32 ", which is not bound",
                      exchange->name, name);
    } else if (exchange->kind == HISTORY_RANDOM) {
        note_random(history, name, weights, bound_count);
    } else {
        check_pick(history, exchange, message->key, name, weights);
    }
    history->sums.picked++;
    message->target_count = 1;
    message->targets[0] = handle;
}

void
history_hear_pick(struct history *history, uint32_t number, const uint32_t *queues, uint32_t count)
{
    struct history_message *message = &history->messages[number];
    const struct history_exchange *exchange = exchange_of(history, message);
    uint32_t weights[HISTORY_NAMES];
    assert(exchange != NULL);
    uint32_t wanted_count = weigh(history, exchange, weights) > 0 ? 1 : 0;
    if (count != wanted_count) {
        history_wrong(history, count > wanted_count ? HISTORY_DUPLICATED : HISTORY_LOST,
                      "exchange x%" PRIu32 " gives message %" PRIu32 " to %" PRIu32
                      " queues, should to %" PRIu32,
                      exchange->name, number, count, wanted_count);
    } else if (count == 1) {
        take_pick(history, message, exchange, queues[0]);
    }
}

static void
check_both_halves(struct history *history, const struct history_draws *draws, const char *what)
{
    if (draws->count >= DRAWS_MIN && (draws->low_count == 0 || draws->low_count == draws->count)) {
        history_wrong(history, HISTORY_ANSWER,
                      "of %" PRIu64 " draws of %s %" PRIu64 " fell on one side", draws->count, what,
                      draws->low_count);
    }
}

void
history_check_draws(struct history *history)
{
    check_both_halves(history, &history->random_picks, "a random queue");
    check_both_halves(history, &history->delays, "a delay");
}
