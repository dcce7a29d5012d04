/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery hands over what there is, in the order of the log; messages are sorted by queue before
 * they are printed, and each is read when its turn comes. */
#include "cli/store/dump.h"

#include <inttypes.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/map.h"
#include "cli/store/store.h"
#include "cli/text/base64.h"
#include "store/chunk.h"
#include "store/fetch.h"
#include "store/recovery.h"

enum {
    DUMP_QUEUE,
    DUMP_JSON,
    BODY_MAX = 64 * 1024, /* octets of a body that are printed as base64 */
    WHY_SIZE = 512,
    TEXT_SIZE = 160,
};

const struct command_option dump_options[DUMP_OPTION_COUNT] = {
    {"queue", "NAME", "print the messages of queues of this name only"},
    {"json", NULL, "print one JSON object a line, bodies as base64 up to 64 KiB"},
};

/* A vhost or queue that was named. */
struct dump_name {
    uint64_t id;
    uint64_t vhost;
    uint64_t message_count, octets;
    struct bytes name; /* owned by the arena */
};

struct dump {
    FILE *out;
    bool as_json;
    const char *queue;  /* NULL: all */
    struct arena arena; /* names */
    struct map names;   /* of struct dump_name by the octets of its id; ids are never shared */
    struct recovered_row *rows; /* owned */
    size_t row_count, row_capacity;
    struct fetch_files *files;
    uint64_t unreadable;
};

/* Text ----------------------------------------------------------------------------------------- */

/* A JSON string; an octet that is not UTF-8 becomes the character of its number. */
static void
print_json_text(FILE *out, struct bytes text)
{
    fputc('"', out);
    while (text.size > 0) {
        size_t size = bytes_utf8_char(text);
        uint8_t first = text.data[0];
        if (size == 0) {
            fprintf(out, "\\u%04x", first);
            size = 1;
        } else if (first == '"' || first == '\\') {
            fprintf(out, "\\%c", first);
        } else if (first < 0x20 || first == 0x7f) {
            fprintf(out, "\\u%04x", first);
        } else {
            fwrite(text.data, 1, size, out);
        }
        text = bytes_make(text.data + size, text.size - size);
    }
    fputc('"', out);
}

static void
print_text(struct dump *dump, struct bytes text)
{
    char escaped[TEXT_SIZE];
    if (dump->as_json) {
        print_json_text(dump->out, text);
    } else {
        fputs(log_escape(escaped, sizeof(escaped), text), dump->out);
    }
}

static void
print_base64(FILE *out, struct bytes octets)
{
    fputc('"', out);
    base64_print(out, octets);
    fputc('"', out);
}

static void
print_field(struct dump *dump, const char *name, struct bytes text)
{
    fprintf(dump->out, dump->as_json ? ",\"%s\":" : " %s=", name);
    print_text(dump, text);
}

static void
print_number(struct dump *dump, const char *name, uint64_t number)
{
    fprintf(dump->out, dump->as_json ? ",\"%s\":%" PRIu64 : " %s=%" PRIu64, name, number);
}

static void
begin_line(struct dump *dump, const char *type)
{
    fprintf(dump->out, dump->as_json ? "{\"type\":\"%s\"" : "%s", type);
}

static void
end_line(struct dump *dump)
{
    fputs(dump->as_json ? "}\n" : "\n", dump->out);
}

/* Topology ------------------------------------------------------------------------------------- */

static struct dump_name *
find_name(const struct dump *dump, uint64_t id)
{
    return map_get(&dump->names, bytes_make(&id, sizeof(id)));
}

static void
remember_name(struct dump *dump, uint64_t id, uint64_t vhost, struct bytes text)
{
    struct dump_name *name = arena_alloc(&dump->arena, sizeof(*name));
    *name = (struct dump_name){.id = id, .vhost = vhost, .name = arena_copy(&dump->arena, text)};
    map_put(&dump->names, bytes_make(&name->id, sizeof(name->id)), name);
}

static void
print_name_of(struct dump *dump, const char *field, uint64_t id)
{
    const struct dump_name *name = find_name(dump, id);
    print_field(dump, field, name == NULL ? bytes_of("") : name->name);
}

static void
print_flags(struct dump *dump, uint32_t flags)
{
    static const struct {
        uint32_t flag;
        const char *word;
    } words[] = {
        {RECORD_FROM_FILE, "from_file"}, {RECORD_AUTO_DELETE, "auto_delete"},
        {RECORD_INTERNAL, "internal"},   {RECORD_PREDECLARED, "predeclared"},
        {RECORD_DISABLED, "disabled"},   {RECORD_OPERATOR, "operator"},
        {RECORD_PROTECTED, "protected"}, {RECORD_PAUSED, "paused"},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if ((flags & words[i].flag) != 0) {
            fprintf(dump->out, dump->as_json ? ",\"%s\":true" : " %s", words[i].word);
        }
    }
}

