/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of dead letters, octet for octet where clients may look. */
#include "broker/message/death_headers.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>

#include "amqp/table.h"

static struct buffer first, second; /* headers before and after */
static char text[64 * 1024];

static void
set_up(void)
{
    buffer_init(&first);
    buffer_init(&second);
}

static void
tear_down(void)
{
    buffer_fini(&first);
    buffer_fini(&second);
}

TestSuite(death_headers, .init = set_up, .fini = tear_down);

static struct death
death_in(const char *queue, enum death_reason reason, const struct bytes *keys, uint32_t key_count)
{
    return (struct death){
        .reason = reason,
        .queue = bytes_of(queue),
        .exchange = bytes_of("ex"),
        .keys = keys,
        .key_count = key_count,
        .time_s = 1700000000,
    };
}

/* Lets the message die; its headers are those of the call before. */
static bool
die(const struct death *death, size_t octets_max)
{
    struct death_source source = {.headers = buffer_bytes(&first), .has_deaths = true};
    buffer_clear(&second);
    bool is_said = death_headers_put(&second, &source, death, octets_max);
    cr_assert(not(second.failed));
    struct buffer swapped = first;
    first = second;
    second = swapped;
    struct fault fault;
    cr_assert(eq(int, (int)table_validate(buffer_bytes(&first), UINT32_MAX, &fault), STATUS_OK));
    return is_said;
}

static bool
die_in(const char *queue, enum death_reason reason)
{
    struct bytes key = bytes_of("k");
    struct death death = death_in(queue, reason, &key, 1);
    return die(&death, SIZE_MAX);
}

static size_t print_table(char *out, size_t size, struct bytes table);

static size_t
print_value(char *out, size_t size, const struct table_value *value)
{
    size_t used = (size_t)snprintf(out, size, "%c", value->type);
    if (value->type == 'S') {
        return used + (size_t)snprintf(out + used, size - used, ":%.*s", BYTES_FORMAT(value->raw));
    }
    if (value->type == 'F') {
        used += (size_t)snprintf(out + used, size - used, "{");
        used += print_table(out + used, size - used, value->raw);
        return used + (size_t)snprintf(out + used, size - used, "}");
    }
    if (value->type == 'A') {
        struct byte_reader reader = byte_reader_make(value->raw);
        struct table_value item;
        used += (size_t)snprintf(out + used, size - used, "[");
        for (int i = 0; table_array_next(&reader, &item); i++) {
            used += (size_t)snprintf(out + used, size - used, "%s", i == 0 ? "" : " ");
            used += print_value(out + used, size - used, &item);
        }
        return used + (size_t)snprintf(out + used, size - used, "]");
    }
    return used + (size_t)snprintf(out + used, size - used, ":%lld",
                                   (long long)table_value_integer(value));
}

/* Every field with its letter, in its order. */
static size_t
print_table(char *out, size_t size, struct bytes table)
{
    struct byte_reader reader = byte_reader_make(table);
    struct bytes name;
    struct table_value value;
    size_t used = 0;
    while (table_next(&reader, &name, &value)) {
        used += (size_t)snprintf(out + used, size - used, "%s%.*s=", used == 0 ? "" : " ",
                                 BYTES_FORMAT(name));
        used += print_value(out + used, size - used, &value);
    }
    return used;
}

static const char *
headers(void)
{
    text[0] = '\0';
    (void)print_table(text, sizeof(text), buffer_bytes(&first));
    return text;
}

/* amqp-reference 16.4: keys, letters and order. */
Test(death_headers, the_first_death_is_told_with_every_key_and_letter)
{
    const struct bytes keys[] = {bytes_of("k"), bytes_of("cc")};
    struct death death = death_in("q", DEATH_EXPIRED, keys, 2);
    death.expiration = bytes_of("60000");
    cr_expect(die(&death, SIZE_MAX));
    cr_expect(eq(str, (char *)headers(),
                 "x-first-death-queue=S:q x-first-death-reason=S:expired "
                 "x-first-death-exchange=S:ex x-last-death-queue=S:q "
                 "x-last-death-reason=S:expired x-last-death-exchange=S:ex "
                 "x-death=A[F{count=l:1 reason=S:expired queue=S:q time=T:1700000000 exchange=S:ex "
                 "routing-keys=A[S:k S:cc] original-expiration=S:60000}]"));
}

