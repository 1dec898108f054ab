#!/bin/sh
# Runs in a VM whose clock counts instructions: guest.sh ROUNDS REQUESTS POOL
#
# Prints `figure SUBJECT OP DEPTH INSTRUCTIONS` for each run and `memory ENGINE ...` for each queue. POOL is 1 where
# the programs include odio_pool. Rounds are in turn, so that what changes with time changes for all.
set -eu
rounds=$1 requests=$2 pool=$3
device=/dev/nullb0

# As an NVMe disk has it. mq-deadline would add the same to both sides and make every ratio look better.
echo none >/sys/block/nullb0/queue/scheduler

# figure SUBJECT OP DEPTH PROGRAM VARIANT
figure() {
    echo "figure $1 $2 $3 $("$4" "$5" "$device" "$2" "$3" "$requests")"
}

round=0
while [ $round -lt "$rounds" ]; do
    for op in read write; do
        figure pread/pwrite $op 1 raw_psync -
        figure odio_file $op 1 odio_file -
        for depth in 1 32; do
            figure io_submit $op $depth raw_libaio -
            figure odio_libaio $op $depth odio_queue libaio
            figure liburing $op $depth raw_io_uring plain
            figure odio_io_uring $op $depth odio_queue io_uring
            figure liburing_registered $op $depth raw_io_uring registered
            [ "$pool" = 0 ] || figure odio_pool $op $depth odio_pool -
        done
    done
    round=$((round + 1))
done

# A device that takes 10,000 requests and keeps each for two seconds.
mount -t configfs configfs /sys/kernel/config
# It is called by the folder's name or by the next number, as the kernel has it: here that is the same.
slow=/sys/kernel/config/nullb/nullb1
mkdir $slow
echo 1024 >$slow/size
echo 2 >$slow/irqmode
echo 2000000000 >$slow/completion_nsec
echo 10240 >$slow/hw_queue_depth
echo 1 >$slow/power
echo none >/sys/block/nullb1/queue/scheduler
for engine in psync libaio io_uring; do
    echo "memory $engine $(memory /dev/nullb1 $engine 10000)"
done