static void
print_binding(struct dump *dump, const struct record *record)
{
    bool to_exchange = (record->binding.flags & RECORD_TO_EXCHANGE) != 0;
    begin_line(dump, "binding");
    print_name_of(dump, "source", record->binding.source);
    print_name_of(dump, to_exchange ? "exchange" : "queue", record->binding.target);
    print_field(dump, "routing_key", record->binding.routing_key);
    print_number(dump, "argument_octets", record->binding.arguments.size);
    print_flags(dump, record->binding.flags);
    end_line(dump);
}

static void
print_object(struct dump *dump, const char *type, uint64_t id, const uint64_t *vhost,
             struct bytes name, uint32_t flags)
{
    begin_line(dump, type);
    print_field(dump, "name", name);
    print_number(dump, "id", id);
    if (vhost != NULL) {
        print_name_of(dump, "vhost", *vhost);
    }
    print_flags(dump, flags);
}

static void
print_policy(struct dump *dump, const struct record_policy *policy)
{
    print_object(dump, "policy", policy->id, &policy->vhost, policy->name, policy->flags);
    print_field(dump, "pattern", policy->pattern);
    fprintf(dump->out, dump->as_json ? ",\"priority\":%" PRId32 : " priority=%" PRId32,
            policy->priority);
    print_number(dump, "definition_octets", policy->definition.size);
    end_line(dump);
}

static void
print_generation(struct dump *dump, const struct record_generation *generation)
{
    begin_line(dump, "generation");
    print_number(dump, "id", generation->id);
    print_name_of(dump, "vhost", generation->vhost);
    print_number(dump, "wall_ms", (uint64_t)generation->wall_ms);
    print_number(dump, "cause", generation->cause);
    print_field(dump, "maker", generation->maker);
    print_number(dump, "octets", generation->rest.size);
    end_line(dump);
}

static void
print_fact(struct dump *dump, const struct record *record)
{
    begin_line(dump, "fact");
    print_number(dump, "kind", record->fact.kind);
    print_number(dump, "id", record->fact.id);
    print_number(dump, "octets", record->fact.rest.size);
    end_line(dump);
}

static enum status
take_record(void *context, const struct record *record)
{
    struct dump *dump = context;
    switch (record->type) {
    case RECORD_VHOST_SET:
        remember_name(dump, record->vhost.id, 0, record->vhost.name);
        print_object(dump, "vhost", record->vhost.id, NULL, record->vhost.name,
                     record->vhost.flags);
        end_line(dump);
        break;
    case RECORD_USER_SET:
        print_object(dump, "user", record->user.id, NULL, record->user.name, record->user.flags);
        end_line(dump);
        break;
    case RECORD_POLICY_SET:
        print_policy(dump, &record->policy);
        break;
    case RECORD_EXCHANGE_SET:
        remember_name(dump, record->exchange.id, record->exchange.vhost, record->exchange.name);
        print_object(dump, "exchange", record->exchange.id, &record->exchange.vhost,
                     record->exchange.name, record->exchange.flags);
        print_field(dump, "exchange_type", record->exchange.type);
        end_line(dump);
        break;
    case RECORD_QUEUE_SET:
        remember_name(dump, record->queue.id, record->queue.vhost, record->queue.name);
        print_object(dump, "queue", record->queue.id, &record->queue.vhost, record->queue.name,
                     record->queue.flags);
        print_number(dump, "argument_octets", record->queue.arguments.size);
        end_line(dump);
        break;
    case RECORD_BINDING_SET:
        print_binding(dump, record);
        break;
    case RECORD_GENERATION_SET:
        print_generation(dump, &record->generation);
        break;
    case RECORD_FACT_SET:
        print_fact(dump, record);
        break;
    default:
        break;
    }
    return STATUS_OK;
}

/* Messages ------------------------------------------------------------------------------------- */

static enum status
take_row(void *context, const struct recovered_row *row)
{
    struct dump *dump = context;
    struct dump_name *queue = find_name(dump, row->queue);
    if (queue == NULL || (dump->queue != NULL && !bytes_equal_text(queue->name, dump->queue))) {
        return STATUS_OK;
    }
    if (dump->row_count == dump->row_capacity) {
        size_t capacity = dump->row_capacity == 0 ? 1024 : 2 * dump->row_capacity;
        struct recovered_row *rows = try_realloc(dump->rows, capacity * sizeof(*rows));
        if (rows == NULL) {
            return STATUS_NO_MEMORY;
        }
        dump->rows = rows;
        dump->row_capacity = capacity;
    }
    queue->message_count++;
    queue->octets += row->body_size;
    dump->rows[dump->row_count++] = *row;
    return STATUS_OK;
}

