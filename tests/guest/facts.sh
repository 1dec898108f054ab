# What the scripts share that print facts, a line `NAME: VALUE` for each. It stands before them.

say() {
    echo "$1: $2"
}

# Waits until a command succeeds, but not for ever.
until_true() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || return 1
        usleep 100000
    done
}

