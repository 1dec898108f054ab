#!/usr/bin/env python3
"""Thin a kernel's BTF down to a few kilobytes of the same facts.

    thin-btf.py VMLINUX.btf OUT.btf [MODULE.btf MODULE-OUT.btf]

Kept: the roots below and everything their layout needs, byte for byte as the
kernel's own BTF says it (sizes, bit offsets, kind flags), with type ids and
string offsets renumbered. Dropped: what a pointer points to, unless it is a
root itself (it becomes a forward declaration), and the members of PARTIAL
structures that are not listed.

It shares no code with the reader that the tests put to the test.
"""
import struct
import sys

STRUCTS = """bio bvec_iter kiocb iomap_dio dio request file inode dentry block_device blkdev_dio
aio_kiocb io_rw path qstr""".split()
PARTIAL = {
    "task_struct": "pid tgid comm flags in_iowait in_execve no_cgroup_migration".split(),
    "super_block": "s_dev s_magic s_type s_id s_flags".split(),
    "io_kiocb": "cmd rw opcode flags file result".split(),
    "request_queue": "queue_flags limits id".split(),
    "gendisk": "major first_minor disk_name queue part0".split(),
    "btrfs_inode": "root vfs_inode flags".split(),
}
ENUMS = "req_flag_bits req_op req_opf lockdown_reason btrfs_ordered_extent_type bpf_map_type".split()
# Anonymous enums, by one of their enumerators.
ENUMERATORS = "REQ_F_FIXED_FILE BIO_PAGE_PINNED REQ_FSEQ_PREFLUSH".split()
FUNCS = """submit_bio vfs_fsync_range __iomap_dio_rw iomap_dio_complete dio_complete ext4_sync_file
blkdev_issue_flush __blockdev_direct_IO aio_complete_rw btrfs_sync_file btrfs_direct_write
io_req_complete_post __io_free_req io_req_free_batch""".split()
TYPEDEFS = """btf_trace_block_bio_queue btf_trace_block_rq_issue btf_trace_iomap_dio_rw_begin
btf_trace_iomap_dio_rw_queued btf_trace_iomap_dio_complete btf_trace_ext4_sync_file_enter
btf_trace_btrfs_sync_file btf_trace_io_uring_complete btf_trace_sched_switch blk_opf_t dev_t""".split()

(INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, PROTO, VAR,
 DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64) = range(1, 20)


class Type:
    def __init__(self, kind, flag, name, size, extra):
        self.kind, self.flag, self.name, self.size, self.extra = kind, flag, name, size, extra


def read(path, types, strings):
    """Appends the types of one file; returns its strings, which follow those of the base."""
    data = open(path, "rb").read()
    magic, version, _, header, toff, tlen, soff, slen = struct.unpack_from("<HBBIIIII", data)
    assert magic == 0xEB9F and version == 1
    own = data[header + soff:header + soff + slen]
    strings = strings + own

    def text(off):
        return strings[off:strings.index(b"\0", off)].decode()

    at, end = header + toff, header + toff + tlen
    while at < end:
        name, info, size = struct.unpack_from("<III", data, at)
        at += 12
        kind, vlen, flag = info >> 24 & 31, info & 0xFFFF, info >> 31

        def rows(width, count=vlen):
            nonlocal at
            got = [list(struct.unpack_from("<%dI" % width, data, at + i * width * 4)) for i in range(count)]
            at += width * 4 * count
            return got

        if kind in (STRUCT, UNION, ENUM64):
            extra = [[text(r[0])] + r[1:] for r in rows(3)]
        elif kind in (ENUM, PROTO):
            extra = [[text(r[0])] + r[1:] for r in rows(2)]
        elif kind == DATASEC:
            extra = rows(3)
        elif kind in (INT, VAR, DECL_TAG):
            extra = rows(1, 1)
        elif kind == ARRAY:
            extra = rows(3, 1)
        else:
            extra = []
        types.append(Type(kind, flag, text(name), size, extra))
        if kind == FUNC:
            types[-1].extra = vlen
    return strings


