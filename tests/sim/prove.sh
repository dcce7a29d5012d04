#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Shows that the simulator and the enumeration of crash states see what they are there for: with a
# part of the broker taken away (mutant.h) they must fail, with all of it they must not.
#
#     tests/sim/prove.sh build/release/sim
sim=$1
passed=0
failed=0

# expect STATUS NAME OPTIONS...: what comes first, of those that are wrong, is shown.
expect() {
    wanted=$1
    name=$2
    shift 2
    output=$("$sim" "$@" 2>&1)
    status=$?
    first=$(printf '%s\n' "$output" | grep '^seed' | head -n 1 | cut -c 1-120)
    if [ "$status" -eq "$wanted" ]; then
        passed=$((passed + 1))
        printf '%-46s %s\n' "$name" "${first:-nothing is wrong}"
    else
        failed=$((failed + 1))
        printf '%-46s NOT SEEN (exit status %d)\n%s\n' "$name" "$status" "$output"
    fi
}

expect 0 "simulator, nothing taken away" --seeds 20 --operations 5000
expect 0 "crash states, nothing taken away" --enumerate --seeds 3
for mutant in no-flush no-log-flush no-directory-flush early-commit; do
    expect 1 "simulator, $mutant" --until-wrong --operations 5000 --mutant "$mutant"
    expect 1 "crash states, $mutant" --enumerate --until-wrong --mutant "$mutant"
done
for mutant in early-free overtaking no-bell passing last-first; do
    expect 1 "simulator, $mutant" --until-wrong --operations 5000 --mutant "$mutant"
done
# A torn batch has to hit something that nothing else gives away: that takes many runs, so it begins
# shortly before one that does.
expect 1 "simulator, no-checksum" --until-wrong --from 785 --seeds 1000 --mutant no-checksum
expect 1 "crash states, no-checksum" --enumerate --until-wrong --mutant no-checksum
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