static int
compare_rows(const void *a, const void *b)
{
    const struct recovered_row *left = a;
    const struct recovered_row *right = b;
    if (left->queue != right->queue) {
        return left->queue < right->queue ? -1 : 1;
    }
    return left->lsn < right->lsn ? -1 : left->lsn > right->lsn;
}

static void
print_property(struct dump *dump, const struct properties *properties, uint16_t flag,
               const char *name, struct bytes value)
{
    if ((properties->flags & flag) != 0) {
        print_field(dump, name, value);
    }
}

static void
print_properties(struct dump *dump, struct bytes block)
{
    struct properties found;
    struct fault fault;
    if (properties_decode(&found, block, &fault) != STATUS_OK) {
        print_field(dump, "properties", bytes_of("unreadable"));
        return;
    }
    print_property(dump, &found, PROPERTY_CONTENT_TYPE, "content_type", found.content_type);
    print_property(dump, &found, PROPERTY_CONTENT_ENCODING, "content_encoding",
                   found.content_encoding);
    print_property(dump, &found, PROPERTY_CORRELATION_ID, "correlation_id", found.correlation_id);
    print_property(dump, &found, PROPERTY_REPLY_TO, "reply_to", found.reply_to);
    print_property(dump, &found, PROPERTY_EXPIRATION, "expiration", found.expiration);
    print_property(dump, &found, PROPERTY_MESSAGE_ID, "message_id", found.message_id);
    print_property(dump, &found, PROPERTY_TYPE, "message_type", found.type);
    print_property(dump, &found, PROPERTY_USER_ID, "user_id", found.user_id);
    print_property(dump, &found, PROPERTY_APP_ID, "app_id", found.app_id);
    if ((found.flags & PROPERTY_PRIORITY) != 0) {
        print_number(dump, "priority", found.priority);
    }
    if ((found.flags & PROPERTY_TIMESTAMP) != 0) {
        print_number(dump, "timestamp", found.timestamp);
    }
    if ((found.flags & PROPERTY_HEADERS) != 0) {
        print_number(dump, "header_octets", found.headers.size);
    }
}

static void
print_content(struct dump *dump, const struct content *content)
{
    struct bytes body = content_body(content);
    print_field(dump, "exchange", content_exchange(content));
    print_field(dump, "routing_key", content_routing_key(content));
    print_properties(dump, content_properties(content));
    if (dump->as_json) {
        bool is_cut = body.size > BODY_MAX;
        fprintf(dump->out, ",\"body_cut\":%s,\"body\":", is_cut ? "true" : "false");
        print_base64(dump->out, bytes_make(body.data, is_cut ? BODY_MAX : body.size));
    }
}

static void
print_number_if(struct dump *dump, const char *name, uint64_t number)
{
    if (number != 0) {
        print_number(dump, name, number);
    }
}

/* The failures whose time is kept, in their order: wall clock and verdict. */
static void
print_failures(struct dump *dump, const struct recovered_row *row)
{
    const char *separator = "";
    uint32_t count = row->state.delivery_count;
    if (row_attempts_is_empty(&row->attempts)) {
        return;
    }
    fputs(dump->as_json ? ",\"failures\":[" : " failures=", dump->out);
    for (uint32_t number = 1; number <= count; number = row_attempts_next(number, count)) {
        uint32_t place = row_attempts_place(number);
        if (row->attempts.times_ms[place] != 0) {
            uint64_t time_ms = row->state.arrival_ms + row->attempts.times_ms[place] - 1;
            fprintf(dump->out,
                    dump->as_json ? "%s{\"time_ms\":%" PRIu64 ",\"verdict\":\"%s\"}"
                                  : "%s%" PRIu64 ":%s",
                    separator, time_ms,
                    row_verdict_name(row_attempts_verdict(&row->attempts, place)));
            separator = ",";
        }
    }
    fputs(dump->as_json ? "]" : "", dump->out);
}

/* What the log keeps of the message in this queue. Times are milliseconds since 1970. */
static void
print_state(struct dump *dump, const struct row_state *state)
{
    print_number_if(dump, "due_ms", state->due_ms);
    print_number_if(dump, "deadline_ms", state->deadline_ms);
    print_number_if(dump, "arrival_ms", state->arrival_ms);
    print_number_if(dump, "delivery_count", state->delivery_count);
    print_number_if(dump, "acquired_count", state->acquired_count);
    print_number_if(dump, "level_offset", state->priority);
    if (state->verdict != ROW_VERDICT_NONE) {
        print_field(dump, "last_verdict", bytes_of(row_verdict_name(state->verdict)));
    }
}

