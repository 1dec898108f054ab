# Reads the figures of traced.sh; prints what tracing adds to a request, and ends with 1 where that is over a limit.

$1 == "traced" && $2 == "not" { not = $3 }
$1 == "traced" && $2 != "not" { all[$2] = $3; meanwhile[$2] = $4; later[$2] = $5 }
$1 == "beside" { beside[$2] = $3 }
$1 == "resident" { resident[$2] = $3 }
$1 == "lost" { lost[$2] = $3; told[$2] = NF == 3 }
$1 == "program" { program[++programs] = $2; hits[programs] = $3; each[programs] = $4 }

function line(what, value, limit) {
    printf "%-58s %7.0f %7d  %s\n", what, value, limit, (value > limit ? "over" : "within")
    over += value > limit
}

function part(what, value) { printf "  %-56s %7.0f\n", what, value }

# What the probes add is what is left of the whole without the tracer's own part.
function probes(kind) { return all[kind] - not - meanwhile[kind] }

END {
    if (!not || !("auto" in all) || !("kprobe" in all) || !("json" in all) || !("auto" in beside)) {
        print "the cost of tracing was not measured"
        exit 1
    }
    printf "instructions that odio-trace adds to a write of 4 KiB through io_uring, 32 at a time, of %.0f\n", not
    printf "%-58s %7s %7s\n", "", "added", "limit"
    line("the best probes, with the record consumed by the tracer", probes("auto") + later["auto"], 1700)
    part("of it by the probes, up to the record in the ring", probes("auto"))
    part("of it by the tracer, which takes and judges the record", later["auto"])
    part("the tracer instead, with --json", later["json"])
    line("kprobes alone, with the record consumed by the tracer", probes("kprobe") + later["kprobe"], 3400)
    part("of it by the probes", probes("kprobe"))
    line("an untraced process beside a tracer, the best probes", beside["auto"] - not, 800)
    part("the same, kprobes alone", beside["kprobe"] - not)
    line("KiB of the tracer, resident", resident["auto"], 65536)
    for (kind in lost) {
        if (!told[kind] || lost[kind] > 0) {
            printf "records were lost with --probes %s, or it did not say\n", kind
            over++
        }
    }
    print ""
    printf "%-20s %6s %8s  of it, in the programs that --probes auto runs for a request\n", "", "hits", "each"
    for (i = 1; i <= programs; i++)
        printf "%-20s %6.2f %8.0f\n", program[i], hits[i], each[i]
    exit over > 0
}
