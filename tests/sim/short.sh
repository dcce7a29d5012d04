#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The short form of the simulator that `make test` runs: seeds that once found something, a fixed
# number of others, states after crashes, and the proof that faults are seen. Each prints its sum.
#
#     tests/sim/short.sh build/release/sim
sim=$1
status=0
"$sim" --list tests/sim/seeds.txt --seeds 100 --operations 5000 || status=1
"$sim" --enumerate --seeds 10 || status=1
tests/sim/prove.sh "$sim" || status=1
exit $status
