#!/bin/sh
# Runs in a VM whose clock counts instructions: traced.sh ROUNDS REQUESTS
#
# Prints `traced HOW INSTRUCTIONS` for each run of the same requests: `not`, by no tracer; `auto` and `kprobe`, traced
# with these probes; `beside-auto` and `beside-kprobe`, while another process is traced with them.
set -eu
rounds=$1 requests=$2
device=/dev/nullb0
room=/tmp/traced
mkdir $room
echo none >/sys/block/nullb0/queue/scheduler

writes="raw_io_uring plain $device write 32 $requests"

# Another process is traced until the fifo is closed.
beside() {
    mkfifo $room/end
    odio-trace run --probes "$1" --json -- sh -c 'echo ready; read -r end' <$room/end >$room/said 2>&1 &
    tracer=$!
    exec 3>$room/end
    until grep -q ready $room/said; do usleep 10000; done
    echo "traced beside-$1 $($writes)"
    exec 3>&-
    wait $tracer || true
    rm $room/end
}

round=0
while [ $round -lt "$rounds" ]; do
    echo "traced not $($writes)"
    for probes in auto kprobe; do
        # shellcheck disable=SC2086 # words of a command
        odio-trace run --json --probes $probes -- sh -c "$writes >$room/figure" >$room/ops
        echo "traced $probes $(cat $room/figure)"
        grep -c '"type":"op"' $room/ops >&2
        tail -n 1 $room/ops | cut -c1-200 >&2
        beside $probes
    done
    round=$((round + 1))
done
