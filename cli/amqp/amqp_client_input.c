/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/amqp/amqp_client_parts.h"

#include "amqp/frame.h"
#include "amqp/properties.h"
#include "amqp/reply.h"
#include "base/assert.h"
#include "cli/text/cell.h"

enum { BODY_BYTES_MAX = 512 * 1024 * 1024 }; /* what no broker lets through */

/* What the broker has said ------------------------------------------------------------------- */

/* The exit status that a reply code stands for. */
static int
status_of_reply(uint16_t code)
{
    switch (code) {
    case REPLY_NOT_FOUND:
        return COMMAND_NOT_FOUND;
    case REPLY_ACCESS_REFUSED:
    case REPLY_NOT_ALLOWED:
        return COMMAND_DENIED;
    case REPLY_CONNECTION_FORCED:
        return COMMAND_UNREACHABLE;
    default:
        return COMMAND_FAILED;
    }
}

static int
report_close(struct amqp_client *client, uint16_t code, struct bytes reply_text)
{
    struct buffer text;
    client->is_broken = true;
    if (client->is_leaving) {
        return COMMAND_UNREACHABLE;
    }
    buffer_init(&text);
    cell_put_escaped(&text, reply_text);
    int result = amqp_client_error(client, status_of_reply(code),
                                   "the broker refuses, %u %.*s; \"bourse explain %u\" says more",
                                   code, BYTES_FORMAT(buffer_bytes(&text)), code);
    buffer_fini(&text);
    return result;
}

static int
take_close(struct amqp_client *client, const struct method *method)
{
    bool is_channel = method->id == METHOD_CHANNEL_CLOSE;
    struct method answer = {.id =
                                is_channel ? METHOD_CHANNEL_CLOSE_OK : METHOD_CONNECTION_CLOSE_OK};
    amqp_client_send_on(client, is_channel ? AMQP_CHANNEL : 0, &answer);
    enum status status = amqp_stream_write(&client->stream, &client->output);
    (void)status; /* best effort */
    return is_channel ? report_close(client, method->channel_close.reply_code,
                                     method->channel_close.reply_text)
                      : report_close(client, method->connection_close.reply_code,
                                     method->connection_close.reply_text);
}

/* Contents ----------------------------------------------------------------------------------- */

static void
begin_content(struct amqp_client *client, struct bytes payload)
{
    struct assembly *content = &client->content;
    buffer_clear(&content->method);
    buffer_clear(&content->properties);
    buffer_clear(&content->body);
    buffer_put_bytes(&content->method, payload);
    content->is_open = true;
    content->has_header = false;
}

static int
take_header(struct amqp_client *client, struct bytes payload)
{
    struct assembly *content = &client->content;
    struct content_header header;
    struct fault fault;
    if (!content->is_open || content->has_header ||
        content_header_decode(&header, payload, &fault) != STATUS_OK ||
        header.body_size > BODY_BYTES_MAX) {
        return amqp_client_break_off(
            client, "what it says is no AMQP: a header that does not belong there");
    }
    buffer_put_bytes(&content->properties, header.properties);
    content->body_left = header.body_size;
    content->has_header = true;
    return COMMAND_OK;
}

static int
take_body(struct amqp_client *client, struct bytes payload)
{
    struct assembly *content = &client->content;
    if (!content->is_open || !content->has_header || payload.size > content->body_left) {
        return amqp_client_break_off(client,
                                     "what it says is no AMQP: a body that does not belong there");
    }
    buffer_put_bytes(&content->body, payload);
    content->body_left -= payload.size;
    return COMMAND_OK;
}

/* The content is here whole: its method is read once more from where it is kept. */
static int
end_content(struct amqp_client *client, struct amqp_event *event, bool *has_event_out)
{
    struct assembly *content = &client->content;
    struct fault fault;
    content->is_open = false;
    if (content->method.failed || content->properties.failed || content->body.failed) {
        return amqp_client_break_off(client, "there is no memory for a message of that size");
    }
    enum status status = method_decode(&event->method, buffer_bytes(&content->method), &fault);
    assert(status == STATUS_OK);
    event->properties = buffer_bytes(&content->properties);
    event->body = buffer_bytes(&content->body);
    *has_event_out = true;
    return COMMAND_OK;
}

/* Input -------------------------------------------------------------------------------------- */

static int
take_method(struct amqp_client *client, struct bytes payload, struct amqp_event *event,
            bool *has_event_out)
{
    struct fault fault;
    if (method_decode(&event->method, payload, &fault) != STATUS_OK) {
        return amqp_client_break_off(client, "what it says is no AMQP 0-9-1");
    }
    switch (event->method.id) {
    case METHOD_CONNECTION_CLOSE:
    case METHOD_CHANNEL_CLOSE:
        return take_close(client, &event->method);
    case METHOD_CONNECTION_BLOCKED:
        client->is_blocked = true;
        return COMMAND_OK;
    case METHOD_CONNECTION_UNBLOCKED:
        client->is_blocked = false;
        return COMMAND_OK;
    default:
        break;
    }
    if (method_info(event->method.id)->has_content) {
        begin_content(client, payload);
    } else {
        *has_event_out = true;
    }
    return COMMAND_OK;
}

static int
take_frame(struct amqp_client *client, const struct frame *frame, struct amqp_event *event,
           bool *has_event_out)
{
    int result = COMMAND_OK;
    switch (frame->type) {
    case FRAME_TYPE_METHOD:
        return take_method(client, frame->payload, event, has_event_out);
    case FRAME_TYPE_HEADER:
        result = take_header(client, frame->payload);
        break;
    case FRAME_TYPE_BODY:
        result = take_body(client, frame->payload);
        break;
    case FRAME_TYPE_HEARTBEAT:
        return COMMAND_OK;
    }
    const struct assembly *content = &client->content;
    bool is_whole = content->is_open && content->has_header && content->body_left == 0;
    return result == COMMAND_OK && is_whole ? end_content(client, event, has_event_out) : result;
}

int
amqp_client_next(struct amqp_client *client, struct amqp_event *event, bool *has_event_out)
{
    int result = COMMAND_OK;
    *has_event_out = false;
    *event = (struct amqp_event){.method = {.id = METHOD_COUNT}};
    while (result == COMMAND_OK && !*has_event_out) {
        struct frame frame;
        struct fault fault;
        enum status status =
            frame_decode(&frame, buffer_bytes(&client->input), client->frame_max, NULL, &fault);
        if (status == STATUS_AGAIN) {
            return COMMAND_OK;
        }
        if (status != STATUS_OK) {
            return amqp_client_break_off(client, "what it says is no AMQP 0-9-1");
        }
        /* The frame's octets stay where they are until more are read. */
        buffer_consume(&client->input, frame.payload.size + FRAME_OVERHEAD);
        result = take_frame(client, &frame, event, has_event_out);
    }
    return result;
}
