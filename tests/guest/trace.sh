# How odio-trace ends, and what it leaves behind. Prints one line `NAME: VALUE` for each fact.

TRACING=/sys/kernel/tracing
KPROBES=/sys/kernel/debug/kprobes/list
ROOM=/tmp/trace
mkdir -m 1777 $ROOM

# Functions that anything is attached to: kprobes, and through ftrace the fexit programs.
attached() {
    cat $KPROBES $TRACING/kprobe_events $TRACING/enabled_functions | wc -l
}

nothing_attached() {
    [ "$(attached)" -eq 0 ]
}

# end NAME SIGNAL TARGET: ends a tracer in the middle of its work. TARGET is `group` (what a terminal does) or `tracer`.
end() {
    name=$1
    setsid odio-trace run --json -- dd if=/dev/zero of="$name" bs=4k oflag=direct count=1000000 \
        >"$ROOM/$name" 2>"$ROOM/$name.err" &
    tracer=$!
    until_true test -s "$ROOM/$name" || say "$name-started" no
    say "$name-attached" "$(attached)"
    if [ "$3" = group ]; then
        kill -s "$2" -- "-$tracer" || exit 90
    else
        kill -s "$2" "$tracer" || exit 91
    fi
    wait "$tracer"
    say "$name-status" $?
    until_true nothing_attached
    say "$name-left" "$(attached)"
    say "$name-ops" "$(grep -c '"type":"op"' "$ROOM/$name")"
    say "$name-last" "$(tail -n 1 "$ROOM/$name")"
    kill -s KILL -- "-$tracer" 2>/dev/null
    rm -f "$name"
}

say before "$(attached)"

odio-trace run --json -- sh -c 'exit 7' >/dev/null
say exit-status $?
# shellcheck disable=SC2016 # the inner shell ends itself
odio-trace run --json -- sh -c 'kill -TERM $$' >/dev/null
say signal-status $?
odio-trace run --json -- no-such-command >/dev/null 2>$ROOM/missing
say missing-status $?
say missing-message "$(cat $ROOM/missing)"

setpriv --reuid 1000 --regid 1000 --clear-groups odio-trace run --json -- touch $ROOM/ran >$ROOM/out 2>$ROOM/denied
say denied-status $?
say denied-message "$(tr '\n' ' ' <$ROOM/denied)"
say denied-printed "$(wc -c <$ROOM/out)"
say denied-ran "$(ls $ROOM/ran 2>/dev/null)"

end interrupted INT group
end killed KILL tracer
