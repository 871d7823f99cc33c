# A direct write finishes while another one to the same file, redone through the page cache, waits for the journal.
#
# The file has no extents. Its blocks, of 4 KiB: 2 is a hole, 3 and 4 (place `victim`) are allocated.
#
#   A  writes 4, asynchronously and directly.
#   C  truncates another file and commits that: the bitmap of free blocks is on its way to the journal.
#   B  writes 2–4 directly. A hole cannot be filled that way without extents, so it is redone through the page
#      cache: 2–4 are dirtied, then flushed. To flush 2 it must be given a place on the disk, and the bitmap
#      cannot be changed while it is being written to the journal.
#
# The policy holds C's write to the journal until the guest has reaped A, and A's completion until the guest has seen B
# wait for the bitmap: no request tells that. (3 is there because the page after the hole is locked in that wait.)
# Wants /dev/vda with ext4: mkfs.ext4 -b 4096 -O ^extents,^64bit.

BLOCK=4096
FILE=/mnt/victim
OTHER=/mnt/other

# Without these mount options the kernel zeroes inode tables and reads bitmaps some time later. 16 inodes share a block,
# which C writes to the journal as well; B, which changes times in its own inode, must not need that block.
setup() {
    mount -t ext4 -o noinit_itable,no_prefetch_block_bitmaps /dev/vda /mnt && : >$FILE || return
    for i in $(seq 16); do : >"/mnt/between-$i"; done
    : >$OTHER && stay report direct-io "$(stay direct-io $FILE)"
}

attempt() {
    make_files && bind && race
}

make_files() {
    : >$FILE
    stay write --buffered --fsync $FILE $((3 * BLOCK)) $((2 * BLOCK)) >/dev/null &&
        stay write --buffered --fsync $OTHER 0 $BLOCK >/dev/null
}

# Descriptor 3 is open before anything goes wrong.
bind() {
    exec 3<$FILE
    stay place victim $FILE $((4 * BLOCK)) $BLOCK >/dev/null
}

race() {
    rm -f /run/b.pid
    witness 2>/dev/null &
    stay write --name A --background --emit a-reaped --fill A $FILE $((4 * BLOCK)) $BLOCK || return 1
    # A kernel that sends A through the page cache finishes it without the disk.
    stay await --any A.done guest.a-reaped || return 1

    commit || return 1
    stay write --fsync --fill B $FILE $((2 * BLOCK)) $((3 * BLOCK)) >/run/b &
    b=$!
    echo $b >/run/b.pid
    until_it_waits_for_journal $b
    stay emit b-waits || return 1
    a_write=$(stay reap A)
    wait $b
    { read -r b_write; read -r b_fsync; } </run/b
    stay report a-write "$a_write" b-write "$b_write" fsync-b "$b_fsync" fsync-earlier "$(stay fsync --fd 3)"
}

# Begins C. What A has changed in its inode is committed before: C is not to hold that.
commit() {
    stay fsync $FILE >/dev/null && stay emit c-begins || return
    : >$OTHER
    stay fsync $OTHER >/dev/null &
    stay await C.arrived
}

until_it_waits_for_journal() {
    while kill -0 "$1" 2>/dev/null; do
        case $(stay blocked "$1" 2>/dev/null) in
            "D do_get_write_access"*) return ;;
        esac
    done
}

# Says where B stands when a hold has stood for long: what a verdict of "closed" rests on. Where none does, the
# attempt's end ends the waiting.
witness() {
    stay await attempt.stalled || return
    read -r pid </run/b.pid || pid=none
    stay report stuck "$(stay blocked "$pid" || echo none: B has not begun, or is through)"
}
