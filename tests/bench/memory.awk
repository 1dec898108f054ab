# Reads what memory.c printed; ends with 1 where a queue takes more than 16 MiB beside its buffers.

$1 == "memory" {
    if (!queues++) {
        print "KiB of a queue with requests in flight, beside their buffers; limit 16384"
        printf "%-13s %9s %9s %9s %9s %9s %9s\n", "engine", "requests", "in device", "resident", "rings", "locked", "in all"
    }
    printf "%-13s %9d %9d %9d %9d %9d %9d  %s\n", $2, $3, $4, $5, $6, $7, $8, ($8 > 16384 ? "over" : "within")
    over += $8 > 16384
}

END {
    if (!queues)
        print "no queue's memory was measured"
    exit over > 0 || !queues
}