def write(path, types, new_id, strings, base):
    """strings: what is there already (the base's), which may be referred to."""
    table = bytearray(b"" if base else b"\0")
    known = {}

    def name(text):
        raw = text.encode() + b"\0"
        if not text:
            return 0
        found = (b"\0" + strings).find(b"\0" + raw) if base else -1
        if found >= 0:
            return found
        if text not in known:
            known[text] = len(strings) + len(table)
            table.extend(raw)
        return known[text]

    body = bytearray()
    for t in types:
        vlen, ref = len(t.extra) if t.kind in (STRUCT, UNION, ENUM, ENUM64, PROTO) else 0, t.size
        if t.kind in (PTR, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, PROTO, TYPE_TAG):
            ref = new_id(t.size)
        if t.kind == FUNC:
            vlen = t.extra
        body += struct.pack("<III", name(t.name), t.kind << 24 | t.flag << 31 | vlen, ref)
        if t.kind in (STRUCT, UNION):
            for n, ty, bits in t.extra:
                body += struct.pack("<III", name(n), new_id(ty), bits)
        elif t.kind == PROTO:
            for n, ty in t.extra:
                body += struct.pack("<II", name(n), new_id(ty))
        elif t.kind in (ENUM, ENUM64):
            for row in t.extra:
                body += struct.pack("<%dI" % len(row), name(row[0]), *row[1:])
        elif t.kind == ARRAY:
            el, ix, n = t.extra[0]
            body += struct.pack("<III", new_id(el), new_id(ix), n)
        elif t.kind == INT:
            body += struct.pack("<I", t.extra[0][0])
    with open(path, "wb") as out:
        out.write(struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(table)))
        out.write(body + table)
    return strings + bytes(table)


def main():
    types = [Type(0, 0, "", 0, [])]
    strings = read(sys.argv[1], types, b"")
    first_split = len(types)
    if len(sys.argv) > 3:
        read(sys.argv[3], types, strings)

    named = set(STRUCTS) | set(PARTIAL)
    roots = []
    for i, t in enumerate(types):
        if (t.kind == STRUCT and t.name in named
                or t.kind == ENUM and t.name in ENUMS
                or t.kind in (ENUM, ENUM64) and any(r[0] in ENUMERATORS for r in t.extra)
                or t.kind == FUNC and t.name in FUNCS
                or t.kind == TYPEDEF and t.name in TYPEDEFS):
            roots.append(i)
        if t.kind == STRUCT and t.name in PARTIAL:
            keep = PARTIAL[t.name]
            # Anonymous members stay: what they hold may be what is asked for.
            t.extra = [r for r in t.extra if r[0] in keep or not r[0]]

    keep, forwards, todo = set(), {}, list(roots)

    def follow(i):
        """What a pointer needs: its modifiers and function types, but no layouts."""
        while i and types[i].kind in (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG, PTR):
            if i in keep:
                return
            keep.add(i)
            i = types[i].size
        if i == 0:
            return
        if types[i].kind in (STRUCT, UNION) and i not in roots and types[i].name:
            forwards[i] = True
        else:
            todo.append(i)

    done = set()
    while todo:
        i = todo.pop()
        if i == 0 or i in done:
            continue
        done.add(i)
        keep.add(i)
        t = types[i]
        if t.kind == PTR:
            follow(t.size)
        elif t.kind in (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG, FUNC):
            todo.append(t.size)
        elif t.kind == PROTO:
            todo += [t.size] + [r[1] for r in t.extra]
        elif t.kind in (STRUCT, UNION):
            todo += [r[1] for r in t.extra]
        elif t.kind == ARRAY:
            todo += t.extra[0][:2]
    for i in forwards:
        if i not in done:
            types[i] = Type(FWD, 1 if types[i].kind == UNION else 0, types[i].name, 0, [])
            keep.add(i)

    order = sorted(keep)
    ids = {0: 0, **{old: new + 1 for new, old in enumerate(order)}}
    base = [types[i] for i in order if i < first_split]
    own = [types[i] for i in order if i >= first_split]
    text = write(sys.argv[2], base, ids.__getitem__, b"", False)
    if len(sys.argv) > 3:
        write(sys.argv[4], own, ids.__getitem__, text, True)


main()
