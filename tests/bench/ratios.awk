# Reads the figures of guest.sh; prints odio's beside its peer's, and ends with 1 where a ratio is over its limit.

$1 == "figure" {
    key = $2 " " $3 " " $4
    n = ++count[key]
    for (i = n; i > 1 && figure[key, i - 1] > $5; i--)
        figure[key, i] = figure[key, i - 1]
    figure[key, i] = $5
}

function median(key, half) {
    half = int((count[key] + 1) / 2)
    return count[key] % 2 ? figure[key, half] : (figure[key, half] + figure[key, half + 1]) / 2
}

# Of the extremes, in percent of the median.
function spread(key) {
    return 100 * (figure[key, count[key]] - figure[key, 1]) / median(key)
}

function compare(odio, peer, op, depth, limit, ours, theirs, ratio) {
    ours = odio " " op " " depth
    theirs = peer " " op " " depth
    if (!count[ours] && odio == "odio_pool")
        return
    if (!count[ours] || !count[theirs]) {
        printf "%s or %s was not measured\n", ours, theirs
        over++
        return
    }
    ratio = median(ours) / median(theirs)
    compared++
    if (ratio > limit)
        over++
    printf "%-13s %-19s %-5s %5d %8.0f %4.1f %% %8.0f %4.1f %% %6.3f %5.2f  %s\n", odio, peer, op, depth, \
        median(ours), spread(ours), median(theirs), spread(theirs), ratio, limit, (ratio > limit ? "over" : "within")
}

END {
    print "instructions of a request of 4 KiB on a null device, user's and kernel's: median and spread of the rounds"
    printf "%-13s %-19s %-5s %5s %15s %15s %6s %5s\n", "odio", "peer", "", "depth", "odio", "peer", "ratio", "limit"
    split("read write", ops)
    for (o = 1; o <= 2; o++)
        compare("odio_file", "pread/pwrite", ops[o], 1, 1.01)
    for (depth = 1; depth <= 32; depth += 31)
        for (o = 1; o <= 2; o++)
            compare("odio_libaio", "io_submit", ops[o], depth, 1.02)
    for (depth = 1; depth <= 32; depth += 31)
        for (o = 1; o <= 2; o++)
            compare("odio_io_uring", "liburing", ops[o], depth, 1.02)
    for (depth = 1; depth <= 32; depth += 31)
        for (o = 1; o <= 2; o++)
            compare("odio_pool", "liburing_registered", ops[o], depth, 1.03)
    for (depth = 1; depth <= 32; depth += 31)
        for (o = 1; o <= 2; o++)
            compare("odio_pool", "liburing", ops[o], depth, 0.84)
    printf "%d of %d ratios are over their limit\n", over, compared
    exit over > 0 || compared == 0
}
