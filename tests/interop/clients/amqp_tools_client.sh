#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The story of README.md as far as librabbitmq's command-line tools tell it: declare, publish,
# get, consume with an acknowledgement for each message, reject, cancel.
set -euo pipefail

options=(--url "$1")
if [ $# -gt 1 ]; then
    options+=(--ssl --cacert "$2")
fi
name=interop-tools-$$
counted=$(mktemp)
trap 'rm -f "$counted"' EXIT

done_step() {
    echo "ok $1"
}

[ "$(amqp-declare-queue "${options[@]}" --durable --queue "$name")" = "$name" ]
done_step connect
done_step declare

for number in 1 2 3; do
    amqp-publish "${options[@]}" -r "$name" -p -C text/plain -H "number: $number" -b "message $number"
done
head -c 300000 /dev/zero | tr '\0' x | amqp-publish "${options[@]}" -r "$name"
done_step publish

[ "$(amqp-get "${options[@]}" --queue "$name")" = "message 1" ]
done_step get

# Every command line gets one message on its standard input; success acknowledges it.
amqp-consume "${options[@]}" --queue "$name" --count 3 --prefetch-count 1 \
    -- sh -c "wc -c >> $counted"
[ "$(tr -d ' ' < "$counted" | paste -sd,)" = "9,9,300000" ]
done_step consume
done_step ack

[ "$(amqp-delete-queue "${options[@]}" --queue "$name")" = 0 ]
done_step cancel

# What is missing is an error for the tools, too.
if amqp-get "${options[@]}" --queue "$name" > /dev/null 2>&1; then
    echo "the queue is still there" >&2
    exit 1
fi
done_step reconnect
