# Direct dsync writes through each engine, over blocks that are there and past the end, with their steps. Prints what
# `run --stacks --json` does and, under `### report`, what `report --steps` shows of the same run.

ROOM=/tmp/steps
mkdir $ROOM || exit 90
cases=
for engine in psync libaio io_uring; do
    dd if=/dev/zero of="steps.$engine.overwrite" bs=4k count=3 oflag=direct 2>/dev/null || exit 91
    : >"steps.$engine.append" || exit 92
    for situation in overwrite append; do
        cases="$cases${cases:+,}{\"path\":\"$PWD/steps.$engine.$situation\",\"base\":0,\"engine\":\"$engine\",
            \"mode\":\"direct+dsync\",\"situation\":\"$situation\",\"requests\":3}"
    done
done
sync
echo "{\"cases\":[$cases],\"failures\":\"$ROOM/failures\"}" >$ROOM/cases

odio-trace run --stacks --json --record $ROOM/recording --op write --file 'steps.*' -- \
    odio-trace requests $ROOM/cases || exit 93
echo '### report'
odio-trace report --steps $ROOM/recording || exit 94
