# conformance.sh PROGRAM PLACE: the conformance program in every engine, cache and sync, on PLACE, or on the empty disk
# where PLACE is `disk`. Each run is one line `== ENGINE CACHE SYNC STATUS` after what it printed.

program=$1
at=$2
[ "$at" != disk ] || at=$ODIO_VM_DISK

uname -r
for engine in psync libaio io_uring; do
    for cache in direct buffered; do
        for sync in none dsync sync; do
            "$program" "$at" $engine $cache $sync quick 2>&1
            echo "== $engine $cache $sync $?"
            # What one run leaves is not the next one's.
            [ "$at" = "$ODIO_VM_DISK" ] || rm -rf "${at:?}"/*
        done
    done
done