/* The newest in front; a repeat counts, moves to the front, and keeps time, exchange and keys. */
Test(death_headers, a_repeat_is_counted_and_moves_to_the_front)
{
    (void)die_in("a", DEATH_REJECTED);
    (void)die_in("b", DEATH_EXPIRED);
    struct bytes key = bytes_of("other");
    struct death again = death_in("a", DEATH_REJECTED, &key, 1);
    again.time_s = 1800000000;
    again.exchange = bytes_of("other");
    (void)die(&again, SIZE_MAX);
    cr_expect(
        eq(str, (char *)headers(),
           "x-first-death-queue=S:a x-first-death-reason=S:rejected "
           "x-first-death-exchange=S:ex x-last-death-queue=S:a "
           "x-last-death-reason=S:rejected x-last-death-exchange=S:other "
           "x-death=A[F{count=l:2 reason=S:rejected queue=S:a time=T:1700000000 exchange=S:ex "
           "routing-keys=A[S:k]} F{count=l:1 reason=S:expired queue=S:b time=T:1700000000 "
           "exchange=S:ex routing-keys=A[S:k]}]"));
    (void)die_in("a", DEATH_MAXLEN);
    cr_expect(ne(ptr, strstr(headers(), "x-death=A[F{count=l:1 reason=S:maxlen queue=S:a"), NULL),
              "another reason is another entry");
}

/* Trap 12 of the reference: nobody else's header changes its width, letter, place or name. */
Test(death_headers, every_other_header_keeps_its_octets)
{
    static const uint8_t others[] = "\1aI\0\0\0\5\1bs\0\7\1cV\1dx\0\0\0\2zz\1eD\2\0\0\0\7\1bt\1";
    struct death_source source = {.headers = bytes_make(others, sizeof(others) - 1)};
    struct bytes key = bytes_of("k");
    struct death death = death_in("q", DEATH_REJECTED, &key, 1);
    cr_assert(death_headers_put(&first, &source, &death, SIZE_MAX));
    cr_expect(bytes_equal(bytes_make(first.data, sizeof(others) - 1), source.headers));
    (void)die_in("r", DEATH_REJECTED);
    cr_expect(bytes_equal(bytes_make(first.data, sizeof(others) - 1), source.headers));
}

/* RabbitMQ since 4.0: what a client publishes under these names is replaced. */
Test(death_headers, what_a_client_wrote_is_not_interpreted)
{
    (void)die_in("q", DEATH_REJECTED);
    (void)die_in("r", DEATH_REJECTED);
    struct death_source source = {.headers = buffer_bytes(&first), .has_deaths = false};
    struct bytes key = bytes_of("k");
    struct death death = death_in("q", DEATH_REJECTED, &key, 1);
    buffer_clear(&second);
    cr_assert(death_headers_put(&second, &source, &death, SIZE_MAX));
    buffer_clear(&first);
    buffer_put_bytes(&first, buffer_bytes(&second));
    cr_expect(
        eq(str, (char *)headers(),
           "x-first-death-queue=S:q x-first-death-reason=S:rejected "
           "x-first-death-exchange=S:ex x-last-death-queue=S:q "
           "x-last-death-reason=S:rejected x-last-death-exchange=S:ex "
           "x-death=A[F{count=l:1 reason=S:rejected queue=S:q time=T:1700000000 exchange=S:ex "
           "routing-keys=A[S:k]}]"));
}