/* A message that cannot be read is printed without what is not known of it. */
static void
print_message(struct dump *dump, const struct recovered_row *row)
{
    struct log_failure failure = {0};
    struct io_fetch fetch = {.count = 1, .lsns = {row->lsn}, .sizes = {row->body_size}};
    fetch.block_size = (row->content_size + 7) & ~UINT32_C(7);
    fetch.block = try_alloc(fetch.block_size);
    begin_line(dump, "message");
    print_name_of(dump, "queue", row->queue);
    print_number(dump, "lsn", row->lsn);
    print_number(dump, "body_octets", row->body_size);
    fprintf(dump->out, dump->as_json ? ",\"redelivered\":%s" : " redelivered=%s",
            row->was_handed_out ? "true" : "false");
    print_state(dump, &row->state);
    print_failures(dump, row);
    if (fetch.block == NULL || fetch_run(dump->files, &fetch, &failure) != STATUS_OK ||
        fetch.fetched_count == 0) {
        print_field(dump, "unreadable", bytes_of(failure.file));
        dump->unreadable++;
    } else {
        print_content(dump, (const struct content *)fetch.block);
    }
    end_line(dump);
    free(fetch.block);
}

static void
print_messages(struct dump *dump)
{
    if (dump->row_count > 1) {
        qsort(dump->rows, dump->row_count, sizeof(*dump->rows), compare_rows);
    }
    for (size_t i = 0; i < dump->row_count; i++) {
        const struct recovered_row *row = &dump->rows[i];
        if (!dump->as_json && (i == 0 || row[-1].queue != row->queue)) {
            const struct dump_name *queue = find_name(dump, row->queue);
            fputs("\nqueue ", dump->out);
            print_text(dump, queue->name);
            fprintf(dump->out, ": %" PRIu64 " message%s, %" PRIu64 " octets\n",
                    queue->message_count, queue->message_count == 1 ? "" : "s", queue->octets);
        }
        print_message(dump, row);
    }
}

/* The command ---------------------------------------------------------------------------------- */

/* Whether a queue has the name that was asked for. */
static bool
has_queue(const struct dump *dump)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&dump->names, &position)) != NULL;) {
        const struct dump_name *name = entry->value;
        if (name->vhost != 0 && bytes_equal_text(name->name, dump->queue)) {
            return true;
        }
    }
    return false;
}

static int
dump_directory(struct dump *dump, const struct disk *disk, const struct command_io *io)
{
    char why[WHY_SIZE];
    struct recovery recovery;
    struct recovery_sink sink = {.record = take_record, .row = take_row, .context = dump};
    struct recovery_options options = {.slot_size = SEGMENT_SIZE_MIN};
    enum status status =
        recovery_run(&recovery, disk, &options, &sink, NULL, NULL, why, sizeof(why));
    if (status != STATUS_OK) {
        fprintf(io->err, "bourse: %s\n", why[0] == '\0' ? status_name(status) : why);
        return COMMAND_FAILED;
    }
    recovery_fini(&recovery);
    dump->files = fetch_files_new(disk);
    print_messages(dump);
    fetch_files_free(&dump->files);
    if (dump->queue != NULL && !has_queue(dump)) {
        return command_error(io, COMMAND_FAILED,
                             "there is no queue \"%s\" in this directory; without --queue it "
                             "prints all that there are",
                             dump->queue);
    }
    if (dump->unreadable > 0) {
        fprintf(io->err, "bourse: %" PRIu64 " message%s cannot be read\n", dump->unreadable,
                dump->unreadable == 1 ? "" : "s");
    }
    return dump->unreadable == 0 ? COMMAND_OK : COMMAND_FAILED;
}

int
dump_run(const struct command_line *line, const struct command_io *io)
{
    struct disk_directory *directory = store_open_to_read(line->operands[0], io);
    if (directory == NULL) {
        return COMMAND_FAILED;
    }
    struct dump dump = {
        .out = io->out,
        .as_json = line->options[DUMP_JSON] != NULL,
        .queue = line->options[DUMP_QUEUE],
    };
    arena_init(&dump.arena);
    map_init(&dump.names, 0);
    struct disk disk = disk_of_directory(directory);
    int result = dump_directory(&dump, &disk, io);
    free(dump.rows);
    map_fini(&dump.names);
    arena_fini(&dump.arena);
    disk_directory_close(&directory);
    return result;
}
