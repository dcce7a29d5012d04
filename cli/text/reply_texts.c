/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text/reply_texts.h"

#include "base/assert.h"

static const struct reply_explanation texts[] = {
    {REPLY_SUCCESS, "The connection or channel was closed in order.",
     "One of the two sides was done with it.", "Nothing is left to do."},
    {REPLY_CONTENT_TOO_LARGE, "The message is larger than can be taken or handed on.",
     "A client sent or was sent more than it can hold.",
     "Make messages smaller and pass large objects by reference."},
    {REPLY_NO_ROUTE, "A message that was published with mandatory came back: no queue got it.",
     "No binding of the exchange matches the routing key or headers.",
     "Compare them with \"bourse binding ls\"; set \"unrouted\" on the exchange to keep such "
     "messages."},
    {REPLY_NO_CONSUMERS, "A message that was published with immediate came back.",
     "No consumer was ready for it, or the broker does not offer immediate.",
     "Publish without immediate; a queue with a ttl of 0 does what it was for."},
    {REPLY_CONNECTION_FORCED, "An operator, or the end of the broker, closed the connection.",
     "\"bourse conn close\", a user that was deleted, a virtual host that is gone, or a stop.",
     "Connect again after a pause; the broker's log says who did it."},
    {REPLY_INVALID_PATH, "The client asked for a virtual host that it may not have.",
     "The name in the address is wrong, often \"/\" where it has to be written as %2F.",
     "\"bourse vhost ls\" shows what there is."},
    {REPLY_ACCESS_REFUSED, "The user may not do that, or may not log in.",
     "Rights lack for this object, the password is wrong, or guest came from another machine.",
     "The text names the right and the object; \"bourse user rights USER\" shows what there is."},
    {REPLY_NOT_FOUND, "There is no queue, exchange or virtual host of this name.",
     "It was never declared, was deleted or has expired, or lives in another virtual host.",
     "\"bourse ls queues\" and \"bourse ls exchanges\" show what there is; mind --vhost."},
    {REPLY_RESOURCE_LOCKED, "The queue belongs to another connection alone.",
     "It was declared exclusive, or a consumer holds it exclusively.",
     "Wait for that connection to end (\"bourse ls connections\"), or use another name."},
    {REPLY_PRECONDITION_FAILED, "Something is not as the client says it is.",
     "A queue or exchange exists with other arguments, a delivery tag is unknown or was used "
     "twice, a message is too large, or a queue is not empty.",
     "The text names the argument and both values: make the client's the same, or change the "
     "object in the file of the topology."},
    {REPLY_FRAME_ERROR, "What came over the connection is no frame.",
     "A client speaks something else on this port (TLS, HTTP), or is broken.",
     "Check port and scheme: 5671 is for TLS, 5672 is not."},
    {REPLY_SYNTAX_ERROR, "A frame has something in it that does not belong there.",
     "A broken client, or one that encodes tables in another way.",
     "Try a newer version of the client library."},
    {REPLY_COMMAND_INVALID, "A method came that is not allowed at this moment.",
     "A client uses one channel from several threads, or acts before the channel is open.",
     "Use a channel from one thread only."},
    {REPLY_CHANNEL_ERROR, "A channel was used that is not open, or opened twice.",
     "A client went on with a channel that the broker had closed for an error.",
     "Look for the error in front of it, and open a new channel."},
    {REPLY_UNEXPECTED_FRAME, "A frame came where another one was due.",
     "A client uses one channel from several threads, so that a publish was torn apart.",
     "Use a channel from one thread only."},
    {REPLY_RESOURCE_ERROR, "The broker has not enough of something to go on.",
     "Memory, or a number that has run out.",
     "\"bourse status\" shows memory and marks; \"bourse doctor\" looks at the machine."},
    {REPLY_NOT_ALLOWED, "What the client wants is against a rule.",
     "A limit of connections or channels is reached, a consumer tag is used twice, a virtual host "
     "does not exist, or the client wants other limits than were offered.",
     "The text names the rule; \"bourse ls connections\" shows who uses up a limit."},
    {REPLY_NOT_IMPLEMENTED, "The broker does not do that.",
     "A part of AMQP that nobody offers any more, or an argument of another broker.",
     "docs/protocol.md says what is served."},
    {REPLY_INTERNAL_ERROR, "Something went wrong inside the broker.",
     "A fault of Bourse, or of the machine.",
     "Look at the broker's log, make a \"bourse support-bundle\", and report it."},
};

const struct reply_explanation *
reply_explanation_at(size_t index)
{
    return index < ARRAY_LEN(texts) ? &texts[index] : NULL;
}
