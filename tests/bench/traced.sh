#!/bin/sh
# Runs in a VM whose clock counts instructions: traced.sh REQUESTS
#
# Prints, in instructions of one request: `traced not ALL`; for each kind of probes `traced PROBES ALL TRACER LATER`,
# where TRACER is what the tracer ran in that time and LATER what it ran in all to take the records; `beside PROBES ALL`
# for the same requests of a process that is not traced; `resident PROBES KIB` of the tracer; `lost PROBES N`.
# `program NAME HITS INSTRUCTIONS` is what one program of `--probes auto` takes, each time it runs.
set -eu
requests=$1
device=/dev/nullb0
room=/tmp/traced
all=$((requests + 256)) # the programs warm up
mkdir $room
echo none >/sys/block/nullb0/queue/scheduler

writes="raw_io_uring plain $device write 32 $requests"

# What the tracer has run so far.
cat >$room/ran <<'END'
for thread in /proc/$1/task/*; do cat $thread/schedstat; done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
END

# The traced shell runs a line.
traced() {
    echo "$1; : >$room/done" >&3
    until [ -e $room/done ]; do usleep 10000; done
    rm $room/done
}

# session PROBES OUTPUT...: runs `measure` beside a tracer that traces a shell.
session() {
    probes=$1
    shift
    mkfifo $room/lines
    # shellcheck disable=SC2016 # for the traced shell
    odio-trace run --probes "$probes" "$@" -- sh -c ': >$1/ready; while read -r line; do eval "$line"; done' sh $room \
        <$room/lines >$room/ops 2>$room/said &
    tracer=$!
    exec 3>$room/lines
    until [ -e $room/ready ]; do usleep 10000; done
    rm $room/ready
    measure
    exec 3>&-
    wait $tracer
    rm $room/lines
}

took() {
    # More than the longest that a record waits.
    traced "sh $room/ran $tracer >$room/before; $writes >$room/figure; sh $room/ran $tracer >$room/after"
    sleep 0.3
    echo "$(cat $room/figure) $((($(cat $room/after) - $(cat $room/before)) / all))" \
        "$((($(sh $room/ran $tracer) - $(cat $room/before)) / all))"
}

figures() {
    echo "beside $probes $($writes)"
    echo "traced $probes $(took)"
    echo "resident $probes $(awk '$1 == "VmHWM:" { print $2 }' /proc/$tracer/status)"
}

# The kernel's own count of what each program takes. It costs too, so after the figures.
programs() {
    echo 1 >/proc/sys/kernel/bpf_stats_enabled
    traced "programs >$room/before; $writes >$room/figure; programs >$room/after"
    echo 0 >/proc/sys/kernel/bpf_stats_enabled
    awk -v all=$all 'NR == FNR { runs[$3] = $4; ns[$3] = $5; next }
        $4 - runs[$3] > all / 10 {
            printf "program %s %.2f %.0f\n", $2, ($4 - runs[$3]) / all, ($5 - ns[$3]) / ($4 - runs[$3])
        }' $room/before $room/after
}

lost() {
    echo "lost $probes $(sed -n 's/.* ops, \([0-9]*\) lost, \([0-9]*\) missed, \([0-9]*\) unattributed.*/\1 \2 \3/p' $room/ops |
        awk '{ print $1 + $2 + $3 }')"
}

echo "traced not $($writes)"
measure() { figures; programs; }
session auto
lost
measure() { figures; }
session kprobe
lost
measure() { echo "traced json $(took)"; }
session auto --json
