# recipe.sh SCRIPT FOLDER CAPABILITIES: a recipe as root, and as a user with these capabilities, kept and broken. Prints
# `CASE STATUS`, what was said, and what became of each verdict file.

script=$1
chmod 777 .
echo 2 >/proc/sys/kernel/perf_event_paranoid

# attempt CASE FOLDER COMMAND...
attempt() {
    name=$1
    mkdir "$name"
    cp "$2"/* "$name"
    chmod 777 "$name"
    shift 2
    (cd "$name" && "$@" sh -e "$script") >said 2>&1
    echo "$name $?"
    sed "s/^/$name-said: /" said
    sed "s/^/$name-junit: /" "$name/wal.xml"
    tr -d '\n' <"$name/wal.sarif" | sed "s/^/$name-sarif: /"
    echo
}
for how in kept broken; do
    attempt root-$how "$2/$how"
    attempt user-$how "$2/$how" \
        setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps "-all,$3" --ambient-caps "-all,$3"
done