Test(death_headers, cc_goes_where_a_key_takes_its_place)
{
    table_put_text(&second, "CC", bytes_of("not even an array"));
    table_put_text(&second, "CCx", bytes_of("stays"));
    struct death_source source = {.headers = buffer_bytes(&second), .drops_cc = true};
    struct bytes key = bytes_of("k");
    struct death death = death_in("q", DEATH_REJECTED, &key, 1);
    cr_assert(death_headers_put(&first, &source, &death, SIZE_MAX));
    cr_expect(eq(ptr, strstr(headers(), "CC="), NULL));
    cr_expect(ne(ptr, strstr(headers(), "CCx=S:stays"), NULL));
}

/* amqp-reference 16.3. */
Test(death_headers, a_circle_is_one_unless_somebody_rejected_on_the_way)
{
    static const struct {
        const char *deaths; /* the oldest first: queue, then e or r */
        const char *target;
        bool is_cycle;
    } rows[] = {
        {"ae", "a", true},       {"ae", "b", false},      {"ae be", "a", true},
        {"ae be ce", "a", true}, {"ar be", "a", false},   {"ae br ce", "a", false},
        {"ar be ce", "b", true}, {"ae br ce", "c", true}, {"ae be ar", "b", false},
        {"ar ae", "a", true},    {"ae be ae", "b", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buffer_clear(&first);
        for (const char *at = rows[i].deaths; *at != '\0'; at += at[2] == ' ' ? 3 : 2) {
            char name[2] = {at[0], '\0'};
            (void)die_in(name, at[1] == 'r' ? DEATH_REJECTED : DEATH_EXPIRED);
        }
        bool is_cycle = death_headers_have_cycle(buffer_bytes(&first), bytes_of(rows[i].target));
        cr_expect(eq(int, is_cycle, rows[i].is_cycle), "%s to %s", rows[i].deaths, rows[i].target);
    }
}

/* reliability T14: the history is bounded and the oldest goes first; the first death stays known.
 */
Test(death_headers, a_long_history_loses_its_oldest_deaths)
{
    enum { DEATHS = 2000 };
    char name[32];
    for (int i = 0; i < DEATHS; i++) {
        (void)snprintf(name, sizeof(name), "queue-%d", i);
        cr_assert(die_in(name, DEATH_EXPIRED));
    }
    struct table_value value;
    cr_assert(table_find(buffer_bytes(&first), "x-death", &value));
    cr_expect(le(sz, value.raw.size, (size_t)DEATH_OCTETS_MAX));
    cr_expect(ge(sz, value.raw.size, (size_t)DEATH_OCTETS_MAX - 256));
    cr_expect(death_headers_have_cycle(buffer_bytes(&first), bytes_of("queue-1800")));
    cr_expect(not(death_headers_have_cycle(buffer_bytes(&first), bytes_of("queue-0"))));
    cr_assert(table_find(buffer_bytes(&first), "x-first-death-queue", &value));
    cr_expect(bytes_equal_text(value.raw, "queue-0"));
}

/* A ladder of delays as Celery and NServiceBus build it is far from any bound. */
Test(death_headers, a_ladder_of_28_queues_is_told_whole)
{
    char name[32];
    for (int i = 27; i >= 0; i--) {
        (void)snprintf(name, sizeof(name), "celery_delayed_%d", i);
        cr_assert(not(death_headers_have_cycle(buffer_bytes(&first), bytes_of(name))));
        cr_assert(die_in(name, DEATH_EXPIRED));
    }
    cr_expect(death_headers_have_cycle(buffer_bytes(&first), bytes_of("celery_delayed_27")));
}

/* Headers that fill a frame leave no room: the message goes on and says nothing of its death. */
Test(death_headers, where_the_newest_death_has_no_room_nothing_is_said)
{
    table_put_text(&first, "a", bytes_of("1"));
    (void)die_in("q", DEATH_REJECTED);
    size_t size = buffer_size(&first);
    struct bytes key = bytes_of("k");
    struct death death = death_in("r", DEATH_REJECTED, &key, 1);
    cr_expect(die(&death, size));
    cr_expect(eq(sz, buffer_size(&first), size), "one takes the place of the other");
    cr_expect(not(die(&death, size - 1)));
    cr_expect(eq(str, (char *)headers(), "a=S:1"));
}
