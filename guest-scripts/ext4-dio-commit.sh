# A direct write finishes while another one to the same file, redone through the page cache, waits for the journal.
#
# The file has no extents. Its blocks, of 4 KiB: 2 is a hole, 3 and those after it, up to A's, are allocated.
#
#   A  writes block $A (place `victim`), asynchronously and directly.
#   C  truncates another file and commits that: the bitmap of free blocks is on its way to the journal.
#   B  writes 2–4 directly. A hole cannot be filled that way without extents, so it is redone through the page
#      cache: 2–4 are dirtied, then flushed. To flush 2 it must be given a place on the disk, and the bitmap
#      cannot be changed while it is being written to the journal.
#
# The policy holds C's write to the journal until the guest has reaped A, and A's completion until the guest has seen B
# wait for the bitmap: no request tells that. (3 is there because the page after the hole is locked in that wait.)
# Between A and C comes $BETWEEN:
#   nothing
#   large-folio     4–7 are written in one go through the page cache, and flushed: one folio, where there are large ones
#   remove-extents  the file, which had extents when A was submitted, loses them
# Wants /dev/vda with ext4, of blocks of 4096.

. /lib/ext4-dio.sh

OTHER=/mnt/other

# 16 inodes share a block, which C writes to the journal as well; B, which changes times in its own inode, must not
# need that block.
setup() {
    mount_with_file || return
    for i in $(seq 16); do : >"/mnt/between-$i"; done
    : >$OTHER
}

attempt() {
    make_files && bind_places && race
}

# A new file each time: extents do not come back.
make_files() {
    if [ "$BETWEEN" = remove-extents ]; then rm -f $FILE; fi
    : >$FILE
    allocate 3 $((A < 7 && A > 4 ? 5 : 2)) && stay write --buffered --fsync $OTHER 0 "$BLOCK" >/dev/null
}

bind_places() {
    keep_open
    bind victim "$A"
}

race() {
    watch
    start_a "$A" && between && commit && start_b 2 $((3 * BLOCK)) || return
    until_it_waits_for_journal $b
    stay emit b-waits || return
    finish
}

# A fix may make what goes through the page cache wait here: that is then B, for the witness.
between() {
    case $BETWEEN in
        nothing) ;;
        large-folio)
            stay write --buffered --fsync --fill F $FILE $((4 * BLOCK)) $((4 * BLOCK)) >/dev/null &
            echo $! >/run/b.pid
            wait $!
            ;;
        remove-extents) stay remove-extents $FILE ;;
    esac
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
